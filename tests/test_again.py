"""Planning again, checking again and trying other policies, as a notebook does it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.kernels import SET_UP, Kernel, environment, kernel
from tests.test_lab import is_one_sentence

pytestmark = pytest.mark.timeout(150)

ADMIN = "terraform/tcloud_admin_user"
WAITING = f"""directory = lab.copy("{ADMIN}")
run = lab.start("{{0}}", config=directory)
run.wait("awaiting_approval")
card = run.as_card()
box, former = card.again, run.view.review
def offered():
    shown = box.widget.layout.display != "none"
    both = (box.plan_again, box.check_again)
    return [b.description for b in both if shown and b.layout.display != "none"]
def words():
    return " ".join(c.value for c in [*box.widget.children, *card.widget.children, card._answer]
                    if hasattr(c, "value"))"""
"""A run that waits for a decision on a copy of the configuration, and what its card offers."""
RULE = '''rego = """
# METADATA
# scope: package
# title: Nobody called ada
# custom:
#   level: hard-mandatory
#   remedy: Invite somebody else.
package tprov.rules.nobody

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, "is not welcome.") if some change in plan.touched
"""'''


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel whose set-up cell was run, with policies of its own; nobody presses its buttons."""
    home = tmp_path_factory.mktemp("again")
    root = home / "root"
    for name in ("terraform", "policies"):
        shutil.copytree(ROOT / name, root / name)
    with kernel(environment(home / "home", notebook="01_happy_path", TPROV_ROOT=str(root))) as made:
        cell = made.run(SET_UP)
        assert cell.text.startswith("✓ Your lab is open local"), cell.text
        yield made


def test_a_file_that_changed_is_said_and_planned_again_by_the_button(opened: Kernel) -> None:
    """The card says so; a new review asks, and marks what differs; the old button is refused."""
    assert opened.run(WAITING.format("again")).status == "ok"
    assert opened.value("offered()") == []
    opened.run("""(directory / "terraform.tfvars").write_text('email = "ada@example.test"\\n')""")
    opened.wait_for("offered() == ['Plan again']")
    said = opened.value("words()")
    assert "has changed since this was planned; what is decided here is the snapshot of" in said
    opened.run("old = card.approve\nbox.plan_again.click()")
    opened.wait_for(
        "run.view.review.supersedes == former.digest and run.status.value[:5] == 'await'"
    )
    opened.wait_for("offered() == []")
    assert "email" in opened.value("' '.join(run.view.review.differs)")
    assert "what differs" in opened.value("words() + card._review.value")
    opened.run("card.reason.value = 'the old one'\nold.click()")
    opened.wait_for("'was superseded' in words()")
    opened.run("card.reason.value = 'the new one'\ncard.approve.click()")
    assert "applied" in opened.run("run.wait()").text
    assert opened.value("run.outputs['user_email']").startswith("ada+")


def test_variables_that_are_others_are_said_and_planned_again(opened: Kernel) -> None:
    """By running the cell that started it once more with another value; by a call with another."""
    assert opened.run(WAITING.format("values")).status == "ok"
    cell = opened.run('again = lab.start("values", config=directory, email="bob@example.test")')
    assert "A run is open on stack 'values' already" in cell.text
    assert opened.value("again is run")
    opened.wait_for("offered() == ['Plan again']")
    assert "the variable" in opened.value("words()")
    opened.run("box.plan_again.click()")
    opened.wait_for(
        "run.view.review.supersedes == former.digest and run.status.value[:5] == 'await'"
    )
    assert "bob+" in opened.value("' '.join(run.view.review.differs)")
    misspelt = opened.run('run.replan(emial="cy@example.test")')
    assert is_one_sentence(misspelt)
    assert "Did you mean 'email'?" in misspelt.text
    opened.run('former = run.view.review\nrun.replan(email="cy@example.test")')
    opened.wait_for(
        "run.view.review.supersedes == former.digest and run.status.value[:5] == 'await'"
    )
    opened.wait_for("offered() == []")
    assert "cy+" in opened.value("' '.join(run.view.review.differs)")
    opened.run("run.deny('')")
    assert "rejected" in opened.run("run.wait_until_closed()").text
    assert is_one_sentence(refused := opened.run("run.replan()"))
    assert "Nothing was recorded." in refused.text


def test_other_policies_are_tried_and_a_rule_is_explained(opened: Kernel) -> None:
    """The verdict changes with what is typed in a cell; nothing is decided by it."""
    assert opened.run(WAITING.format("tried")).status == "ok"
    same = opened.run("run.what_if()").text
    assert same.startswith("It would be up to a human. Nothing differs from the run's own verdict.")
    harder = opened.run('run.what_if(levels={"account_admin": "hard-mandatory"})').text
    assert harder.startswith("It would be forbidden: nobody may override that.")
    assert "is hard-mandatory, was soft-mandatory." in harder
    more = opened.run(f"{RULE}\nrun.what_if(nobody=rego)").text
    assert "is new, hard-mandatory" in more
    less = opened.run("run.what_if(account_admin=rego.replace('nobody', 'account_admin'))").text
    assert "does not object any more" in less
    assert is_one_sentence(opened.run('run.what_if(nobody="package nonsense {")'))
    told = opened.run("run.explain(run.view.verdict.findings[0])").text
    assert "rules/account_admin.rego" in told
    assert told == opened.run('run.explain("account_admin")').text
    assert is_one_sentence(opened.run('run.explain("acount")'))
    audit = opened.run("run.audit()").outputs[0]["data"]["text/markdown"]
    assert "awaiting approval, not over yet" in audit
    assert opened.value("[run.status.value, len(run.view.decisions)]") == ["awaiting_approval", 0]
    opened.run("run.deny('it was only a test')")
    assert "rejected" in opened.run("run.wait_until_closed()").text
    assert "it was only a test" in opened.run("run.audit()").outputs[0]["data"]["text/markdown"]


def test_policies_that_cannot_judge_are_mended_and_checked_again(opened: Kernel) -> None:
    """What is wrong stands on the card, in OPA's words; the button has it judged again."""
    opened.run(
        "mistake = lab.settings.policies / 'rules' / 'mistake.rego'\n"
        "mistake.write_text('package tprov.rules.mistake\\n\\nthis is no rego\\n')"
    )
    started = WAITING.format("mend").replace('run.wait("awaiting_approval")\n', "")
    assert opened.run(started).status == "ok"
    opened.wait_for("offered() == ['Plan again', 'Check again']")
    assert "mistake.rego:3" in opened.value("words()")
    opened.run("first = run.view.repair\nbox.check_again.click()")
    opened.wait_for("run.view.repair not in (None, first) and not box.check_again.disabled")
    opened.run("mistake.unlink()\nbox.check_again.click()")
    opened.wait_for("run.status.value == 'awaiting_approval'")
    assert opened.value("offered()") == []
    assert is_one_sentence(refused := opened.run("run.recheck()"))
    assert "nothing waits to be mended" in refused.text
    opened.run("run.deny('')")
    assert "rejected" in opened.run("run.wait_until_closed()").text


def test_what_another_directory_holds_is_no_news(opened: Kernel) -> None:
    """A destroy goes by the state, and a directory that is not here cannot be looked at."""
    assert opened.run(WAITING.format("away")).status == "ok"
    opened.run("import asyncio, shutil\nlook = lambda: lab._call(run._lookout.look(run.view))")
    assert opened.value("[look().here, look().moved]") == [True, ""]
    opened.run("directory.rename(directory.with_name('elsewhere'))")
    assert opened.value("[look().here, look().moved]") == [False, ""]
    assert is_one_sentence(cell := opened.run("run.replan()"))
    assert "There is no directory" in cell.text
    opened.run("directory.with_name('elsewhere').rename(directory)")
    assert opened.value("[look().here, look().moved]") == [True, ""]
    opened.run("from pathlib import Path\n[f.unlink() for f in directory.glob('*.tf')]")
    assert "has changed" in opened.value("look().moved"), "it is no configuration any more"
    opened.wait_for("offered() == ['Plan again']")
    opened.run("box.plan_again.click()")
    opened.wait_for("'holds no Terraform configuration' in words()")
    opened.run("run.deny('')")
    assert "rejected" in opened.run("run.wait_until_closed()").text


def test_what_comes_of_a_decision_comes_back_at_the_button(opened: Kernel) -> None:
    """A signal tells nothing, and what was ignored stands below with why; an update is answered."""
    by_signal = WAITING.format("signal").replace("directory)", "directory, via='signal')")
    assert opened.run(by_signal).status == "ok"
    opened.run("card.approve.click()")
    opened.wait_for("'Sent. A signal tells nothing back: what came of it is below.' in words()")
    opened.wait_for("run.view.decisions and 'ignored' in card._decided.value")
    assert "by signal · because an approval needs a reason." in opened.value("card._decided.value")
    assert "⚠ ignored" in opened.run("run.decisions()").text
    opened.run("card.reason.value = 'she leaves today'\ncard.deny.click()")
    assert "rejected" in opened.run("run.wait_until_closed()").text

    assert opened.run(WAITING.format("update")).status == "ok"
    opened.run("card.approve.click()")
    opened.wait_for("'Refused: an approval needs a reason. Nothing was recorded.' in words()")
    assert opened.value("len(run.view.decisions)") == 0
    opened.run("old = card.deny")
    opened.run("card.reason.value = 'not this one'\nold.click()")
    assert "rejected" in opened.run("run.wait_until_closed()").text
    opened.run("old.click()")
    assert "Nothing waits for a decision: nothing was sent." in opened.value("words()")
    assert opened.value("[s.note for s in run.view.steps if s.name == 'approval']") == ["denied"]


def test_an_apply_is_interrupted_by_the_button(opened: Kernel) -> None:
    """Terraform saves its state; what it had made at the Cloud is taken over, and it is one."""
    opened.run("chaos = lab.chaos()\nchaos.hold_cloud()")
    opened.run('run = lab.start("stopped", config="terraform/tcloud_namespace")\nrun.card()')
    opened.run("chaos.wait_until_held()\nbox = run.as_card().again")
    opened.wait_for("box.widget.layout.display != 'none' and not box.interrupt.layout.display")
    opened.run("box.interrupt.click()")
    opened.wait_for("'asked to stop' in box._answer.value")
    opened.run("chaos.mend_cloud()")
    assert "applied" in opened.run("run.wait()").text, "nothing was left to do"
    assert "asked to stop the apply" in opened.value("' '.join(run.view.story)")
    assert opened.value("len(lab.leftovers()['stopped'])") == 1
    assert is_one_sentence(opened.run("run.interrupt()")), "nothing is at work any more"


def test_a_copy_that_a_run_is_open_on_is_left_as_it_is(opened: Kernel) -> None:
    """The cell that made it may be run again, after a kernel restart too: no edit is lost."""
    opened.run(WAITING.format("copied"))
    opened.run("""(directory / "terraform.tfvars").write_text('email = "eve@example.test"\\n')""")
    cell = opened.run(f'directory = lab.copy("{ADMIN}")')
    assert "A run is open on this copy: it is left as it is." in cell.text
    assert opened.value("(directory / 'terraform.tfvars').exists()")
    found = opened.run('run.events(only="kernel")')
    assert "0 of" in found.outputs[0]["data"]["text/html"], "who did it is no part of it"
    for call in ("events(only=3)", "payloads(most=-1)", "payloads(0)", "payloads('all')"):
        said = opened.run(f"run.{call}")
        assert is_one_sentence(said), "what it cannot show is no programmer's error"
        assert "has to be a" in said.text
    opened.run("run.deny('')\nrun.wait_until_closed()")
    opened.run(f'directory = lab.copy("{ADMIN}")')
    assert not opened.value("(directory / 'terraform.tfvars').exists()")
