"""Redacts `terraform show -json PLAN`: marks first, literals dropped, then exact values.

Only what the format is known to hold is passed on, so that a key a later Terraform adds cannot
leak. Where a secret stood, an object stands that no real value looks like:
``{"$redacted": "string", "same_as": 3}``. The number tells equal secrets from different ones,
within this plan only, so that a changed secret is seen to change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tprov_kernel.redaction.configuration import redact_configuration
from tprov_kernel.redaction.hcl import secrets_written
from tprov_kernel.redaction.marks import SAME_AS, STAND_IN, Marks, prune
from tprov_kernel.redaction.scrub import SENSITIVE, Scrubber, is_worth_hiding
from tprov_kernel.redaction.shapes import as_dict, dicts, keep, strings

_TOP = ("format_version", "terraform_version", "timestamp", "applyable", "complete", "errored")
_RESOURCE = ("address", "mode", "type", "name", "index", "provider_name", "schema_version")
_CHANGED = (*_RESOURCE, "previous_address", "module_address", "deposed", "action_reason")
_INVOKED = ("address", "type", "name", "provider_name")
_KEY = re.compile(r'\["((?:[^"\\]|\\.)*)"\]')


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
    marks = Marks()
    shown = _Plan(marks, import_ids=frozenset(import_ids)).redact(plan)
    _collect_variables(plan, marks, ephemeral=frozenset(ephemeral))
    secrets = frozenset(s for s in marks.secrets if is_worth_hiding(s))
    scrubber = Scrubber(secrets.union(known), vocabulary=_vocabulary(plan))
    return Redacted(
        plan=scrubber.replace(shown, whole=marks.stand_in), secrets=secrets, scrubber=scrubber
    )


def secret_keys(redacted: Redacted, plan: Mapping[str, Any]) -> list[str]:
    """Find the addresses in whose keys a secret stands, and give them without it.

    ``for_each = nonsensitive(...)`` makes such ones. An address is not a text like others: things
    are done by it.
    """
    scrub = redacted.scrubber.text
    found = [
        address
        for address in _addresses(plan)
        for key in _KEY.findall(address)
        if scrub(key) != key or scrub(_unquoted(key)) != _unquoted(key)
    ]
    return sorted({_KEY.sub(f'["{SENSITIVE}"]', address) for address in found})


def _addresses(plan: Mapping[str, Any]) -> Iterator[str]:
    def within(module: Any) -> Iterator[str]:
        for item in dicts(as_dict(module).get("resources")):
            yield str(item.get("address", ""))
        for child in dicts(as_dict(module).get("child_modules")):
            yield from within(child)

    for item in (*dicts(plan.get("resource_changes")), *dicts(plan.get("resource_drift"))):
        yield str(item.get("address", ""))
        yield str(item.get("previous_address", ""))
    values = as_dict(as_dict(plan.get("prior_state")).get("values"))
    yield from within(values.get("root_module"))


def _unquoted(key: str) -> str:
    key = key.replace("$${", "${").replace("%%{", "%{")
    try:
        return str(json.loads(f'"{key}"'))
    except ValueError:
        return key


def secrets_of_state(state: Mapping[str, Any]) -> frozenset[str]:
    """Find what is marked in `terraform show -json` of a state (without a plan file).

    For a `Scrubber` where there is no plan: outputs read later, errors while refreshing.
    """
    marks = Marks()
    _Plan(marks, import_ids=frozenset()).values(state.get("values"))
    return frozenset(s for s in marks.secrets if is_worth_hiding(s))


def secrets_of_state_file(state: Mapping[str, Any]) -> frozenset[str]:
    """Find what is marked in a state as it lies in its file, `errored.tfstate` among them.

    No program is needed for it. A mark whose path leads nowhere counts for the whole resource.
    """
    marks = Marks()
    for output in as_dict(state.get("outputs")).values():
        if as_dict(output).get("sensitive"):
            marks.collect(as_dict(output).get("value"))
    for resource in dicts(state.get("resources")):
        for instance in dicts(resource.get("instances")):
            values = instance.get("attributes")
            for path in instance.get("sensitive_attributes") or []:
                marks.collect(_at(values, path))
    return frozenset(s for s in marks.secrets if is_worth_hiding(s))


def _at(values: Any, path: Any) -> Any:
    """What a path of `sensitive_attributes` leads to."""
    found = values
    for step in path if isinstance(path, list) else [None]:
        name = as_dict(step).get("value")
        key: Any = name.get("value") if isinstance(name, dict) else name
        if found is None:
            return None
        try:
            found = found[key]
        except (LookupError, TypeError):
            return values
    return found


def given_secrets(
    sources: Iterable[str], values: Mapping[str, Any], *, modules: Iterable[str] = ()
) -> frozenset[str]:
    """Find what the sources say is secret: values of variables, defaults, literals.

    For a `Scrubber` before there is a plan: Terraform 1.11 prints a sensitive variable whose
    validation fails.

    Args:
        sources: Contents of the root module's `.tf` and `.tf.json` files.
        values: Variable name to value, as in `terraform.tfvars.json`; a text is a secret of its
            own, in anything else each leaf is one.
        modules: Contents of other modules' files.
    """
    marks = Marks()
    marks.collect(secrets_written(sources, modules, values))
    return frozenset(s for s in marks.secrets if is_worth_hiding(s))


class _Plan:
    """Copies the parts of a plan that may be shown."""

    def __init__(self, marks: Marks, *, import_ids: frozenset[str]) -> None:
        self._marks = marks
        self._import_ids = import_ids

    def redact(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Copy a whole plan; of variables only the names, since an ephemeral one has no mark."""
        return {
            **keep(plan, _TOP),
            "variables": {name: {} for name in as_dict(plan.get("variables"))},
            "planned_values": self.values(plan.get("planned_values")),
            "prior_state": {"values": self.values(as_dict(plan.get("prior_state")).get("values"))},
            "resource_changes": self._resources(plan.get("resource_changes")),
            "resource_drift": self._resources(plan.get("resource_drift")),
            "deferred_changes": [
                {"resource_change": self._resource(as_dict(item.get("resource_change")))}
                for item in dicts(plan.get("deferred_changes"))
            ],
            "output_changes": {
                name: self._change(as_dict(change))
                for name, change in as_dict(plan.get("output_changes")).items()
            },
            "action_invocations": [
                {
                    **keep(item, _INVOKED),
                    "config_values": self._hidden(item, "config_values", "config_sensitive"),
                }
                for item in dicts(plan.get("action_invocations"))
            ],
            "configuration": redact_configuration(as_dict(plan.get("configuration")), self._marks),
            "checks": [_check(item) for item in dicts(plan.get("checks"))],
            "relevant_attributes": [
                keep(item, ("resource", "attribute"))
                for item in dicts(plan.get("relevant_attributes"))
            ],
        }

    def _hidden(self, of: dict[str, Any], value: str, marks: str) -> Any:
        return self._marks.hide(of.get(value), of.get(marks))

    def values(self, part: Any) -> dict[str, Any]:
        """`planned_values` and `prior_state.values`."""
        outputs = {
            name: {
                "sensitive": output.get("sensitive") is not False,
                "value": self._hidden(output, "value", "sensitive"),
            }
            for name, output in as_dict(as_dict(part).get("outputs")).items()
            if isinstance(output, dict)
        }
        return {"outputs": outputs, "root_module": self._module(as_dict(part).get("root_module"))}

    def _module(self, module: Any) -> dict[str, Any]:
        module = as_dict(module)
        return {
            **keep(module, ("address",)),
            "resources": [
                {
                    **keep(item, (*_RESOURCE, "depends_on", "tainted", "deposed_key")),
                    **keep(item, ("sensitive_values",)),
                    "values": self._hidden(item, "values", "sensitive_values"),
                }
                for item in dicts(module.get("resources"))
            ],
            "child_modules": [self._module(child) for child in dicts(module.get("child_modules"))],
        }

    def _resources(self, items: Any) -> list[dict[str, Any]]:
        return [self._resource(item) for item in dicts(items)]

    def _resource(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**keep(item, _CHANGED), "change": self._change(as_dict(item.get("change")))}

    def _change(self, change: dict[str, Any]) -> dict[str, Any]:
        result = {
            "actions": strings(change.get("actions")),
            **keep(change, ("replace_paths", "before_sensitive", "after_sensitive")),
            "before": self._hidden(change, "before", "before_sensitive"),
            "after": self._hidden(change, "after", "after_sensitive"),
            "after_unknown": prune(change.get("after_unknown"), change.get("after_sensitive")),
        }
        if isinstance(importing := change.get("importing"), dict):
            id_ = importing.get("id")
            ours = id_ is None or (isinstance(id_, str) and id_ in self._import_ids)
            result["importing"] = {"id": id_ if ours else self._marks.stand_in(id_)}
        return result


def _collect_variables(plan: Mapping[str, Any], marks: Marks, *, ephemeral: frozenset[str]) -> None:
    """Remember the values of the root module's sensitive and ephemeral variables."""
    root = as_dict(as_dict(plan.get("configuration")).get("root_module"))
    declared = as_dict(root.get("variables"))
    for name, entry in as_dict(plan.get("variables")).items():
        # A value whose declaration is not there counts as sensitive.
        declaration = as_dict(declared.get(name, {"sensitive": True}))
        if declaration.get("sensitive") or name in ephemeral:
            marks.collect(as_dict(entry).get("value"))
    for name in ephemeral:
        marks.collect(as_dict(declared.get(name)).get("default"))


def _check(check: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": keep(as_dict(check.get("address")), ("kind", "to_display")),
        **keep(check, ("status",)),
        "instances": [
            {
                "address": keep(as_dict(item.get("address")), ("to_display",)),
                **keep(item, ("status",)),
                "problems": [keep(p, ("message",)) for p in dicts(item.get("problems"))],
            }
            for item in dicts(check.get("instances"))
        ],
    }


def _vocabulary(plan: Mapping[str, Any]) -> set[str]:
    """Names that are public because a schema or the configuration's author chose them."""
    words = {STAND_IN, SAME_AS}
    for item in (*dicts(plan.get("resource_changes")), *dicts(plan.get("resource_drift"))):
        words.update(str(item.get(name)) for name in ("type", "name", "provider_name", "address"))
        change = as_dict(item.get("change"))
        for part in ("before", "after", "after_unknown"):
            words.update(as_dict(change.get(part)))
    words.update(as_dict(plan.get("variables")), as_dict(plan.get("output_changes")))
    return words
