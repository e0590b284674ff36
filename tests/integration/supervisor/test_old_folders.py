"""A supervisor removes the folders of sessions that ended long ago, and no other ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engram_runtime.ids import session_id
from tests.integration.supervisor.demo_session import DemoSession
from tests.support import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G9")]


def ended(home: Path, *, long_ago: bool) -> Path:
    """The folder of a session that ended."""
    folder = home / "sessions" / session_id()
    folder.mkdir(parents=True, mode=0o700)
    (folder / "lock").touch()
    card = {"id": folder.name, "agent": "demo", "project": "/p", "cwd": "/p", "mode": "interactive"}
    card |= {"pid": 1, "socket": "", "started_at": "2026-11-22T10:00:00Z", "ended": True}
    (folder / "session.json").write_text(json.dumps(card))
    if long_ago:
        os.utime(folder / "session.json", (0, 0))
    return folder


def test_a_running_session_removes_what_ended_long_ago(tmp_path: Path) -> None:
    session = DemoSession(tmp_path)
    old, young = ended(session.home, long_ago=True), ended(session.home, long_ago=False)
    with session:
        wait_until(lambda: not old.exists(), 30)
        assert young.exists()
        assert len(list((session.home / "sessions").iterdir())) == 2
