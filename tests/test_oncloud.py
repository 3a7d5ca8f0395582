"""A notebook that goes to Temporal Cloud only where all of it is set, and somebody looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kernels import Kernel, environment, kernel
from tprov_kernel.lab.oncloud import why_not

SET = {"TEMPORAL_HOST_URL": "p.a.tmprl.cloud:7233", "TEMPORAL_CLOUD_API_KEY": "canary-cloud-key"}


@pytest.mark.parametrize(
    ("environ", "headless", "words"),
    [
        ({}, False, "TEMPORAL_HOST_URL and TEMPORAL_CLOUD_API_KEY are not set"),
        ({"TEMPORAL_ADDRESS": "a:1"}, False, "TEMPORAL_CLOUD_API_KEY is not set"),
        ({"TEMPORAL_CLOUD_API_KEY": "canary"}, False, "TEMPORAL_HOST_URL is not set"),
        # A file that names no server is none that says where to go.
        ({"TEMPORAL_CLOUD_API_KEY": "canary", "TEMPORAL_CONFIG_FILE": os.devnull}, False,
         "TEMPORAL_HOST_URL is not set"),
        (SET, True, "Nobody is here to see what would be created"),
    ],
)  # fmt: skip
def test_it_stays_here_and_says_why(environ: dict[str, str], headless: bool, words: str) -> None:
    """What is missing is named; nothing is made at the Cloud by a run that nobody watches."""
    said = why_not(environ, headless=headless)
    assert said.startswith(words)
    assert "stand-in" in said
    assert "canary" not in said


def test_it_goes_there_where_it_may(tmp_path: Path) -> None:
    """Everything is set and somebody looks, or it was asked for by one more name.

    A profile says where, too; and what contradicts itself is refused where it is used.
    """
    assert why_not(SET, headless=False) == ""
    assert why_not(SET | {"TPROV_TARGET": "remote"}, headless=True) == ""
    key, file = {"TEMPORAL_CLOUD_API_KEY": "canary"}, tmp_path / "temporal.toml"
    file.write_text('[profile.default]\naddress = "a:1"\n')
    assert why_not(key | {"TEMPORAL_CONFIG_FILE": str(file)}, headless=False) == ""
    file.write_text("no [toml")
    assert why_not(key | {"TEMPORAL_CONFIG_FILE": str(file)}, headless=False) == ""


OPEN = 'from tprov_kernel import open_lab\nlab = open_lab(target="remote", or_local=True)'


@pytest.mark.timeout(120)
def test_what_the_lab_sets_for_cells_is_not_taken_for_the_reader_s(tmp_path: Path) -> None:
    """The set-up cell twice: it stays local, and no key counts as set."""

    def opens(shell: Kernel) -> str:
        cell = shell.run(OPEN)
        assert cell.status == "ok", cell.text
        return cell.text

    with kernel(environment(tmp_path / "home", notebook="10_on_temporal_cloud")) as shell:
        assert "are not set: these cells run on this machine" in opens(shell)
        assert "are not set: these cells run on this machine" in opens(shell)
        said = shell.run("lab.connection()").text
        assert said.count("not set:") == 6
        assert "a stand-in on this machine" in said
