"""The installed `engram` command in a home and a git project of its own, and asking it what became of a run."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from engram_runtime.paths import project_of
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.agents.pty_agent import PtyAgent
from tests.support import wait_until

ENGRAM: Final = Path(sys.executable).with_name("engram")
PACE: Final = "0.1"
MARKER: Final = "RUNS_OF"
GIT: Final = ("git", "-c", "user.name=Tester", "-c", "user.email=tester@example.com")


@dataclass(frozen=True, slots=True)
class Bench:
    """One test's folders and environment. `home` is not made: that is Engram's own doing."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """ENGRAM_HOME."""
        return self.root / "h"

    @property
    def work(self) -> Path:
        """The project, a git repository with one commit."""
        return self.root / "work"

    def engram(self, *words: str | Path, stdin: bytes = b"", **options: Any) -> Done:
        """Run engram to its end, without a terminal."""
        done = subprocess.run(
            [str(ENGRAM), *map(str, words)], input=stdin, capture_output=True, **self._given(options)
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    def start(self, *words: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start engram without a terminal; stdout and stderr are pipes, stdin is empty."""
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [str(ENGRAM), *map(str, words)], **given | self._given(options, bounded=False)
        )

    def open(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        program: Sequence[str | Path] = (ENGRAM,),
        columns: int = 100,
        rows: int = 30,
    ) -> PtyAgent:
        """Start engram (or another program) on a terminal."""
        return PtyAgent(
            [*program, *words], cwd=self.work, env=self.environ | dict(env or {}), columns=columns, rows=rows
        )

    def ask(self, *words: str, **options: Any) -> Any:
        """What a reading command says as JSON."""
        done = self.engram(*words, "--json", **options)
        assert done.code == 0, done.said
        return json.loads(done.out)

    def checkpoint(self) -> Any:
        """The newest checkpoint of the newest task, in full: read in this process, a command takes half a second."""
        with self.runtime() as runtime:
            task = max(runtime.state.tasks(), key=lambda t: t.id)
            return msgspec.to_builtins(runtime.state.checkpoint_version(task.id))

    def runtime(self) -> Runtime:
        """The home, for reading."""
        return Runtime.open(
            self.home, project=project_of(self.work), settings=Settings(model="off"), read_only=True
        )

    def session_file(self) -> Path:
        """The only session's `session.json`, once it is there."""
        found: list[Path] = []
        wait_until(lambda: found.extend(self.home.glob("sessions/*/session.json")) or found, 20)
        return found[0]

    def processes(self) -> list[psutil.Process]:
        """What lives of this test, also detached ones."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARKER) == str(self.root):
                    found.append(process)
        return [p for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def written(self) -> list[str]:
        """Every file and folder below the test's root, but for what the bench itself made."""
        own = {"work", "user", "tmp"}
        paths = (path.relative_to(self.root) for path in self.root.rglob("*"))
        return sorted(str(p) for p in paths if str(p) not in own and p.parts[:2] != ("work", ".git"))

    def _given(self, options: dict[str, Any], *, bounded: bool = True) -> dict[str, Any]:
        env = self.environ | dict(options.pop("env", None) or {})
        missing = options.pop("without", ())
        return {
            "cwd": self.work,
            "env": {k: v for k, v in env.items() if k not in missing},
            **({"timeout": 60} if bounded else {}),
            **options,
        }


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: exit code, bytes on stdout, text on stderr."""

    code: int
    out: bytes
    said: str

    @property
    def line(self) -> str:
        """The one line on stderr; AssertionError where there is none, or more than one."""
        lines = self.said.splitlines()
        assert len(lines) == 1, self.said
        return lines[0]


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """A bench; when the test is over everything it started is ended, and its folder removed."""
    # Short: Unix sockets go below it.
    root = Path(tempfile.mkdtemp(prefix="er", dir="/tmp")).resolve()
    here = Bench(root)
    for folder in ("work", "user", "tmp"):
        (root / folder).mkdir()
    here.environ.update(
        {
            MARKER: str(root),
            "HOME": str(root / "user"),
            "PATH": f"{ENGRAM.parent}:/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": str(root / "tmp"),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "ENGRAM_HOME": str(here.home),
            "ENGRAM_MODEL": "off",
            "ENGRAM_DEMO_PACE": PACE,
        }
    )
    subprocess.run([*GIT, "init", "-q", "-b", "main"], cwd=here.work, check=True)
    subprocess.run([*GIT, "commit", "-q", "--allow-empty", "-m", "begin"], cwd=here.work, check=True)
    try:
        yield here
    finally:
        while left := here.processes():
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=5)
        shutil.rmtree(root, ignore_errors=True)
