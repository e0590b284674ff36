"""A real agent process, a real watch, a real repository: whose change was it?"""

from __future__ import annotations

import asyncio
from pathlib import Path

from engram_tui.watch.attribution import Attribution
from engram_tui.watch.file_watch import FileWatch
from engram_tui.watch.git_watch import changed_files
from engram_tui.watch.observations import FileTouched, ToolBegan, ToolEnded
from engram_tui.watch.process_tree import ProcessTree
from tests.integration.watch.processes import SESSION, on_pty, until
from tests.integration.watch.repositories import repository


async def test_edits_of_the_user_and_of_the_agent_are_told_apart(tmp_path: Path) -> None:
    top = repository(tmp_path, code="1\n", notes="1\n", dirty="1\n")
    (top / "dirty").write_text("2\n")
    held = top / "held.txt"
    async with on_pty(
        ["/bin/bash", "-c", 'exec 5>held.txt; while read -r line; do eval "$line"; done'], cwd=str(top)
    ) as agent:
        tree = ProcessTree(agent.process.id, SESSION)
        await asyncio.to_thread(tree.capture)
        attribution = Attribution(str(top), tree_pids=tree.pids)
        attribution.baseline(await asyncio.to_thread(changed_files, str(top)) or [])
        seen: set[str] = set()

        def touched(batch: tuple[FileTouched, ...]) -> None:
            attribution.touched(batch, attribution.find_writers(batch))
            seen.update(Path(touch.path).name for touch in batch)

        watch = FileWatch(str(top))
        watch.start(asyncio.get_running_loop(), touched)
        await until(lambda: watch.ready and held.exists())

        (top / "notes").write_text("by hand\n")
        await until(lambda: "notes" in seen)
        agent.process.write(b"echo more >&5\n")
        await until(lambda: "held.txt" in seen)
        attribution.began(ToolBegan(tool="Bash", call_id="1", command="sed -i s/1/2/ code; build"))
        agent.process.write(b"sed -i s/1/2/ code; echo b > built\n")
        await until(lambda: {"code", "built"} <= seen)
        attribution.ended(ToolEnded(tool="Bash", call_id="1"))
        await watch.stop()

        now = await asyncio.to_thread(changed_files, str(top))
        by = {change.path: (change.by, change.change) for change in attribution.changes(now)}
    assert by == {
        "built": ("unattributed", "added"),
        "code": ("agent", "modified"),
        "held.txt": ("agent", "added"),
        "notes": ("user", "modified"),
    }
