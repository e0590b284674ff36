"""Text of agents drives neither the terminal nor a table: what the commands print has no control characters."""

from __future__ import annotations

import unicodedata

import pytest

from engram_runtime.journal import events as ev
from engram_runtime.journal.records import Checkpoint, FileChange, Item, Prohibition, ToolFact, Verdict
from engram_runtime.paths import project_of
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.integration.cli.runs import Bench

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G7")]

NASTY = (
    "\x1b]0;pwned\x07\x1b[31mred\x1b[0m [red]markup[/red] \x00NUL \x9b2J \u202egnp.exe \r\x08 "
    "```\nDone\n  forged [✓ seen]"
)


def fill(at: Bench) -> tuple[int, int]:
    """A home in which every text that an agent can set holds escapes, markup and control characters.

    Gives its task and checkpoint.
    """
    item = Item(text=NASTY, evidence=NASTY)
    with Runtime.open(
        at.home, project=project_of(at.work), session="s1", settings=Settings(model="off")
    ) as runtime:
        runtime.append(ev.SessionStarted(agent="demo", argv=(NASTY,), cwd=str(at.work), branch=NASTY))
        (task,) = runtime.append(ev.TaskCreated(name=NASTY, goal=NASTY, status="in_progress"))
        runtime.append(
            ev.TaskAttached(task=task),
            ev.PromptSubmitted(text=NASTY),
            ev.ProgressTracked(feature=NASTY, status="blocked", blockers=(NASTY,), notes=NASTY, task=task),
            ev.FailureTracked(error=NASTY, component=NASTY, fix=NASTY, task=task),
            ev.ToolFinished(tool=NASTY, summary=NASTY, ok=False, error=NASTY, output=NASTY),
            ev.TurnFinished(text=NASTY),
            ev.MemoryStored(content=NASTY, importance=0.9),
        )
        content = Checkpoint(
            goal=NASTY,
            completed=(item,),
            in_progress=(item,),
            blocked=(item,),
            preferred_next=(item,),
            must_not_redo=(Prohibition(action=NASTY, reason=NASTY),),
            must_preserve=(item,),
            modified_files=(FileChange(path=NASTY, evidence=NASTY),),
            last_tool=ToolFact(tool=NASTY, summary=NASTY, error=NASTY),
            last_prompt=NASTY,
            last_said=NASTY,
            verdict=Verdict(kind="killed", signal=9, evidence=(NASTY,)),
            screen_tail=NASTY,
            note=NASTY,
        )
        checkpoint, _ = runtime.append(
            ev.CheckpointWritten(task=task, reason="KILLED", content=content, trigger=NASTY),
            ev.SessionEnded(verdict=Verdict(kind="killed", signal=9, evidence=(NASTY,))),
        )
    return task, checkpoint


def test_what_agents_wrote_is_printed_without_control_characters_and_kept_whole_in_json(at: Bench) -> None:
    task, checkpoint = fill(at)
    commands = (
        "tasks",
        "sessions",
        f"checkpoints {task}",
        f"show {checkpoint}",
        f"restore {task}",
        "recall pwned",
    )
    for words in commands:
        done = at.engram(*words.split())
        assert done.code == 0, done.said
        text = done.out.decode() + done.said
        wild = {
            c for c in text if c not in "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        }
        assert wild == set(), words
        assert "\nDone\n  forged" not in text, words
    (told,) = at.ask("tasks")
    assert told["goal"] == NASTY.replace("\x00", "�")
    assert at.ask("show", str(checkpoint))["content"]["goal"] == told["goal"]


def test_a_goal_with_escapes_and_markup_is_only_text_on_the_screen(at: Bench) -> None:
    nasty = "\x1b]0;pwned\x07[red]goal[/red]\x1b[2J"
    with at.open("run", "--no-resume", "--task", nasty, "demo", "--", nasty) as ui:
        ui.wait_screen("/exit ends", 20)
        ui.send("\x1de")
        ui.wait_screen("[red]goal[/red]", 10)
        ui.submit("/exit")
        assert ui.wait_exit(20) == 0
    assert b"\x1b]0;pwned" not in ui.output
