"""The recovery card: interrupted work is offered before the agent starts."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engram_runtime.journal.records import Checkpoint
from engram_runtime.runtime import Runtime
from engram_runtime.state.views import CheckpointView, TaskView
from engram_tui.agents.registry import COMMAND, adapter, executable, names
from engram_tui.cli.face import load_face
from engram_tui.cli.output import age
from engram_tui.discovery import state_of
from engram_tui.messages import RecoveryCard, RecoveryChoice
from engram_tui.supervisor.briefings import briefing_for, changed_since
from engram_tui.supervisor.spec import CONTINUE, SessionSpec
from engram_tui.watch import git_watch

if TYPE_CHECKING:
    from engram_tui.cli.run import Wish


def ask_to_resume(runtime: Runtime, wish: Wish, fresh: SessionSpec, task: TaskView) -> int:
    """Show the card, start what was chosen, show that session; the exit code."""
    load_face()
    from engram_tui.app import run_recovery_ui
    from engram_tui.cli.live import report
    from engram_tui.supervisor.launch import start_detached

    card = recovery_card(runtime, task, wish)
    latest = runtime.state.checkpoint_version(task.id)

    async def launch(choice: RecoveryChoice) -> Path:
        return await asyncio.to_thread(start_detached, _chosen(fresh, card, choice, latest))

    outcome = run_recovery_ui(
        card,
        launch,
        settings=runtime.settings,
        watch=lambda path: partial(state_of, runtime.home / "sessions" / path.stem),
    )
    return report(outcome, fresh.id)


def _chosen(
    fresh: SessionSpec, card: RecoveryCard, choice: RecoveryChoice, latest: CheckpointView | None
) -> SessionSpec:
    """The session that was chosen: the command as it was typed, or another agent without its arguments."""
    if choice.action == "fresh":
        return fresh
    spec = msgspec.structs.replace(
        fresh,
        task=card.task,
        checkpoint=latest.id if latest else None,
        briefing=choice.briefing if choice.briefing is not None else card.briefing,
        prompt=CONTINUE,
    )
    if choice.agent in ("", spec.agent):
        return spec
    other = adapter(choice.agent)
    path = executable(other, os.environ)
    return msgspec.structs.replace(spec, agent=other.name, executable=path, args=())


def recovery_card(runtime: Runtime, task: TaskView, wish: Wish) -> RecoveryCard:
    """All that the card shows, from the latest checkpoint and the working tree as it is now."""
    cwd = wish.cwd
    latest = runtime.state.checkpoint_version(task.id)
    content = (latest.content if latest else None) or Checkpoint(goal=task.goal)
    briefing = briefing_for(runtime, task.id, cwd)
    return RecoveryCard(
        title=task.name,
        task=task.id,
        verdict=str(task.last_verdict or ""),
        age=f"{age(latest.created_at if latest else task.updated_at, datetime.now(UTC))} ago",
        agent=task.last_agent or "",
        typed=wish.agent.name if wish.agent.name != COMMAND else Path(wish.executable).name,
        goal=content.goal or task.goal,
        done=content.completed,
        working_on=content.in_progress,
        not_again=content.must_not_redo,
        keep=content.must_preserve,
        changed=tuple(c for c in content.modified_files if c.by != "user"),
        changed_by_you=tuple(c for c in content.modified_files if c.by == "user"),
        changed_since=changed_since(runtime, latest, cwd),
        head_moved=_head_moved(content, cwd),
        next=content.preferred_next,
        briefing=briefing.text,
        tokens=briefing.tokens,
        confidence=latest.confidence if latest else 0.0,
        agents=tuple(n for n in names() if adapter(n).find(os.environ)),
    )


def _head_moved(content: Checkpoint, cwd: Path) -> str:
    """How HEAD moved since the checkpoint, in words."""
    now = git_watch.git_facts(str(cwd))
    if content.git is None or now is None or content.git.head is None or now.head == content.git.head:
        return ""
    commits = git_watch.commits_between(str(cwd), content.git.head, now.head)
    return (
        f"{len(commits)} commits since ({(now.head or '')[:9]})"
        if commits
        else f"HEAD is now {(now.head or '')[:9]}"
    )
