"""Export, import, search, files, diff, report: as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engram_runtime.journal.events import (
    CheckpointWritten,
    PromptSubmitted,
    SessionEnded,
    SessionStarted,
    TaskCreated,
)
from engram_runtime.journal.records import Checkpoint, FileChange, GitFacts, Verdict
from engram_runtime.paths import project_of
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.integration.cli.runs import Bench

OLD_HOME = Path(__file__).parents[2] / "data" / "mcp_engram_home"
DIFF = "diff --git a/cart.py b/cart.py\n+total = 0\n"


def a_checkpoint(at: Bench) -> int:
    """A checkpoint with a diff and files."""
    with Runtime.open(at.home, project=project_of(at.work), settings=Settings(model="off")) as runtime:
        session = "s1sxf09ykq4c"
        runtime.append(SessionStarted(agent="demo"), session=session)
        runtime.append(PromptSubmitted(text='Build the "cart" of größe 7'), session=session)
        (task,) = runtime.append(TaskCreated(name="Cart"))
        content = Checkpoint(
            goal="Build",
            git=GitFacts(head="abc", diff=runtime.blobs.put(DIFF)),
            modified_files=(FileChange(path="cart.py", by="agent", lines_added=1, lines_removed=0),),
        )
        written = CheckpointWritten(task=task, reason="MANUAL", content=content)
        (checkpoint,) = runtime.append(written, session=session)
        runtime.append(SessionEnded(verdict=Verdict(kind="finished")), session=session)
        runtime.append(PromptSubmitted(text="cart elsewhere"), project="/other")
    return checkpoint


@pytest.mark.slow
def test_a_home_goes_to_another_place_and_back(at: Bench) -> None:
    checkpoint = a_checkpoint(at)
    file = at.root / "tmp" / "all.engram"
    done = at.engram("export", file)
    assert done.code == 0 and b"6 events" in done.out, done.said
    again = at.engram("export", file)
    assert (again.code, "exists" in again.line) == (2, True)
    shown = at.engram("show", str(checkpoint)).out
    shutil.rmtree(at.home)
    told = at.ask("import", "home", str(file))
    assert told["counts"]["checkpoints"] == 1
    assert at.engram("show", str(checkpoint)).out.split(b"\n")[0] == shown.split(b"\n")[0]
    refused = at.engram("import", "home", file)
    assert (refused.code, "cannot be merged" in refused.line) == (2, True)


def test_an_empty_home_exports_nothing(at: Bench) -> None:
    done = at.engram("export", at.root / "tmp" / "x")
    assert (done.code, "nothing to export" in done.line) == (2, True)
    assert at.written() == []


@pytest.mark.slow
def test_an_old_home_is_taken_over_by_its_users_command(at: Bench) -> None:
    told = at.ask("import", "mcp-engram", str(OLD_HOME))
    assert sum(told["imported"].values()) == 31
    again = at.engram("import", "mcp-engram", OLD_HOME)
    assert again.code == 0 and b"31 were here already" in again.out
    assert b"Webhook receiver" in at.engram("tasks").out
    restored = at.engram("restore", "2")
    assert b"retry queue" in restored.out, restored.said
    missing = at.engram("import", "mcp-engram", at.work)
    assert (missing.code, "no events of mcp-engram" in missing.line) == (2, True)


@pytest.mark.slow
def test_words_are_found_in_all_that_was_recorded(at: Bench) -> None:
    a_checkpoint(at)
    (hit,) = at.ask("search", 'GRÖSSE "cart"')["hits"]
    assert hit["kind"] == "PromptSubmitted"
    newest, *others = at.ask("search", "cart")["hits"]
    assert len(others) == 2 and "cart.py" in newest["text"]
    found = at.ask("search", "cart", "--all", "-n", "1")
    assert (len(found["hits"]), found["more"]) == (1, 3)
    assert at.ask("search", "nowhere")["hits"] == []
    assert at.engram("search", " ").code == 2
    assert at.engram("forget", "--text", "größe", "--yes").code == 0
    (rest,) = at.ask("search", "redacted:forgotten")["hits"]
    assert (rest["kind"], rest["position"]) == (hit["kind"], hit["position"])


@pytest.mark.slow
def test_a_checkpoint_tells_its_files_and_its_diff(at: Bench) -> None:
    checkpoint = str(a_checkpoint(at))
    assert at.engram("diff", checkpoint).out.decode() == DIFF
    assert at.ask("diff", checkpoint)["diff"] == DIFF
    (change,) = at.ask("files", checkpoint)
    assert (change["path"], change["by"], change["lines_added"]) == ("cart.py", "agent", 1)
    assert b"+1" in at.engram("files", checkpoint).out
    nothing = at.engram("diff", "1")
    assert (nothing.code, "There is no checkpoint 1" in nothing.line) == (2, True)


@pytest.mark.slow
def test_a_report_is_a_page_of_its_own(at: Bench) -> None:
    a_checkpoint(at)
    page = at.engram("report", "s1sx", "--html").out.decode()
    assert page.startswith("<!doctype html>") and "&quot;cart&quot;" in page
    assert json.loads(at.engram("report", "--json").out)["title"].startswith("Engram report")
    both = at.engram("report", "--html", "--json")
    assert (both.code, len(both.said.splitlines())) == (2, 1)
    unknown = at.engram("report", "nosuch")
    assert (unknown.code, "no session" in unknown.line) == (2, True)


@pytest.mark.slow
@pytest.mark.guarantee("G9")
def test_what_reads_a_damaged_home_says_that_it_is_damaged(at: Bench) -> None:
    a_checkpoint(at)
    journal = at.home / "journal.sqlite"
    content = bytearray(journal.read_bytes())
    content[4096:12288] = bytes(8192)
    journal.write_bytes(content)
    for words in (["stats"], ["report"], ["search", "cart"], ["tasks"]):
        said = at.engram(*words)
        assert (said.code, "engram recover" in said.line, "may not be all" in said.line) == (0, True, True)
    assert at.engram("export", str(at.work / "home.tar.gz")).code == 1
    assert not (at.work / "home.tar.gz").exists()
    assert at.engram("stats", "--days", "nan").code == 2
