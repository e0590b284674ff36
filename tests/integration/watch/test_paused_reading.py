"""Several reasons may keep output in the kernel at once; it flows when the last one is gone."""

from __future__ import annotations

import asyncio
import contextlib

from engram_tui.watch.pty_process import PtyProcess


async def test_output_waits_until_every_reason_to_pause_is_gone() -> None:
    output = bytearray()
    process = PtyProcess(["/bin/sh", "-c", "read go; echo heard; sleep 30"])
    try:
        process.attach_loop(asyncio.get_running_loop(), output.extend, lambda exited: None)
        process.pause_reading("screen")
        process.pause_reading("flood")
        process.pause_reading("flood")
        process.write(b"go\n")
        process.resume_reading("flood")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while not output:
                    await asyncio.sleep(0.01)
        assert not output
        process.resume_reading("screen")
        async with asyncio.timeout(5):
            while b"heard" not in output:
                await asyncio.sleep(0.01)
    finally:
        process.signal(9)
        await process.wait()
        process.close()
