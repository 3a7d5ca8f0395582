"""The `configuration` of a plan's JSON: references, addresses and types, but no literal.

It has no marks. Literals are dropped whatever they are; those of sensitive variables and outputs,
and a provider's credentials, are remembered as secrets.
"""

from __future__ import annotations

import re
from typing import Any

from tprov_kernel.redaction.marks import Marks
from tprov_kernel.redaction.shapes import as_dict, dicts, keep, strings

_PROVIDER = ("name", "full_name", "alias", "module_address")
_RESOURCE = ("address", "mode", "type", "name", "provider_config_key", "schema_version")
_EXPRESSIONS = ("expressions", "count_expression", "for_each_expression")
_USER_INFO = re.compile(r"(?<=//)([^/@]+)@")
_CREDENTIAL = re.compile(r"key|token|secret|password|credential|auth", re.IGNORECASE)


def redact_configuration(configuration: dict[str, Any], marks: Marks) -> dict[str, Any]:
    """Copy it without literals; secrets among them go into the marks."""
    providers = as_dict(configuration.get("provider_config"))
    for provider in providers.values():
        for name, expression in as_dict(as_dict(provider).get("expressions")).items():
            if _CREDENTIAL.search(name):
                marks.collect(_constants(expression))
    return {
        "provider_config": {name: keep(as_dict(p), _PROVIDER) for name, p in providers.items()},
        "root_module": _module(as_dict(configuration.get("root_module")), marks),
    }


def _module(module: dict[str, Any], marks: Marks) -> dict[str, Any]:
    variables = {n: as_dict(v) for n, v in as_dict(module.get("variables")).items()}
    outputs = {n: as_dict(o) for n, o in as_dict(module.get("outputs")).items()}
    for variable in variables.values():
        if variable.get("sensitive"):
            marks.collect(variable.get("default"))
    for output in outputs.values():
        if output.get("sensitive"):
            marks.collect(_constants(output.get("expression")))
    return {
        "outputs": {
            name: {
                **keep(output, ("sensitive", "ephemeral", "depends_on")),
                "expression": _references(output.get("expression")),
            }
            for name, output in outputs.items()
        },
        "variables": {n: keep(v, ("sensitive", "ephemeral")) for n, v in variables.items()},
        "resources": [
            {**keep(item, (*_RESOURCE, "depends_on")), **_references(keep(item, _EXPRESSIONS))}
            for item in dicts(module.get("resources"))
        ],
        "module_calls": {
            name: _module_call(as_dict(call), marks)
            for name, call in as_dict(module.get("module_calls")).items()
        },
    }


def _module_call(call: dict[str, Any], marks: Marks) -> dict[str, Any]:
    inner = as_dict(call.get("module"))
    declared = as_dict(inner.get("variables"))
    for name, expression in as_dict(call.get("expressions")).items():
        # An input whose declaration is not there counts as sensitive.
        if as_dict(declared.get(name, {"sensitive": True})).get("sensitive"):
            marks.collect(_constants(expression))
    source = str(call.get("source", ""))
    for user_info in _USER_INFO.findall(source):
        marks.secrets.update([user_info, *user_info.split(":")])
    return {
        "source": _USER_INFO.sub("", source).split("?")[0],
        **_references(keep(call, _EXPRESSIONS)),
        "module": _module(inner, marks),
    }


def _references(expression: Any) -> dict[str, Any]:
    """An expression, or a block of them, without any literal."""
    result: dict[str, Any] = {}
    for name, item in as_dict(expression).items():
        if name == "references":
            result[name] = strings(item)
        elif name == "constant_value":
            continue
        elif isinstance(item, dict):
            result[name] = _references(item)
        elif isinstance(item, list):
            result[name] = [_references(inner) for inner in dicts(item)]
    return result


def _constants(expression: Any) -> list[Any]:
    """Every literal of an expression, or of a block of them."""
    if isinstance(expression, list):
        return [constant for item in expression for constant in _constants(item)]
    found = []
    for name, item in as_dict(expression).items():
        found += [item] if name == "constant_value" else _constants(item)
    return found
