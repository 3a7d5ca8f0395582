"""Connectivity rules: from where a namespace can be reached.

They are made and deleted, never changed.
"""

from __future__ import annotations

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.connectivityrule.v1.message_pb2 import ConnectivityRule

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, new_id
from tprov_kernel.standin.families.account import REGIONS
from tprov_kernel.standin.families.namespaces import NAMESPACE, RULE


class Connectivity:
    """Connectivity rules."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[RULE.name] = RULE

    def GetConnectivityRule(
        self, request: rr.GetConnectivityRuleRequest, call: Call
    ) -> rr.GetConnectivityRuleResponse:
        """One rule."""
        found = self._core.get(RULE, request.connectivity_rule_id)
        return rr.GetConnectivityRuleResponse(connectivity_rule=found)

    def GetConnectivityRules(
        self, request: rr.GetConnectivityRulesRequest, call: Call
    ) -> rr.GetConnectivityRulesResponse:
        """Rules, all or a namespace's."""
        of: list[str] | None = None
        if request.namespace:
            of = list(self._core.get(NAMESPACE, request.namespace).spec.connectivity_rule_ids)
        found, token = self._core.page(RULE, request, lambda rule: of is None or rule.id in of)
        return rr.GetConnectivityRulesResponse(connectivity_rules=found, next_page_token=token)

    def CreateConnectivityRule(
        self, request: rr.CreateConnectivityRuleRequest, call: Call
    ) -> rr.CreateConnectivityRuleResponse:
        """Make a rule."""
        rules.connectivity(request.spec, known_regions=REGIONS)
        fresh = ConnectivityRule(id=new_id(), spec=request.spec)
        operation = self._core.create(RULE, fresh.id, fresh, call)
        return rr.CreateConnectivityRuleResponse(
            connectivity_rule_id=fresh.id, async_operation=operation
        )

    def DeleteConnectivityRule(
        self, request: rr.DeleteConnectivityRuleRequest, call: Call
    ) -> rr.DeleteConnectivityRuleResponse:
        """Delete a rule that no namespace has."""
        id = request.connectivity_rule_id
        self._core.get(RULE, id)
        for namespace in self._core.all(NAMESPACE):
            if id in namespace.spec.connectivity_rule_ids:
                rules.not_now(
                    f"The connectivity rule {id!r} is still in use by {namespace.namespace!r}"
                )
        operation = self._core.delete(RULE, id, call, version=request.resource_version)
        return rr.DeleteConnectivityRuleResponse(async_operation=operation)
