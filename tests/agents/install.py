"""Installs the pinned agent CLIs that the agent tests run, each into its own folder of a cache.

    python tests/agents/install.py [claude] [openhands] [--require]

The cache is `$ENGRAM_AGENTS_CACHE`, else `$XDG_CACHE_HOME/engram-agents`, else `~/.cache/engram-agents`. An
agent that is already there costs a few milliseconds. An agent that cannot be installed (no npm, no Python
3.12, no network) is reported together with the tests that will skip, and does not stop the others: the exit
code is 0 unless `--require` is given. Only the standard library is used, and this module also answers where
an agent is.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CLAUDE_VERSION = "2.1.330"
OPENHANDS_VERSION = "1.16.0"
OPENHANDS_CONSTRAINTS = Path(__file__).with_name("openhands-constraints.txt")
INSTALL_SECONDS = 1200
"""Upper bound of one package manager run; OpenHands is some two hundred packages."""


class CannotInstall(Exception):
    """An agent cannot be installed here; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A pinned agent CLI: its name, its version, and how a folder of the cache is filled and read."""

    name: str
    version: str
    fill: Callable[[Path], None]
    """Installs the agent into an empty folder that keeps its path; raises CannotInstall."""
    binary: Callable[[Path], Path | None]
    """The executable inside a filled folder, or None."""

    @property
    def folder(self) -> Path:
        """Where this version lives in the cache; present only when the install was complete."""
        return cache_root() / f"{self.name}-{self.version}"

    def installed(self) -> Path | None:
        """The executable in the cache, or None when it is not there."""
        found = self.binary(self.folder)
        return found if found is not None and os.access(found, os.X_OK) else None


def cache_root() -> Path:
    """The folder of all installed agents (it need not exist)."""
    if own := os.environ.get("ENGRAM_AGENTS_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "engram-agents"
    return Path.home() / ".cache" / "engram-agents"


def install(agent: Agent) -> Path:
    """Returns the agent's executable, installing it when it is not there; raises CannotInstall.

    The agent is installed into a folder of its own name and only then published under its version by an
    atomic symbolic link, so an interrupted install is never mistaken for a whole one and its scripts keep
    their paths.
    """
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotInstall(f"the cache folder {root} cannot be made ({error.strerror})") from error
    with _one_at_a_time(root / f".{agent.name}.lock"):
        if found := agent.installed():
            return found
        folder = Path(tempfile.mkdtemp(prefix=f"{agent.name}-{agent.version}.", dir=root))
        try:
            agent.fill(folder)
            binary = agent.binary(folder)
            if binary is None:
                raise CannotInstall("the installed package has no executable for this platform")
            _check_version(binary, agent.version)
            _publish(folder, agent.folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    published = agent.installed()
    if published is None:
        raise CannotInstall(f"{agent.folder} was published but holds no executable")
    return published


def _fill_claude(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise CannotInstall("npm and node are not on PATH; install Node.js 20 or newer")
    package = f"@anthropic-ai/claude-code@{CLAUDE_VERSION}"
    # The platform package carries the whole binary, so no install script is needed, nor trusted.
    _run([npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", package])


def _claude_binary(folder: Path) -> Path | None:
    candidates = sorted(folder.glob("node_modules/@anthropic-ai/claude-code-*/claude"))
    glibc_first = sorted(candidates, key=lambda path: path.parent.name.endswith("-musl"))
    return glibc_first[0] if glibc_first else None


def _fill_openhands(folder: Path) -> None:
    environment = folder / "venv"
    wanted = [f"openhands=={OPENHANDS_VERSION}", "--constraint", str(OPENHANDS_CONSTRAINTS)]
    if python := _find_python312():
        _run([python, "-m", "venv", str(environment)])
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", *wanted])
    elif uv := shutil.which("uv"):
        _run([uv, "venv", "--quiet", "--python", "3.12", str(environment)])
        _run([uv, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python"), *wanted])
    else:
        raise CannotInstall("no Python 3.12 on PATH, in pyenv or through uv; install one of them")


def _openhands_binary(folder: Path) -> Path | None:
    binary = folder / "venv" / "bin" / "openhands"
    return binary if binary.is_file() else None


def _find_python312() -> str | None:
    """The first Python 3.12 that really starts: this one, on PATH (a pyenv shim may refuse), or pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    on_path = [Path(entry) / "python3.12" for entry in os.get_exec_path()]
    for python in [Path(sys.executable), *on_path, *sorted(pyenv.glob("3.12*/bin/python3.12"), reverse=True)]:
        if not os.access(python, os.X_OK):
            continue
        probe = [str(python), "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode == 0:
                return str(python)
    return None


def _check_version(binary: Path, version: str) -> None:
    """Starts the agent once in an empty home, so a published agent is one that runs on this machine."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.defpath, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        try:
            answer = subprocess.run(
                [str(binary), "--version"],
                env=environment,
                cwd=home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotInstall(f"it was installed but does not start here ({error})") from error
    if answer.returncode != 0 or version not in answer.stdout + answer.stderr:
        said = (answer.stdout + answer.stderr).strip()[-300:]
        raise CannotInstall(f"it was installed but --version answered (exit {answer.returncode}) {said!r}")


def _publish(folder: Path, name: Path) -> None:
    """Makes the filled folder known under its version, and removes what stood there without being whole."""
    stale = name.resolve() if name.is_symlink() else None
    if name.is_dir() and stale is None:
        shutil.rmtree(name)
    link = folder.with_name(f"{folder.name}.link")
    link.symlink_to(folder.name)
    link.replace(name)
    if stale is not None and stale.parent == folder.parent.resolve():
        shutil.rmtree(stale, ignore_errors=True)


def _run(argv: list[str]) -> None:
    # PYTHONPATH and the like of the caller must not leak into the agent's own environment.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment.pop("VIRTUAL_ENV", None)
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(f"{Path(argv[0]).name}: {error}") from error
    if done.returncode != 0:
        raise CannotInstall(
            f"{Path(argv[0]).name} failed (exit {done.returncode}): {done.stderr.strip()[-600:]}"
        )


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


CLAUDE = Agent("claude", CLAUDE_VERSION, _fill_claude, _claude_binary)
OPENHANDS = Agent("openhands", OPENHANDS_VERSION, _fill_openhands, _openhands_binary)
AGENTS = {agent.name: agent for agent in (CLAUDE, OPENHANDS)}


def main(arguments: list[str] | None = None) -> int:
    """Installs the named agents (default: all), one line each; 1 only if --require and one is missing."""
    parser = argparse.ArgumentParser(description="Install the agent CLIs that the agent tests run.")
    parser.add_argument(
        "agents", nargs="*", metavar="AGENT", help=f"one of: {', '.join(AGENTS)} (default: all)"
    )
    parser.add_argument("--require", action="store_true", help="exit 1 when an agent cannot be installed")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.agents if name not in AGENTS]:
        parser.error(f"unknown agent {unknown[0]!r}; known are: {', '.join(AGENTS)}")
    missing = 0
    for name in given.agents or AGENTS:
        agent = AGENTS[name]
        try:
            print(f"{name} {agent.version}: {install(agent)}", flush=True)
        except CannotInstall as reason:
            missing += 1
            print(
                f"{name} {agent.version}: not installed, its tests in tests/agents will skip: {reason}",
                flush=True,
            )
    return 1 if given.require and missing else 0


if __name__ == "__main__":
    sys.exit(main())
