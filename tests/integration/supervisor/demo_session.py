"""A supervised demo session to look at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.support import wait_until

ENGRAM = str(Path(sys.executable).with_name("engram"))


class DemoSession:
    """`engram run demo --headless` in a repository of its own; leaving the context ends everything."""

    def __init__(self, folder: Path, *, pace: str = "30", environ: dict[str, str] | None = None) -> None:
        self.home, self.work = folder / "home", folder / "work"
        self.work.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", "."], cwd=self.work, check=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("ENGRAM_")}
        self.environ = {
            **kept,
            "ENGRAM_HOME": str(self.home),
            "ENGRAM_DEMO_PACE": pace,
            "ENGRAM_MODEL": "off",
            **(environ or {}),
        }
        self.run: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DemoSession:
        self.run = subprocess.Popen(
            [ENGRAM, "run", "demo", "--headless"],
            cwd=self.work,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.run is not None
        try:
            running = [*self.processes(), psutil.Process(self.run.pid)] if self.run.poll() is None else []
        except psutil.Error:  # it ended just now
            running = []
        for process in running:
            try:
                process.kill()
            except psutil.Error:
                continue
        self.run.communicate(timeout=20)

    def processes(self) -> list[psutil.Process]:
        """The supervisor's children, all generations."""
        assert self.run is not None
        return psutil.Process(self.run.pid).children(recursive=True)

    def info(self) -> dict[str, Any]:
        """`session.json`."""
        found: dict[str, Any] = json.loads(next((self.home / "sessions").glob("*/session.json")).read_text())
        return found

    @property
    def folder(self) -> Path:
        """The session's folder."""
        return next((self.home / "sessions").iterdir())

    def wait_working(self) -> None:
        """Until the agent is in the middle of its first step."""

        def in_a_step() -> bool:
            try:
                return any("sleep" in p.name() for p in self.processes())
            except psutil.Error:  # one ended while it was looked at
                return False

        wait_until(in_a_step, 30)
