"""The account, its regions, its operations, and who is calling."""

from __future__ import annotations

from temporalio.api.cloud.account.v1 import message_pb2 as account
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.operation.v1.message_pb2 import AsyncOperation
from temporalio.api.cloud.region.v1.message_pb2 import Region

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind

ACCOUNT = Kind(name="account", type=account.Account, title=lambda a: str(a.id))

_AWS = {
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-northeast-2": "Asia Pacific (Seoul)",
    "ap-south-1": "Asia Pacific (Mumbai)",
    "ap-south-2": "Asia Pacific (Hyderabad)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
    "ap-southeast-2": "Asia Pacific (Sydney)",
    "ca-central-1": "Canada (Central)",
    "eu-central-1": "Europe (Frankfurt)",
    "eu-west-1": "Europe (Ireland)",
    "eu-west-2": "Europe (London)",
    "sa-east-1": "South America (São Paulo)",
    "us-east-1": "US East (N. Virginia)",
    "us-east-2": "US East (Ohio)",
    "us-west-2": "US West (Oregon)",
}
_GCP = {
    "asia-south1": "Mumbai, India",
    "europe-west3": "Frankfurt, Germany",
    "us-central1": "Iowa, USA",
    "us-east4": "Virginia, USA",
    "us-west1": "Oregon, USA",
}
REGIONS = {
    f"{prefix}-{name}": Region(
        id=f"{prefix}-{name}",
        cloud_provider=provider,
        cloud_provider_deprecated=prefix,
        cloud_provider_region=name,
        location=location,
    )
    for prefix, provider, names in (
        ("aws", Region.CLOUD_PROVIDER_AWS, _AWS),
        ("gcp", Region.CLOUD_PROVIDER_GCP, _GCP),
    )
    for name, location in names.items()
}
"""https://docs.temporal.io/cloud/regions: provider and region, as the API spells it."""


class Accounts:
    """Account, regions and operations."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[ACCOUNT.name] = ACCOUNT
        if core.peek(ACCOUNT, core.account) is None:
            core.changed(ACCOUNT, core.account, account.Account(id=core.account))

    def GetAccount(self, request: rr.GetAccountRequest, call: Call) -> rr.GetAccountResponse:
        """The account, with the address of its metrics where they are enabled."""
        found = self._core.get(ACCOUNT, self._core.account)
        if found.spec.HasField("metrics"):
            found.metrics.uri = f"https://{found.id}.tmprl.invalid/prometheus"
        return rr.GetAccountResponse(account=found)

    def UpdateAccount(
        self, request: rr.UpdateAccountRequest, call: Call
    ) -> rr.UpdateAccountResponse:
        """Enable metrics, or disable them."""
        current = self._core.get(ACCOUNT, self._core.account)
        if request.spec.HasField("metrics"):
            rules.certificates(
                "spec.metrics.accepted_client_ca", request.spec.metrics.accepted_client_ca
            )
        current.spec.CopyFrom(request.spec)
        operation = self._core.update(
            ACCOUNT, self._core.account, current, call, version=request.resource_version
        )
        return rr.UpdateAccountResponse(async_operation=operation)

    def GetRegions(self, request: rr.GetRegionsRequest, call: Call) -> rr.GetRegionsResponse:
        """Every region."""
        return rr.GetRegionsResponse(regions=REGIONS.values())

    def GetRegion(self, request: rr.GetRegionRequest, call: Call) -> rr.GetRegionResponse:
        """One region."""
        if request.region not in REGIONS:
            rules.not_found("region", request.region)
        return rr.GetRegionResponse(region=REGIONS[request.region])

    def GetAsyncOperation(
        self, request: rr.GetAsyncOperationRequest, call: Call
    ) -> rr.GetAsyncOperationResponse:
        """How an operation stands."""
        operation = self._core.store.operation(request.async_operation_id)
        if operation is None:
            rules.not_found("async operation", request.async_operation_id)
        return rr.GetAsyncOperationResponse(
            async_operation=AsyncOperation.FromString(operation.body)
        )
