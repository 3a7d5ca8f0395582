"""API keys. The token is in the answer to CreateApiKey only; it works as a key here."""

from __future__ import annotations

import time

from google.protobuf.message import Message
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity
from temporalio.api.cloud.resource.v1.message_pb2 import ResourceState

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind, mark, new_id
from tprov_kernel.standin.families.service_accounts import SERVICE_ACCOUNT
from tprov_kernel.standin.families.users import USER
from tprov_kernel.standin.keys import Keys

API_KEY = Kind(name="API key", type=identity.ApiKey, title=lambda k: str(k.spec.display_name))
OWNERS = {
    identity.OWNER_TYPE_USER: USER.name,
    identity.OWNER_TYPE_SERVICE_ACCOUNT: SERVICE_ACCOUNT.name,
}


class ApiKeys:
    """API keys."""

    def __init__(self, core: Core, keys: Keys) -> None:
        self._core = core
        self._keys = keys
        core.kinds[API_KEY.name] = API_KEY
        core.removed.append(self._owner_removed)

    def GetApiKey(self, request: rr.GetApiKeyRequest, call: Call) -> rr.GetApiKeyResponse:
        """One key."""
        return rr.GetApiKeyResponse(api_key=_shown(self._core.get(API_KEY, request.key_id)))

    def GetApiKeys(self, request: rr.GetApiKeysRequest, call: Call) -> rr.GetApiKeysResponse:
        """Keys, all or an owner's."""

        def wanted(key: identity.ApiKey) -> bool:
            owner = request.owner_id in ("", key.spec.owner_id)
            return owner and request.owner_type in (0, key.spec.owner_type)

        found, token = self._core.page(API_KEY, request, wanted)
        return rr.GetApiKeysResponse(api_keys=[_shown(k) for k in found], next_page_token=token)

    def CreateApiKey(self, request: rr.CreateApiKeyRequest, call: Call) -> rr.CreateApiKeyResponse:
        """Make a key for a user or a service account."""
        spec = request.spec
        rules.named("spec.display_name", spec.display_name)
        if spec.owner_type not in OWNERS:
            rules.invalid("spec.owner_type", "must be user or service-account")
        self._core.get(
            self._core.kinds[OWNERS[spec.owner_type]], spec.owner_id, field="spec.owner_id"
        )
        self._in_the_future(spec)
        fresh = identity.ApiKey(id=new_id(), spec=spec)
        operation = self._core.create(API_KEY, fresh.id, fresh, call)
        return rr.CreateApiKeyResponse(
            key_id=fresh.id, token=self._keys.token(fresh.id), async_operation=operation
        )

    def UpdateApiKey(self, request: rr.UpdateApiKeyRequest, call: Call) -> rr.UpdateApiKeyResponse:
        """Rename, enable or disable a key; its owner stays."""
        current = self._core.get(API_KEY, request.key_id)
        rules.named("spec.display_name", request.spec.display_name)
        rules.unchanged("spec.owner_id", current.spec.owner_id, request.spec.owner_id)
        rules.unchanged("spec.owner_type", current.spec.owner_type, request.spec.owner_type)
        if request.spec.expiry_time != current.spec.expiry_time:
            self._in_the_future(request.spec)
        current.spec.CopyFrom(request.spec)
        operation = self._core.update(
            API_KEY, request.key_id, current, call, version=request.resource_version
        )
        return rr.UpdateApiKeyResponse(async_operation=operation)

    def DeleteApiKey(self, request: rr.DeleteApiKeyRequest, call: Call) -> rr.DeleteApiKeyResponse:
        """Delete a key."""
        operation = self._core.delete(
            API_KEY, request.key_id, call, version=request.resource_version
        )
        return rr.DeleteApiKeyResponse(async_operation=operation)

    def GetCurrentIdentity(
        self, request: rr.GetCurrentIdentityRequest, call: Call
    ) -> rr.GetCurrentIdentityResponse:
        """Who is calling, with which key."""
        answer = rr.GetCurrentIdentityResponse()
        if call.principal.type == "user":
            answer.user.CopyFrom(self._core.get(USER, call.principal.id))
        else:
            answer.service_account.CopyFrom(self._core.get(SERVICE_ACCOUNT, call.principal.id))
        if call.principal.key:
            answer.principal_api_key.CopyFrom(self._core.get(API_KEY, call.principal.key))
        return answer

    def conceal(self, answer: Message) -> None:
        """Take the token out of an answer that is to be stored."""
        if isinstance(answer, rr.CreateApiKeyResponse):
            answer.token = ""

    def reveal(self, answer: Message) -> None:
        """Put the token back into a stored answer."""
        if isinstance(answer, rr.CreateApiKeyResponse):
            answer.token = self._keys.token(answer.key_id)

    @staticmethod
    def _in_the_future(spec: identity.ApiKeySpec) -> None:
        if not spec.HasField("expiry_time"):
            rules.invalid("spec.expiry_time", "is required")
        if spec.expiry_time.ToNanoseconds() / 1e9 <= time.time():
            when = spec.expiry_time.ToJsonString()
            rules.invalid("spec.expiry_time", f"must be in the future, it is {when}")

    def _owner_removed(self, kind: str, id: str) -> None:
        if kind in OWNERS.values():
            for key in self._core.all(API_KEY):
                if key.spec.owner_id == id:
                    self._core.remove(API_KEY, key.id)


def _shown(key: identity.ApiKey) -> identity.ApiKey:
    """A key past its time is 'expired'."""
    active = key.state == ResourceState.RESOURCE_STATE_ACTIVE
    if active and key.spec.expiry_time.ToNanoseconds() / 1e9 <= time.time():
        mark(key, ResourceState.RESOURCE_STATE_EXPIRED, "")
    return key
