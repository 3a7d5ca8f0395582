"""Terraform's argument lists, and how its answers are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tprov_kernel import terraform
from tprov_kernel.errors import ConfigurationError, TerraformFailed
from tprov_kernel.messages import ApplyResult
from tprov_kernel.process import Completed
from tprov_kernel.redaction import Scrubber
from tprov_kernel.settings import CloudSettings


def _completed(returncode: int = 1, stderr: bytes = b"") -> Completed:
    return Completed(
        argv=("terraform",), returncode=returncode, stdout=b"", stderr=stderr, seconds=0
    )


def _error(summary: str, detail: str = "", **more: Any) -> dict[str, Any]:
    return {"diagnostic": {"severity": "error", "summary": summary, "detail": detail, **more}}


def test_an_apply_takes_a_saved_plan_and_nothing_else() -> None:
    """There is no way in this project to apply without a plan file, or with -auto-approve."""
    assert terraform.apply_args(Path("p")) == [
        "apply",
        "-input=false",
        "-json",
        "-lock-timeout=10s",
        "p",
    ]


def test_a_plan_goes_into_a_file_and_tells_by_its_exit_code() -> None:
    """-detailed-exitcode: 2 means changes."""
    args = terraform.plan_args(Path("p"), destroy=True)
    assert "-detailed-exitcode" in args
    assert "-destroy" in args
    assert args[-1] == "-out=p"
    assert "-destroy" not in terraform.plan_args(Path("p"), destroy=False)


def test_the_environment_names_only_what_is_known() -> None:
    """Empty settings are left out: an empty variable would count as a wrong key."""
    names = terraform.cloud_variables(CloudSettings(endpoint="e:1", api_key="k"))
    assert names == {"TEMPORAL_CLOUD_API_KEY": "k", "TEMPORAL_CLOUD_ENDPOINT": "e:1"}


def test_noise_between_events_is_left_out() -> None:
    """A plug-in's panic is no event."""
    lines = b'{"type": "version"}\npanic: oh\n{"type": "apply_start"}\n[1]\n'
    assert [e["type"] for e in terraform.parse_events(lines)] == ["version", "apply_start"]


def test_a_diagnostic_is_one_sentence_without_its_source_snippet() -> None:
    """A source line may hold a literal secret: file and line are enough."""
    place = {"filename": "main.tf", "start": {"line": 3}}
    event = _error("Bad", "It is\n  bad.", range=place, snippet={"code": "password = hunter2"})
    sentence = terraform.diagnostics([event])[0].sentence
    assert sentence == "Bad: It is bad (main.tf:3)."
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    ("summary", "detail"),
    [
        ("rpc error", "code = Unavailable desc = nobody home"),
        ("Failed", "context deadline exceeded"),
        ("Error acquiring the state lock", ""),
        ("Failed", "dial tcp 127.0.0.1:1: connection refused"),
        # A plug-in that was killed while it worked (told so or so), and while it started.
        ("Plugin did not respond", "The plugin encountered an error, and failed to respond"),
        (
            "Request cancelled",
            "The plugin6.(*GRPCProvider).ApplyResourceChange request was cancelled.",
        ),
        ("Failed to load plugin schemas", "Unrecognized remote plugin message: Failed to read any"),
    ],
)
def test_what_may_pass_is_worth_another_attempt(summary: str, detail: str) -> None:
    """Retry and non-retry are decided here."""
    found = terraform.diagnostics([_error(summary, detail)])
    assert terraform.failure("plan", found, _completed(), str).retryable


@pytest.mark.parametrize("summary", ["Unsupported argument", "No value for required variable"])
def test_a_wrong_configuration_is_not_tried_again(summary: str) -> None:
    """Only a person can mend it; the sentence says where."""
    place = {"filename": "main.tf", "start": {"line": 1}}
    error = terraform.failure(
        "plan", terraform.diagnostics([_error(summary, range=place)]), _completed(), str
    )
    assert isinstance(error, ConfigurationError)
    assert "main.tf:1" in error.message


def test_a_failure_without_a_word_tells_what_stderr_said() -> None:
    """A crash of Terraform itself leaves no diagnostic."""
    error = terraform.failure("apply", [], _completed(2, b"panic: runtime error\n"), str)
    assert isinstance(error, TerraformFailed)
    assert "panic: runtime error" in error.message


@pytest.mark.parametrize(
    "secret",
    [
        "alpha4711  beta  gamma",
        "alpha4711\tbeta",
        "ab3cd4\n0f9e8d\n77aa66\n",  # each line is shorter than what is looked for
        "one two three four",
    ],
)
def test_a_secret_with_blanks_is_found_before_and_after_they_are_folded(secret: str) -> None:
    """In a diagnostic as it is, and in a text that was wrapped for people."""
    scrub = Scrubber([secret]).text
    found = terraform.diagnostics([_error("Bad", f"It is {secret}.")])
    wrapped = secret.replace(" ", "\n  ", 1).encode()
    errors = [
        terraform.failure("plan", found, _completed(), scrub),
        terraform.failure("apply", [], _completed(2, b"panic: " + wrapped), scrub),
    ]
    for error in errors:
        assert "(sensitive value)" in error.message
        assert not {*secret.split()} & {*error.message.replace(".", " ").split()}, error.message


def test_half_a_secret_is_not_left_where_a_long_text_is_cut() -> None:
    """Of stderr the end is told."""
    secret = "canary-" + "x" * 40
    stderr = f"panic: {secret} {'y ' * 290}".encode()
    said = terraform.failure("apply", [], _completed(2, stderr), Scrubber([secret]).text)
    assert "xxx" not in said.message


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("git::http://user:PW@127.0.0.1:1/x.git", "git::http://127.0.0.1:1/x.git"),
        ("https://p%40w:a@b@host/x?ref=v1.2", "https://host/x?ref=v1.2"),
        (
            'GET "http://h/state?token=abc&x=1": refused',
            'GET "http://h/state?token=(sensitive value)&x=(sensitive value)": refused',
        ),
        ("http://h/?a=(sensitive value)&b=c", "http://h/?a=(sensitive value)&b=(sensitive value)"),
        ("https://h/o?X-Amz-Signature=ab#end", "https://h/o?X-Amz-Signature=(sensitive value)#end"),
        ("a@b.example asks: what?x=1", "a@b.example asks: what?x=1"),
    ],
)
def test_credentials_in_addresses_are_not_told(text: str, clean: str) -> None:
    """Those of a backend and of a module's source, whatever failed."""
    event = _error("Failed to download", text)
    for error in (
        terraform.failure("init", terraform.diagnostics([event]), _completed(), str),
        terraform.failure("init", [], _completed(1, text.encode()), str),
    ):
        assert clean in error.message, error.message


def test_counts_come_from_terraforms_own_summary() -> None:
    """The last change summary is the apply's."""
    summary = {"add": 1, "change": 2, "import": 0, "remove": 3, "operation": "apply"}
    events = [{"type": "change_summary", "changes": summary}]
    assert terraform.applied(events) == ApplyResult(added=1, changed=2, destroyed=3)


def test_progress_is_said_in_words() -> None:
    """What a heartbeat carries."""
    hook = {"resource": {"addr": "t.a"}, "action": "create", "elapsed_seconds": 3}
    event = json.loads(json.dumps({"type": "apply_progress", "hook": hook}))
    assert terraform.progress_words(event) == "creating t.a (3 s)"
    assert terraform.progress_words({"type": "version"}) == ""
