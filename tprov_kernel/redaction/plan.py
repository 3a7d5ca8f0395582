"""Redacts `terraform show -json PLAN`: marks first, literals dropped, then exact values.

Only what the format is known to hold is passed on, so that a key a later Terraform adds cannot
leak. Where a secret stood, an object stands that no real value looks like:
``{"$redacted": "string", "same_as": 3}``. The number tells equal secrets from different ones,
within this plan only, so that a changed secret is seen to change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tprov_kernel.redaction.scrub import Scrubber, is_worth_hiding

STAND_IN = "$redacted"
_SAME_AS = "same_as"

_TYPES = {str: "string", list: "list", dict: "object", bool: "bool", int: "number", float: "number"}
_USER_INFO = re.compile(r"(?<=//)([^/@]+)@")
_CREDENTIAL = re.compile(r"key|token|secret|password|credential|auth", re.IGNORECASE)

_RESOURCE = ("address", "mode", "type", "name", "index", "provider_name", "schema_version")
_CHANGED = (
    *_RESOURCE,
    "previous_address",
    "module_address",
    "deposed",
    "action_reason",
)
_CONFIGURED = ("address", "mode", "type", "name", "provider_config_key", "schema_version")
_TOP = ("format_version", "terraform_version", "timestamp", "applyable", "complete", "errored")


@dataclass(frozen=True)
class Redacted:
    """A plan that may be shown, and what was found in it.

    Attributes:
        plan: The redacted JSON.
        secrets: Every value found under a mark, of a sensitive variable and the like; without the
            `known` ones, so that it may be sealed and kept.
        scrubber: Takes these secrets and the `known` ones out of anything else.
    """

    plan: dict[str, Any]
    secrets: frozenset[str] = field(repr=False)
    scrubber: Scrubber


def redact_plan(
    plan: Mapping[str, Any],
    *,
    known: Iterable[str] = (),
    ephemeral: Iterable[str] = (),
    import_ids: Iterable[str] = (),
) -> Redacted:
    """Redact a plan's JSON.

    Args:
        plan: What `terraform show -json PLAN` printed; also that of a plan that failed.
        known: More secrets: API keys, backend credentials, values of earlier plans.
        ephemeral: Names of ephemeral root variables (`ephemeral_variables` finds them in the
            sources; nothing in the JSON tells): their defaults count as secrets.
        import_ids: Ids in `import` blocks that our own code put there; all others are hidden.
    """
    marks = _Marks(import_ids=frozenset(import_ids))
    shown = marks.plan(plan, ephemeral=frozenset(ephemeral))
    secrets = frozenset(s for s in marks.secrets if is_worth_hiding(s))
    scrubber = Scrubber(secrets.union(known), vocabulary=_vocabulary(plan))
    return Redacted(
        plan=scrubber.replace(shown, whole=marks.stand_in), secrets=secrets, scrubber=scrubber
    )


def is_stand_in(value: object) -> bool:
    """Whether this object stands where a secret stood."""
    return isinstance(value, dict) and STAND_IN in value


class _Marks:
    """One pass over a plan: copies what may be shown and collects what may not."""

    def __init__(self, *, import_ids: frozenset[str]) -> None:
        self.secrets: set[str] = set()
        self._import_ids = import_ids
        self._numbers: dict[str, int] = {}

    # --- values and marks ----------------------------------------------------------------------

    def stand_in(self, value: Any) -> dict[str, Any]:
        """Give the object that stands for a secret."""
        text = json.dumps(value, sort_keys=True)
        number = self._numbers.setdefault(text, len(self._numbers) + 1)
        return {STAND_IN: _TYPES.get(type(value), "unknown"), _SAME_AS: number}

    def collect(self, value: Any) -> None:
        """Remember every leaf of a secret value, but no attribute names: those are public."""
        if isinstance(value, dict):
            for item in value.values():
                self.collect(item)
        elif isinstance(value, list):
            for item in value:
                self.collect(item)
        elif isinstance(value, str):
            self.secrets.add(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.secrets.add(json.dumps(value))

    def hide(self, value: Any, marks: Any) -> Any:
        """Copy a value without what is marked; where the shapes disagree, hide it as a whole."""
        if value is None:
            return None
        if marks is False or marks in ({}, []):
            return value
        if isinstance(value, dict) and isinstance(marks, dict):
            return {key: self.hide(item, marks.get(key, False)) for key, item in value.items()}
        if isinstance(value, list) and isinstance(marks, list) and len(value) == len(marks):
            return [self.hide(item, mark) for item, mark in zip(value, marks, strict=True)]
        self.collect(value)
        return self.stand_in(value)

    # --- the parts of a plan -------------------------------------------------------------------

    def plan(self, plan: Mapping[str, Any], *, ephemeral: frozenset[str]) -> dict[str, Any]:
        """Copy a whole plan."""
        configuration = _dict(plan.get("configuration"))
        self._variables(_dict(plan.get("variables")), configuration, ephemeral)
        self._collect_providers(_dict(configuration.get("provider_config")))
        prior = _dict(plan.get("prior_state"))
        return {
            **_keep(plan, _TOP),
            "variables": {name: {} for name in _dict(plan.get("variables"))},
            "planned_values": self._values(plan.get("planned_values")),
            "prior_state": {"values": self._values(prior.get("values"))},
            "resource_changes": self._changes(plan.get("resource_changes")),
            "resource_drift": self._changes(plan.get("resource_drift")),
            "deferred_changes": [
                {"reason": item.get("reason"), "resource_change": self._resource_change(inner)}
                for item in _dicts(plan.get("deferred_changes"))
                if (inner := _dict(item.get("resource_change")))
            ],
            "output_changes": {
                name: self._change(_dict(change))
                for name, change in _dict(plan.get("output_changes")).items()
            },
            "action_invocations": [
                {
                    **_keep(item, ("address", "type", "name", "provider_name")),
                    "config_values": self.hide(
                        item.get("config_values"), item.get("config_sensitive")
                    ),
                }
                for item in _dicts(plan.get("action_invocations"))
            ],
            "configuration": {
                "provider_config": {
                    name: _keep(_dict(item), ("name", "full_name", "alias", "module_address"))
                    for name, item in _dict(configuration.get("provider_config")).items()
                },
                "root_module": self._module(_dict(configuration.get("root_module"))),
            },
            "checks": [_check(item) for item in _dicts(plan.get("checks"))],
            "relevant_attributes": [
                _keep(item, ("resource", "attribute"))
                for item in _dicts(plan.get("relevant_attributes"))
            ],
        }

    def _variables(
        self, values: dict[str, Any], configuration: dict[str, Any], ephemeral: frozenset[str]
    ) -> None:
        declared = _dict(_dict(configuration.get("root_module")).get("variables"))
        for name, entry in values.items():
            # A value whose declaration is not there counts as sensitive.
            declaration = _dict(declared.get(name, {"sensitive": True}))
            if declaration.get("sensitive") or name in ephemeral:
                self.collect(_dict(entry).get("value"))
        for name in ephemeral:
            self.collect(_dict(declared.get(name)).get("default"))

    def _collect_providers(self, providers: dict[str, Any]) -> None:
        for provider in providers.values():
            for name, expression in _dict(_dict(provider).get("expressions")).items():
                if _CREDENTIAL.search(name):
                    self.collect(_constants(expression))

    def _values(self, part: Any) -> dict[str, Any]:
        """`planned_values` and `prior_state.values`."""
        part = _dict(part)
        outputs = {
            name: {
                "sensitive": entry.get("sensitive") is not False,
                "value": self.hide(entry.get("value"), entry.get("sensitive")),
            }
            for name, entry in _dict(part.get("outputs")).items()
            if isinstance(entry, dict)
        }
        return {"outputs": outputs, "root_module": self._values_module(part.get("root_module"))}

    def _values_module(self, module: Any) -> dict[str, Any]:
        module = _dict(module)
        return {
            **_keep(module, ("address",)),
            "resources": [
                {
                    **_keep(item, (*_RESOURCE, "depends_on", "tainted", "deposed_key")),
                    "values": self.hide(item.get("values"), item.get("sensitive_values")),
                    "sensitive_values": item.get("sensitive_values"),
                }
                for item in _dicts(module.get("resources"))
            ],
            "child_modules": [
                self._values_module(child) for child in _dicts(module.get("child_modules"))
            ],
        }

    def _changes(self, changes: Any) -> list[dict[str, Any]]:
        return [self._resource_change(item) for item in _dicts(changes)]

    def _resource_change(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**_keep(item, _CHANGED), "change": self._change(_dict(item.get("change")))}

    def _change(self, change: dict[str, Any]) -> dict[str, Any]:
        result = {
            **_keep(change, ("actions", "replace_paths", "before_sensitive", "after_sensitive")),
            "before": self.hide(change.get("before"), change.get("before_sensitive")),
            "after": self.hide(change.get("after"), change.get("after_sensitive")),
            # A map whose key is secret shows it here, though the map is marked as a whole.
            "after_unknown": _prune(change.get("after_unknown"), change.get("after_sensitive")),
        }
        if isinstance(importing := change.get("importing"), dict):
            id_ = importing.get("id")
            ours = id_ is None or id_ in self._import_ids
            result["importing"] = {"id": id_ if ours else self.stand_in(id_)}
        return result

    def _module(self, module: dict[str, Any]) -> dict[str, Any]:
        """A module of `configuration`: references, addresses and types, but no literal."""
        for variable in _dict(module.get("variables")).values():
            if _dict(variable).get("sensitive"):
                self.collect(_dict(variable).get("default"))
        for output in _dict(module.get("outputs")).values():
            if _dict(output).get("sensitive"):
                self.collect(_constants(_dict(output).get("expression")))
        return {
            "outputs": {
                name: {
                    **_keep(_dict(output), ("sensitive", "ephemeral", "depends_on")),
                    "expression": _references(_dict(output).get("expression")),
                }
                for name, output in _dict(module.get("outputs")).items()
            },
            "variables": {
                name: _keep(_dict(variable), ("sensitive", "ephemeral"))
                for name, variable in _dict(module.get("variables")).items()
            },
            "resources": [
                {
                    **_keep(item, (*_CONFIGURED, "depends_on")),
                    **_references(
                        _keep(item, ("expressions", "count_expression", "for_each_expression"))
                    ),
                }
                for item in _dicts(module.get("resources"))
            ],
            "module_calls": {
                name: self._module_call(_dict(call))
                for name, call in _dict(module.get("module_calls")).items()
            },
        }

    def _module_call(self, call: dict[str, Any]) -> dict[str, Any]:
        inner = _dict(call.get("module"))
        declared = _dict(inner.get("variables"))
        for name, expression in _dict(call.get("expressions")).items():
            if _dict(declared.get(name, {"sensitive": True})).get("sensitive"):
                self.collect(_constants(expression))
        source = str(call.get("source", ""))
        for user_info in _USER_INFO.findall(source):
            self.secrets.update([user_info, *user_info.split(":")])
        return {
            "source": _USER_INFO.sub("", source).split("?")[0],
            **_references(_keep(call, ("expressions", "count_expression", "for_each_expression"))),
            "module": self._module(inner),
        }


# --- small pieces --------------------------------------------------------------------------------


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _keep(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}


def _prune(unknown: Any, marks: Any) -> Any:
    if isinstance(unknown, dict) and isinstance(marks, dict):
        return {key: _prune(item, marks.get(key, False)) for key, item in unknown.items()}
    if isinstance(unknown, list) and isinstance(marks, list) and len(unknown) == len(marks):
        return [_prune(item, mark) for item, mark in zip(unknown, marks, strict=True)]
    if marks is False or marks in ({}, []):
        return unknown
    return _any_true(unknown)


def _any_true(unknown: Any) -> bool:
    if isinstance(unknown, dict):
        return any(_any_true(item) for item in unknown.values())
    if isinstance(unknown, list):
        return any(_any_true(item) for item in unknown)
    return unknown is True


def _references(expression: Any) -> dict[str, Any]:
    """An expression, or a block of them, without any literal."""
    result: dict[str, Any] = {}
    for name, item in _dict(expression).items():
        if name == "references":
            result[name] = [ref for ref in item if isinstance(ref, str)]
        elif name == "constant_value":
            continue
        elif isinstance(item, dict):
            result[name] = _references(item)
        elif isinstance(item, list):
            result[name] = [_references(inner) for inner in _dicts(item)]
    return result


def _constants(expression: Any) -> list[Any]:
    """Every literal of an expression, or of a block of them."""
    if isinstance(expression, list):
        return [constant for item in expression for constant in _constants(item)]
    found = []
    for name, item in _dict(expression).items():
        found += [item] if name == "constant_value" else _constants(item)
    return found


def _check(check: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": _keep(_dict(check.get("address")), ("kind", "to_display")),
        "status": check.get("status"),
        "instances": [
            {
                "address": _keep(_dict(item.get("address")), ("to_display",)),
                "status": item.get("status"),
                "problems": [_keep(p, ("message",)) for p in _dicts(item.get("problems"))],
            }
            for item in _dicts(check.get("instances"))
        ],
    }


def _vocabulary(plan: Mapping[str, Any]) -> set[str]:
    """Names that are public because the format or the configuration's author chose them."""
    words = {STAND_IN, _SAME_AS}
    for item in (*_dicts(plan.get("resource_changes")), *_dicts(plan.get("resource_drift"))):
        words.update(str(item.get(name)) for name in ("type", "name", "provider_name", "address"))
        change = _dict(item.get("change"))
        words.update(_dict(change.get("before")), _dict(change.get("after")))
        words.update(_dict(change.get("after_unknown")))
    words.update(_dict(plan.get("variables")), _dict(plan.get("output_changes")))
    return words
