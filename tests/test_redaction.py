"""Redaction: marks fail closed, exact values go in every form, and the rest stays readable."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tprov_kernel import redaction
from tprov_kernel.messages import AttributeChange, PlanView
from tprov_kernel.redaction import (
    SENSITIVE,
    Scrubber,
    assigned_values,
    declared_variables,
    ephemeral_variables,
    event_view,
    given_secrets,
    plan_view,
    redact_outputs,
    redact_plan,
    secret_keys,
    secrets_of_state,
    secrets_of_state_file,
    sensitive_variables,
)

# How long an example takes says more of a busy machine than of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

CANARY = "canary-27e1b90cf4"


def change(
    before: Any = None, after: Any = None, *, actions: tuple[str, ...] = ("create",), **more: Any
) -> dict[str, Any]:
    """One entry of `resource_changes`; nothing is marked unless `more` says so."""
    body = {
        "actions": list(actions),
        "before": before,
        "after": after,
        "after_unknown": {},
        "before_sensitive": False if before is None else {},
        "after_sensitive": False if after is None else {},
        **more,
    }
    return {
        "address": "terraform_data.a",
        "mode": "managed",
        "type": "terraform_data",
        "name": "a",
        "provider_name": "terraform.io/builtin/terraform",
        "change": body,
    }


def plan(*changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A plan's JSON."""
    return {"format_version": "1.2", "resource_changes": list(changes), **more}


def shown(given: dict[str, Any], **options: Any) -> str:
    """Everything that may be seen of a plan."""
    redacted = redact_plan(given, **options)
    return json.dumps([redacted.plan, asdict(plan_view(redacted))])


# --- the scrubber --------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="()"), min_size=8, max_size=24)
secrets = words.filter(lambda s: Scrubber([s]).text(s) != s)


@given(known=st.lists(secrets, min_size=1, max_size=5), parts=st.lists(st.text(max_size=6)))
def test_no_secret_survives_in_a_text(known: list[str], parts: list[str]) -> None:
    """Wherever it stands, whatever is around it, overlapping or not."""
    text = "".join([*parts, *known, known[0][:4], *known[::-1], *parts])
    clean = Scrubber(known).text(text)

    assert [s for s in known if s in clean] == []
    assert SENSITIVE in clean


@pytest.mark.parametrize(
    "write",
    [
        lambda s: json.dumps(s),
        lambda s: json.dumps(s, ensure_ascii=False),
        lambda s: json.dumps(json.dumps([s])),
        lambda s: s.encode().hex(),
        lambda s: s.encode().hex().upper(),
        lambda s: quote(s, safe=""),
        lambda s: quote(s),
        lambda s: quote_plus(s),
        lambda s: html.escape(s),
        *(
            lambda s, before=before, code=code: code(before + s.encode() + b"after").decode()
            for before in (b"", b"x", b"xy", b"xyz")
            for code in (base64.b64encode, base64.urlsafe_b64encode)
        ),
    ],
)
@pytest.mark.parametrize(
    "secret", [CANARY, 'p"ss\\w<r>d & ü/ä+?', "line one is\nline two is", "π" * 9]
)
def test_a_secret_is_found_in_every_form(secret: str, write: Any) -> None:
    """Escaped or encoded by the standard library, not by our own code."""
    written = write(secret)
    clean = Scrubber([secret]).text(f"<{written}>")

    assert SENSITIVE in clean
    assert len(clean) - len(SENSITIVE) <= 22, clean


def test_each_line_of_a_secret_is_found_by_itself() -> None:
    """A key in PEM is indented wherever Terraform prints it; its frame is no secret."""
    pem = "-----BEGIN KEY-----\nAAAABBBBCCCC\nDDDDEEEEFFFF\n-----END KEY-----\n"
    text = "    -----BEGIN KEY-----\n    AAAABBBBCCCC\n    DDDDEEEEFFFF\n"

    assert Scrubber([pem]).text(text) == (
        f"    -----BEGIN KEY-----\n    {SENSITIVE}\n    {SENSITIVE}\n"
    )
    assert Scrubber([pem]).text("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


def test_the_longest_goes_first_and_overlapping_ones_become_one() -> None:
    """A secret that begins another one must not leave the other's rest."""
    scrubber = Scrubber(["secret-one", "secret-one-and-more", "more-and-most"])

    assert scrubber.text("a secret-one-and-more z") == f"a {SENSITIVE} z"
    assert scrubber.text("a secret-one-and-more-and-most z") == f"a {SENSITIVE} z"
    assert scrubber.text("a secret-one z") == f"a {SENSITIVE} z"


@given(st.lists(secrets, max_size=3), st.text(max_size=60))
def test_scrubbing_twice_is_scrubbing_once(known: list[str], text: str) -> None:
    """And a text without a secret stays as it is."""
    scrubber = Scrubber(known)
    once = scrubber.text(text)

    assert scrubber.text(once) == once
    assert once == text or SENSITIVE in once


@pytest.mark.parametrize(
    "word",
    [
        *("developer", "Developer", "financeadmin", "aws-us-east-1", "gcp-europe-west3"),
        *("temporalcloud_namespace", "terraform_data", "resource_changes", "short", "  short  "),
        *("1234567", ""),
    ],
)
def test_what_is_public_or_short_is_never_taken_for_a_secret(word: str) -> None:
    """Roles, regions, types, names of the format, and less than eight characters."""
    assert Scrubber([word]).text(f"a {word} z") == f"a {word} z"


def test_more_vocabulary_can_be_given() -> None:
    """Whatever its case."""
    assert (
        Scrubber(["MyNamespace"], vocabulary=["mynamespace"]).text("MyNamespace") == "MyNamespace"
    )


def test_values_are_scrubbed_in_strings_keys_and_numbers() -> None:
    """Structure and everything else stay; two secret keys do not become one."""
    scrubber = Scrubber([CANARY, "secret-number-two", "123456789"])
    value = {"a": [CANARY, 1, None, True, 1.5], CANARY: {"b": f"x{CANARY}y"}, "n": 123456789}
    keys = {CANARY: 1, "secret-number-two": 2}

    assert scrubber.value(value) == {
        "a": [SENSITIVE, 1, None, True, 1.5],
        SENSITIVE: {"b": f"x{SENSITIVE}y"},
        "n": SENSITIVE,
    }
    assert scrubber.value(keys) == {SENSITIVE: 1, f"{SENSITIVE} 2": 2}


def test_a_scrubber_does_not_show_what_it_knows() -> None:
    """In a log or a stack trace."""
    assert CANARY not in repr(Scrubber([CANARY]))
    assert CANARY not in repr(redact_plan(plan(change(None, {"p": CANARY}, after_sensitive=True))))


# --- marks ---------------------------------------------------------------------------------------


@st.composite
def marked(draw: st.DrawFn, depth: int = 3) -> tuple[Any, Any, list[str], list[str]]:
    """A value, its marks, the secrets under them, and the public leaves beside them.

    Marks may be of the wrong shape: then everything below is secret.
    """
    kind = draw(
        st.sampled_from(["secret", "public", "dict", "list"] if depth else ["secret", "public"])
    )
    if kind in ("secret", "public"):
        leaf = f"{kind}-{draw(st.integers(10**11, 10**12))}"
        return (leaf, True, [leaf], []) if kind == "secret" else (leaf, False, [], [leaf])
    parts = draw(st.lists(marked(depth=depth - 1), max_size=4))
    values, marks = [p[0] for p in parts], [p[1] for p in parts]
    hidden, public = [s for p in parts for s in p[2]], [s for p in parts for s in p[3]]
    wrong = draw(st.sampled_from([None, None, None, True, 1, "true", "short", "other"]))
    if kind == "dict":
        value: Any = {f"k{n}": v for n, v in enumerate(values)}
        mark: Any = {f"k{n}": m for n, m in enumerate(marks) if m not in (False, {}, [])}
        other: Any = [True]
    else:
        value, mark, other = values, marks, {"k0": True}
    if wrong is None or (wrong == "short" and (kind == "dict" or not marks)):
        return value, mark, hidden, public
    bad = {"short": marks[:-1] or [False, False], "other": other}.get(str(wrong), wrong)
    return value, bad, hidden + public, []


@given(st.lists(marked(), min_size=1, max_size=3), st.sampled_from(["plan", "view"]))
def test_what_is_marked_is_hidden_and_what_is_not_stays(
    parts: list[tuple[Any, Any, list[str], list[str]]], where: str
) -> None:
    """Over generated plans, with marks of wrong shapes among them."""
    values, marks = [p[0] for p in parts], [p[1] for p in parts]
    hidden, public = [s for p in parts for s in p[2]], [s for p in parts for s in p[3]]
    after = {f"a{n}": v for n, v in enumerate(values)}
    after_sensitive = {f"a{n}": m for n, m in enumerate(marks)}
    given_plan = plan(
        change(None, after, after_sensitive=after_sensitive),
        change({"old": 1}, after, actions=("update",), after_sensitive=after_sensitive),
        change(after, None, actions=("delete",), before_sensitive=after_sensitive),
        output_changes={"o": change(None, values, after_sensitive=marks)["change"]},
        planned_values={
            "root_module": {
                "child_modules": [
                    {"resources": [{"values": after, "sensitive_values": after_sensitive}]}
                ]
            }
        },
        # echoed by a provider, without its mark
        resource_drift=[change(None, {"echo": [f"<{s}>" for s in hidden]})],
    )
    redacted = redact_plan(given_plan)
    text = json.dumps(redacted.plan if where == "plan" else asdict(plan_view(redacted)))

    assert [s for s in hidden if s in text] == []
    assert [s for s in public if s not in text and s not in hidden] == []
    assert redacted.secrets == set(hidden)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
FORMAT = (
    *("resource_changes", "change", "before", "after", "after_unknown", "before_sensitive"),
    *("after_sensitive", "actions", "importing", "planned_values", "outputs", "root_module"),
    *("resources", "values", "sensitive_values", "child_modules", "prior_state", "configuration"),
    *("variables", "provider_config", "module_calls", "module", "expressions", "references"),
    *("constant_value", "output_changes", "checks", "instances", "problems", "sensitive", "mode"),
)
odd_plans = st.recursive(
    json_values,
    lambda inner: (
        st.dictionaries(st.sampled_from(FORMAT), inner, max_size=6) | st.lists(inner, max_size=3)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.sampled_from(FORMAT), odd_plans, max_size=8))
def test_no_shape_of_json_makes_it_raise(odd: dict[str, Any]) -> None:
    """What is not understood is dropped or hidden, and the view is still made."""
    redacted = redact_plan(odd)

    assert isinstance(plan_view(redacted), PlanView)
    assert json.loads(json.dumps(redacted.plan)) == redacted.plan


@given(st.dictionaries(st.text(max_size=8), st.just(CANARY), max_size=3), st.sampled_from(FORMAT))
def test_unknown_keys_of_the_format_are_dropped(more: dict[str, str], beside: str) -> None:
    """What a later Terraform adds is not passed on before somebody has looked at it."""
    assume(not more.keys() & {"address", "mode", "type", "name", "index", "provider_name"})
    strange = {f"new_{k}": v for k, v in more.items()}
    given_plan = plan(
        {**change(None, {}, actions=("create",), **dict[str, Any](strange)), **strange},
        planned_values={"root_module": {**strange, "resources": [strange]}, **strange},
        configuration={"root_module": {**strange, "resources": [strange]}, **strange},
        **strange,
    )

    assert CANARY not in shown(given_plan)


def test_a_stand_in_tells_the_type_and_equal_from_different() -> None:
    """So that a secret that changes is seen to change, and one that does not is not."""
    marks = {"same": True, "new": True, "list": True}
    redacted = redact_plan(
        plan(
            change(
                {"same": CANARY, "new": "secret-old", "list": [1], "z": CANARY},
                {"same": CANARY, "new": "secret-new", "list": [1], "z": CANARY},
                actions=("update",),
                before_sensitive=marks,
                after_sensitive=marks,
            )
        )
    )
    before = redacted.plan["resource_changes"][0]["change"]["before"]
    [resource] = plan_view(redacted).changes

    assert before["same"]["$redacted"] == "string"
    assert before["list"]["$redacted"] == "list"
    assert before["z"] == before["same"]
    assert [(a.name, a.before, a.after, a.sensitive) for a in resource.attributes] == [
        ("new", f'"{SENSITIVE}"', f'"{SENSITIVE}"', True)
    ]


def test_a_secret_key_of_an_unknown_value_is_not_shown() -> None:
    """`after_unknown` names the keys of a map that is marked as a whole."""
    text = shown(
        plan(
            change(
                None,
                {"input": {}},
                after_unknown={"input": {CANARY: True}},
                after_sensitive={"input": True},
            )
        )
    )

    assert CANARY not in text


def test_literals_of_the_configuration_are_dropped_and_references_stay() -> None:
    """A provider's key, a write-only argument, a module's input, an output, a default."""
    literal = {"constant_value": CANARY}
    text = shown(
        plan(
            configuration={
                "provider_config": {
                    "temporalcloud": {"name": "temporalcloud", "expressions": {"api_key": literal}}
                },
                "root_module": {
                    "variables": {"v": {"default": CANARY, "description": CANARY}},
                    "outputs": {"o": {"expression": literal}},
                    "resources": [
                        {
                            "address": "x.y",
                            "expressions": {
                                "wo": literal,
                                "block": [{"a": literal, "b": {"references": ["var.kept"]}}],
                            },
                            "provisioners": [{"expressions": {"command": literal}}],
                        }
                    ],
                    "module_calls": {
                        "m": {
                            "source": f"git::https://user:{CANARY}@host/x.git?token={CANARY}",
                            "expressions": {"i": literal},
                            "module": {"variables": {"i": {}}},
                        }
                    },
                },
            },
            variables={"v": {"value": CANARY}},
        )
    )

    assert CANARY not in text
    assert "var.kept" in text
    assert "git::https://host/x.git" in text


@pytest.mark.parametrize(
    "configuration",
    [
        {"root_module": {"variables": {"v": {"sensitive": True, "default": CANARY}}}},
        {
            "root_module": {
                "outputs": {"o": {"sensitive": True, "expression": {"constant_value": CANARY}}}
            }
        },
        {"provider_config": {"p": {"expressions": {"api_key": {"constant_value": CANARY}}}}},
        {
            "root_module": {
                "module_calls": {
                    "m": {
                        "expressions": {"s": {"constant_value": {"deep": [CANARY]}}},
                        "module": {"variables": {"s": {"sensitive": True}}},
                    }
                }
            }
        },
        {
            "root_module": {
                "module_calls": {"m": {"expressions": {"s": {"constant_value": CANARY}}}}
            }
        },
        {"root_module": {"module_calls": {"m": {"source": f"https://u:{CANARY}@h/m.zip"}}}},
    ],
)
def test_secrets_among_the_literals_are_taken_out_of_everything_else(
    configuration: dict[str, Any],
) -> None:
    """Sensitive variables' defaults and inputs, sensitive outputs, credentials."""
    redacted = redact_plan(plan(change(None, {"echo": CANARY}), configuration=configuration))

    assert CANARY in redacted.secrets
    assert CANARY not in json.dumps(redacted.plan)


def test_known_secrets_are_taken_out_but_not_handed_back() -> None:
    """`secrets` may be kept, sealed; the worker's own keys do not belong there."""
    redacted = redact_plan(plan(change(None, {"echo": CANARY})), known=[CANARY])

    assert CANARY not in json.dumps(redacted.plan)
    assert redacted.scrubber.text(CANARY) == SENSITIVE
    assert redacted.secrets == frozenset()


def test_an_import_id_is_hidden_unless_we_put_it_there() -> None:
    """A person's `import` block may hold a secret id; recovery's adoptions are shown."""
    given_plan = plan(change({}, {}, actions=("no-op",), importing={"id": CANARY}))

    assert CANARY not in shown(given_plan)
    assert CANARY in shown(given_plan, import_ids=[CANARY])


def test_the_default_of_an_ephemeral_variable_is_known_by_its_name() -> None:
    """Nothing in the JSON tells that it is ephemeral; its value is shown for no variable at all."""
    given_plan = plan(
        change(None, {"echo": CANARY}),
        variables={"e": {"value": CANARY}},
        configuration={"root_module": {"variables": {"e": {"default": CANARY}}}},
    )

    assert CANARY in shown(given_plan)
    assert CANARY not in shown(given_plan, ephemeral=["e"])


def test_the_given_plan_is_not_changed() -> None:
    """The policies judge the real one afterwards."""
    given_plan = plan(change(None, {"p": [CANARY]}, after_sensitive={"p": [True]}))
    before = json.dumps(given_plan)
    redact_plan(given_plan)

    assert json.dumps(given_plan) == before


# --- the sources ---------------------------------------------------------------------------------

INDENTED = "}\nsensitive = true"
SOURCE = """
variable "plain" { type = string }
variable "e1" {
  type      = string # ephemeral = true
  ephemeral = true
}
variable e2 { ephemeral = true }
variable "s1" {
  description = "sensitive = true { \\" }"
  default     = <<-EOT
    }
    sensitive = true
    EOT
  validation {
    condition = length(var.s1) > 1
  }
  sensitive = true
}
/* variable "commented" { sensitive = true } */
variable "said_no" {
  sensitive = false
  default   = "ephemeral = true"
}
variable "by_expression" { sensitive = 1 == 1 }
output "o" {
  sensitive = true
  value     = 1
}
"""


def test_marked_variables_are_found_in_the_sources() -> None:
    """Whatever comments, texts and nested blocks say."""
    more = json.dumps(
        {"variable": {"j1": {"ephemeral": True}, "j2": [{"sensitive": True}], "j3": {}}}
    )

    assert ephemeral_variables([SOURCE, more]) == {"e1", "e2", "j1"}
    assert sensitive_variables([SOURCE, more]) == {"s1", "by_expression", "j2"}


@given(st.text())
def test_no_source_makes_it_raise(source: str) -> None:
    """Terraform's own state files and broken files may be handed in by a wide pattern."""
    assert isinstance(ephemeral_variables([source, "{" + source]), frozenset)


def test_given_values_of_marked_variables_are_secrets_before_there_is_a_plan() -> None:
    """Terraform 1.11 prints one whose validation fails."""
    values = {"s1": CANARY, "e1": {"a": ["secret-in-a-list"]}, "plain": "public-value", "x": 1}

    assert given_secrets([SOURCE], values) == {CANARY, "secret-in-a-list", INDENTED}


@pytest.mark.parametrize(
    ("default", "found"),
    [
        (f'"{CANARY}"', {CANARY}),
        (f'"{CANARY}" # and "a comment that is none"', {CANARY}),
        (r'"a\"b\\c $${d} \u00fc {"', {'a"b\\c ${d} ü {'}),
        (
            '{\n    a = ["first-secret", 1],\n    b = "second-secret"\n  }',
            {"first-secret", "second-secret"},
        ),
        (f"<<EOT\n{CANARY}\n}}\nEOT", {f"{CANARY}\n}}"}),
        ("null", set()),
        ("12", set()),
    ],
)
def test_secret_defaults_are_found_in_the_sources(default: str, found: set[str]) -> None:
    """And not the words of a validation beside them."""
    source = (
        'variable "v" {\n  description = "described-in-words"\n  sensitive = true\n'
        f"  default = {default}\n"
        '  validation {\n    condition = true\n    error_message = "an error message"\n  }\n}\n'
        'output "o" {\n  value = "another-text"\n}\n'
    )
    as_json = json.dumps({"variable": {"v": {"sensitive": True, "default": sorted(found)}}})

    assert given_secrets([source], {}) == found
    assert given_secrets([as_json], {}) == found


MARKED_SOMEHOW = {
    "a name of another script": 'variable "пароль" { sensitive = true }',
    "a decomposed name": 'variable "и\u0306од" { sensitive = true }',
    "braces in a text in a template": (
        'variable "v" {\n  validation {\n    condition = true\n'
        '    error_message = "bad ${join("}}", ["x"])}"\n  }\n  sensitive = true\n}'
    ),
    "braces in a heredoc's template": (
        'variable "v" {\n  description = <<EOT\n${join("}", ["\n}"])}\nEOT\n  sensitive = true\n}'
    ),
    "a directive": (
        'variable "v" {\n  description = "%{ if true }}%{ endif }"\n  sensitive = true\n}'
    ),
    "a mark at the beginning of a file": '\ufeffvariable "v" { sensitive = true }',
    "other line ends": 'variable "v" {\r\n  default = <<X\r\n}\r\nX\r\n  sensitive = true\r\n}',
    "a text without an end": 'variable "v" {\n  default = "abc\n  sensitive = true\n}',
    "a comment without an end": 'variable "v" { default = 1 }\n/* ',
    "a block without an end": 'variable "v" {\n  default = [\n',
    "something after a block's brace": 'variable "v" {}}\n',
    "a JSON list": '[{"variable": {"v": {"sensitive": true}}}, {"variable": {"w": {}}}]',
    "JSON blocks that repeat": (
        '{"variable": {"v": {"sensitive": true}}, "variable": {"w": {"default": "1"}}}'
    ),
    "a JSON mark that repeats": '{"variable": {"v": {"sensitive": false, "sensitive": true}}}',
}


@pytest.mark.parametrize("source", MARKED_SOMEHOW.values(), ids=MARKED_SOMEHOW)
def test_a_mark_is_seen_wherever_it_is_and_a_doubtful_one_counts(source: str) -> None:
    """A variable in a file that cannot be read for sure is a secret one."""
    marked = sensitive_variables([source])
    assert len(marked) == 1
    assert marked <= declared_variables([source])


def test_what_json_declares_besides_is_declared_and_not_secret() -> None:
    """In a list, and where a block repeats."""
    for name in ("a JSON list", "JSON blocks that repeat"):
        assert declared_variables([MARKED_SOMEHOW[name]]) == {"v", "w"}


LITERALS = {
    "sensitive() in a local": 'locals { s = sensitive("CANARY") }',
    "in an expression, in a text": 'output "o" { value = "x ${upper(sensitive("CANARY"))}" }',
    "in JSON": '{"locals": {"s": "${sensitive(\\"CANARY\\")}"}}',
    "of a local, of a local": (
        'locals {\n  a = "CANARY"\n  b = local.a\n  c = sensitive(local.b)\n}'
    ),
    "of a default": (
        'variable "v" { default = "CANARY" }\nlocals { c = sensitive({ a = [var.v] }) }'
    ),
    "an argument of a module": 'module "m" {\n  source = "./m"\n  pw = "CANARY"\n}',
    "a nested one": 'module "m" {\n  source = "./m"\n  pw = { a = ["x", "CANARY"] }\n}',
    "one in JSON": '{"module": {"m": {"source": "./m", "pw": "CANARY"}}}',
    "a heredoc": 'module "m" {\n  pw = <<-EOT\n    CANARY\n  EOT\n}',
    "a backend's password": 'terraform {\n  backend "http" {\n    password = "CANARY"\n  }\n}',
    "a provider's key": 'provider "temporalcloud" { api_key = "CANARY" }',
    "a sensitive output": 'output "o" {\n  sensitive = true\n  value = "CANARY"\n}',
}


@pytest.mark.parametrize("source", LITERALS.values(), ids=LITERALS)
def test_literals_that_something_marks_are_secrets_before_there_is_a_plan(source: str) -> None:
    """A precondition or a validation may quote them; nothing else in the file is one."""
    module = 'variable "pw" { sensitive = true }\nvariable "plain" {}'
    text = source.replace("CANARY", CANARY)
    assert given_secrets([text], {}, modules=[module]) == {CANARY}


def test_a_module_takes_its_public_arguments_as_they_are() -> None:
    """And the module's own defaults are secrets, if their variable is marked."""
    call = 'module "m" {\n  source = "./modules/m"\n  plain = "a public value"\n}'
    module = (
        f'variable "pw" {{\n  sensitive = true\n  default = "{CANARY}"\n}}\nvariable "plain" {{}}'
    )
    assert given_secrets([call], {}, modules=[module]) == {CANARY}


def test_a_tfvars_file_is_read_whole() -> None:
    """Objects, lists, heredocs; and one that cannot be read gives everything for every name."""
    read = assigned_values(
        'plain = "a\\"b" # a comment\n'
        'creds = {\n  user = "ada"\n  deep = { password = "one", "quoted" = "two" }\n'
        '  l = ["three", 12345678]\n}\n'
        "pem = <<EOT\nline1\n  line2\nEOT\n"
        "flush = <<-EOT\n    line1\n      line2\n    EOT\n"
    )
    assert read == {
        "plain": 'a"b',
        "creds": ["ada", "one", "two", "three", "12345678"],
        "pem": "line1\n  line2",
        "flush": "line1\n  line2",
    }
    broken = assigned_values('a = "one"\nb = "two\nc = <<EOT\nthree\n')
    assert all({"one", "three"} <= set(broken[name]) for name in "abc")


def test_marked_values_of_a_state_file_are_secrets_without_a_program() -> None:
    """As Terraform leaves it after an apply that failed, or in errored.tfstate."""
    step = {"type": "get_attr", "value": "token"}
    deep = [
        {"type": "get_attr", "value": "list"},
        {"type": "index", "value": {"value": 1, "type": "number"}},
        {"type": "index", "value": {"value": "k", "type": "string"}},
    ]
    odd = [{"type": "get_attr", "value": "gone"}]
    instances = [
        {
            "attributes": {"token": CANARY, "id": "public-value", "list": ["x", {"k": "deep-one"}]},
            "sensitive_attributes": [[step], deep],
        },
        {"attributes": {"id": "whole-resource"}, "sensitive_attributes": [odd]},
        {"attributes": {"id": "public-value"}},
    ]
    state = {
        "outputs": {
            "o": {"value": "secret-output", "sensitive": True},
            "p": {"value": "public-it"},
        },
        "resources": [{"instances": instances}],
    }
    assert secrets_of_state_file(state) == {CANARY, "deep-one", "whole-resource", "secret-output"}
    assert secrets_of_state_file({}) == frozenset()


def test_a_secret_key_of_an_address_is_found_and_not_told() -> None:
    """Made by `for_each = nonsensitive(...)`, also in a module's address and in the state."""
    address = f'module.m["x"].terraform_data.x["{CANARY}"]'
    plan = {
        "resource_changes": [
            {"address": 'terraform_data.a["public"]', "change": {"actions": ["create"]}},
            {"address": "terraform_data.b", "change": {"actions": ["create"]}},
        ],
        "prior_state": {
            "values": {"root_module": {"child_modules": [{"resources": [{"address": address}]}]}}
        },
    }
    redacted = redact_plan(plan, known=[CANARY, "terraform_data.b"])
    (found,) = secret_keys(redacted, plan)
    assert CANARY not in found
    assert found.startswith("module.m[")
    assert secret_keys(redact_plan(plan), plan) == []


def test_marked_values_of_a_state_are_secrets_where_there_is_no_plan() -> None:
    """Outputs are read long after the plan is gone."""
    resource = {"values": {"p": CANARY, "q": "public-value"}, "sensitive_values": {"p": True}}
    outputs = {"o": {"sensitive": True, "value": ["secret-output"]}}
    state = {
        "values": {
            "outputs": outputs,
            "root_module": {"child_modules": [{"resources": [resource]}]},
        }
    }

    assert secrets_of_state(state) == {CANARY, "secret-output"}
    assert secrets_of_state({}) == frozenset()


# --- the view ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "kind", "counts"),
    [
        (("create",), "create", (1, 0, 0)),
        (("update",), "update", (0, 1, 0)),
        (("delete",), "delete", (0, 0, 1)),
        (("delete", "create"), "replace", (1, 0, 1)),
        (("create", "delete"), "replace", (1, 0, 1)),
        (("forget",), "forget", (0, 0, 0)),
    ],
)
def test_each_kind_of_change(actions: tuple[str, ...], kind: str, counts: tuple[int, ...]) -> None:
    """Named in one word, counted as Terraform counts."""
    view = plan_view(redact_plan(plan(change({"a": 1}, {"a": 2}, actions=actions))))

    assert [c.change for c in view.changes] == [kind]
    assert (view.add, view.change, view.destroy, view.imports) == (*counts, 0)


def test_what_does_not_change_is_left_out_unless_it_is_imported() -> None:
    """Data sources and untouched resources tell a reviewer nothing."""
    read = {**change({"a": 1}, {"a": 2}, actions=("read",)), "mode": "data"}
    untouched = change({"a": 1}, {"a": 1}, actions=("no-op",))
    taken = change({"a": 1, "b": None}, {"a": 1, "b": None}, actions=("no-op",), importing={})
    view = plan_view(redact_plan(plan(read, untouched, taken)))

    assert [(c.change, [a.name for a in c.attributes]) for c in view.changes] == [("import", ["a"])]
    assert view.sentence == "1 to import, 0 to add, 0 to change, 0 to destroy"


def test_only_attributes_that_are_set_or_change_are_listed() -> None:
    """Each value as JSON text; what is known only after apply says so, also inside a value."""
    view = plan_view(
        redact_plan(
            plan(
                change(
                    {"name": "ns", "same": 1, "gone": [1], "region": "aws-us-east-1", "part": {}},
                    {"name": "ns", "same": 1, "gone": None, "region": "ä", "part": {"a": 1}},
                    actions=("update",),
                    after_unknown={"id": True, "part": {"b": True}, "same": False},
                )
            )
        )
    )

    assert view.changes[0].title == "ns"
    assert view.changes[0].attributes == [
        AttributeChange(name="gone", before="[1]"),
        AttributeChange(name="id", unknown=True),
        AttributeChange(name="part", before="{}", after='{"a": 1, "b": "(known after apply)"}'),
        AttributeChange(name="region", before='"aws-us-east-1"', after='"ä"'),
    ]


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ({"name": "ns", "email": "a@b.c"}, "ns"),
        ({"email": "a@b.c"}, "a@b.c"),
        ({"display_name": "key"}, "key"),
        ({"name": "", "id": "x"}, ""),
        ({"name": 3}, ""),
    ],
)
def test_a_resource_is_called_by_its_name_or_address(values: dict[str, Any], title: str) -> None:
    """Also one that goes; a hidden name is no title."""
    hidden = change(None, {"name": CANARY}, after_sensitive={"name": True})

    assert plan_view(redact_plan(plan(change(None, values)))).changes[0].title == title
    assert plan_view(redact_plan(plan(change(values, None)))).changes[0].title == title
    assert plan_view(redact_plan(plan(hidden))).changes[0].title == ""


def test_outputs_that_change_are_listed_and_sensitive_ones_hidden() -> None:
    """The count of hidden values covers both."""
    changes = {
        "same": change(1, 1, actions=("no-op",))["change"],
        "open": change(None, {"a": 1})["change"],
        "later": change(None, None, after_unknown=True)["change"],
        "secret": change(None, CANARY, after_sensitive=True, before_sensitive=True)["change"],
    }
    view = plan_view(redact_plan(plan(output_changes=changes)))

    assert view.outputs == [
        AttributeChange(name="open", after='{"a": 1}'),
        AttributeChange(name="later", unknown=True),
        AttributeChange(name="secret", after=f'"{SENSITIVE}"', sensitive=True),
    ]
    assert view.hidden == 1


def test_a_long_value_is_cut_with_a_mark() -> None:
    """At 2,000 characters; the mark tells how long it was."""
    view = plan_view(redact_plan(plan(change(None, {"text": "x" * 5_000}))))
    [attribute] = view.changes[0].attributes

    assert len(attribute.after) == 2_000
    assert attribute.after.endswith("… (cut: 5,002 characters)")


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["x", "ä", '"', "\x00"])), max_size=60),
    st.integers(0, 400),
)
def test_a_view_never_outgrows_its_bound(sizes: list[tuple[int, str]], small: int) -> None:
    """What does not fit is counted; the counts of the plan are still those of all."""
    changes = [
        change(None, {f"a{n}": sign * 3_000 for n in range(count)}) for count, sign in sizes
    ] + [change(None, {"a": "x" * 600})] * small
    view = plan_view(redact_plan(plan(*changes)))

    assert len(json.dumps(asdict(view))) <= 200_000
    assert len(view.changes) + view.omitted == len(changes) == view.add
    if len(json.dumps(asdict(replace(view, changes=[])))) + small * 900 < 100_000 and not sizes:
        assert view.omitted == 0


# --- events and outputs --------------------------------------------------------------------------

RESOURCE = {
    "addr": "terraform_data.a",
    "module": "",
    "resource": "terraform_data.a",
    "implied_provider": "terraform",
    "resource_type": "terraform_data",
    "resource_name": "a",
    "resource_key": None,
}


def event(kind: str, message: str, **more: Any) -> dict[str, Any]:
    """One line of `terraform -json`."""
    return {"@level": "info", "@message": message, "type": kind, "@module": "terraform.ui", **more}


def test_progress_is_passed_on_without_ids() -> None:
    """In Terraform's own shape, so that whoever knows it can read it."""
    hook = {"resource": RESOURCE, "action": "create", "elapsed_seconds": 3}
    given_event = event(
        "apply_complete",
        "terraform_data.a: Creation complete after 3s [id=ns.acct[1]]",
        hook={**hook, "id_key": "id", "id_value": "ns.acct[1]", "output": "x"},
    )

    assert event_view(given_event, Scrubber([])) == {
        "type": "apply_complete",
        "@level": "info",
        "@message": "terraform_data.a: Creation complete after 3s",
        "hook": hook,
    }


def test_of_an_error_the_words_stay_and_the_source_line_goes() -> None:
    """1.11 prints a sensitive variable beside the line when its validation fails."""
    diagnostic = {
        "severity": "error",
        "summary": f"Invalid {CANARY}",
        "detail": f"It was {CANARY}, which is wrong.",
        "address": "terraform_data.a",
        "range": {"filename": "main.tf", "start": {"line": 3}, "end": {"line": 3}, "more": CANARY},
        "snippet": {"code": f"v = {CANARY}", "values": [{"statement": f"is {CANARY}"}]},
    }
    seen = event_view(event("diagnostic", CANARY, diagnostic=diagnostic), Scrubber([CANARY]))

    assert seen is not None
    assert seen["diagnostic"] == {
        "severity": "error",
        "summary": f"Invalid {SENSITIVE}",
        "detail": f"It was {SENSITIVE}, which is wrong.",
        "address": "terraform_data.a",
        "range": {"filename": "main.tf", "start": {"line": 3}, "end": {"line": 3}},
    }
    assert seen["@message"] == SENSITIVE


def test_plans_counts_and_outputs_in_events() -> None:
    """Reasons and counts stay; outputs tell their names only; import ids go."""
    planned = event(
        "planned_change",
        "Plan to import",
        change={
            "resource": RESOURCE,
            "action": "update",
            "reason": "x",
            "importing": {"id": CANARY},
        },
    )
    summary = event("change_summary", "Plan: 1", changes={"add": 1, "operation": "plan"})
    outputs = event("outputs", "Outputs: 1", outputs={"o": {"sensitive": False, "value": CANARY}})
    seen = [event_view(e, Scrubber([])) for e in (planned, summary, outputs)]

    assert CANARY not in json.dumps(seen)
    assert [e and {k: v for k, v in e.items() if k[0] != "@"} for e in seen] == [
        {
            "type": "planned_change",
            "change": {"resource": RESOURCE, "action": "update", "reason": "x"},
        },
        {"type": "change_summary", "changes": {"add": 1, "operation": "plan"}},
        {"type": "outputs", "outputs": {"o": {"sensitive": False}}},
    ]


@given(st.dictionaries(st.sampled_from(["type", "hook", "change", "@message", "x"]), json_values))
def test_an_event_of_an_unknown_kind_is_not_passed_on(odd: dict[str, Any]) -> None:
    """And no shape of a known one makes it raise."""
    seen = event_view(odd, Scrubber([CANARY]))

    assert seen is None
    assert event_view({**odd, "type": "apply_start"}, Scrubber([CANARY])) is not None


def test_outputs_are_shown_only_when_terraform_says_they_are_public() -> None:
    """Others read '(sensitive)'; a known secret in a public one is taken out."""
    outputs = {
        "open": {"sensitive": False, "value": {"a": ["ä", 1]}},
        "echo": {"sensitive": False, "value": f"x {CANARY}"},
        "secret": {"sensitive": True, "value": CANARY},
        "unsaid": {"value": CANARY},
        "odd": CANARY,
    }

    assert redact_outputs(outputs, Scrubber([CANARY])) == {
        "open": '{"a": ["ä", 1]}',
        "echo": f'"x {SENSITIVE}"',
        "secret": "(sensitive)",
        "unsaid": "(sensitive)",
        "odd": "(sensitive)",
    }


def test_the_public_names() -> None:
    """What other parts may rely on."""
    assert redaction.__all__ == [
        "SENSITIVE",
        "Redacted",
        "Scrubber",
        "assigned_values",
        "declared_types",
        "declared_variables",
        "ephemeral_variables",
        "event_view",
        "given_secrets",
        "plan_view",
        "redact_outputs",
        "redact_plan",
        "secret_keys",
        "secrets_of_state",
        "secrets_of_state_file",
        "sensitive_variables",
        "without_credentials",
    ]
