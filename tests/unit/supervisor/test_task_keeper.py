"""The session's task is known to the agent's tools from the moment its first prompt was submitted."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engram_runtime.runtime import Runtime
from engram_tui.supervisor.recorder import Recorder
from engram_tui.supervisor.spec import SessionSpec
from engram_tui.supervisor.tasks import TaskKeeper


async def test_a_tool_called_right_after_the_first_prompt_is_of_the_task_it_begins(tmp_path: Path) -> None:
    spec = SessionSpec(id="s1", home=str(tmp_path), project="/p", agent="demo", executable="demo")
    recorder = Recorder("s1", lambda: None)
    keeper = TaskKeeper(spec, recorder, lambda: None)
    assert await asyncio.to_thread(keeper.for_tools) is None
    keeper.prompted("do it")
    called = asyncio.create_task(asyncio.to_thread(keeper.for_tools))
    with Runtime.open(tmp_path / "home", project="/p", session="s1") as runtime:
        recorder.start(runtime)
        task = await called
        assert task is not None
        assert task == keeper.id
        found = runtime.state.task(task)
        assert found is not None
        assert found.name == "do it"
        await recorder.close()
