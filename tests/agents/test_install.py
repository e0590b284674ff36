"""Installing agents: whole or not at all, quick when present, and never in the way of the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents import install

SCRIPT = Path(install.__file__)
BINARY = Path("node_modules/@anthropic-ai/claude-code-linux-x64/claude")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that does not exist yet."""
    return tmp_path / "cache"


def run(cache: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the installer with nothing but the given folder on PATH, and no pyenv or uv to be found."""
    environment = {
        "HOME": str(cache.parent),
        "PATH": str(path) if path else str(cache.parent / "nothing"),
        "ENGRAM_AGENTS_CACHE": str(cache),
        # Where the tests themselves run on Python 3.12, OpenHands must fail for want of packages.
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    argv = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=False)


def fake_npm(folder: Path, body: str) -> Path:
    """A folder with a `node`, and an `npm` that runs the shell code with the install folder in $3."""
    folder.mkdir()
    for name, code in (("node", "exit 0"), ("npm", f"echo run >> {folder}/runs\n{body}")):
        (folder / name).write_text(f"#!/bin/sh\nPATH={os.defpath}\n{code}\n")
        (folder / name).chmod(0o755)
    return folder


def installs(version: str) -> str:
    """Shell code of an npm that installs an agent of this version."""
    return (
        f'mkdir -p "$3/{BINARY.parent}"\n'
        f"printf '#!/bin/sh\\necho {version}\\n' > \"$3/{BINARY}\"\n"
        f'chmod +x "$3/{BINARY}"'
    )


def test_a_missing_npm_is_a_message_and_no_failure(cache: Path) -> None:
    done = run(cache, "claude")
    assert done.returncode == 0
    assert "its tests in tests/agents will skip: npm and node are not on PATH" in done.stdout


def test_a_missing_agent_fails_when_it_is_required(cache: Path) -> None:
    assert run(cache, "claude", "--require").returncode == 1


def test_an_unknown_agent_is_a_usage_error_and_installs_nothing(cache: Path) -> None:
    done = run(cache, "claud")
    assert done.returncode == 2
    assert "unknown agent 'claud'" in done.stderr
    assert not cache.exists()


def test_an_installed_agent_is_found_again_without_npm(cache: Path, tmp_path: Path) -> None:
    npm = fake_npm(tmp_path / "bin", installs(install.CLAUDE_VERSION))
    expected = cache / f"claude-{install.CLAUDE_VERSION}" / BINARY
    for _ in range(2):
        done = run(cache, "claude", "--require", path=npm)
        assert (done.returncode, done.stdout) == (0, f"claude {install.CLAUDE_VERSION}: {expected}\n")
    assert (npm / "runs").read_text() == "run\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            f"{installs(install.CLAUDE_VERSION)}\necho no network >&2\nexit 7",
            "npm failed (exit 7): no network",
        ),
        (installs("9.9.9"), "--version answered (exit 0) '9.9.9'"),
        ("exit 0", "no executable for this platform"),
    ],
    ids=["npm fails half way", "another version", "nothing installed"],
)
def test_a_failed_install_leaves_nothing_and_can_be_repeated(
    body: str, said: str, cache: Path, tmp_path: Path
) -> None:
    done = run(cache, "claude", path=fake_npm(tmp_path / "broken", body))
    assert (done.returncode, said in done.stdout) == (0, True), done.stdout
    assert [entry.name for entry in cache.iterdir() if not entry.name.endswith(".lock")] == []
    good = fake_npm(tmp_path / "good", installs(install.CLAUDE_VERSION))
    assert run(cache, "claude", "--require", path=good).returncode == 0


def test_an_agent_that_lost_its_executable_is_installed_anew(cache: Path, tmp_path: Path) -> None:
    npm = fake_npm(tmp_path / "bin", installs(install.CLAUDE_VERSION))
    run(cache, "claude", path=npm)
    (cache / f"claude-{install.CLAUDE_VERSION}" / BINARY).unlink()
    assert run(cache, "claude", "--require", path=npm).returncode == 0
    link = cache / f"claude-{install.CLAUDE_VERSION}"
    assert {entry for entry in cache.iterdir() if entry.is_dir()} == {link, link.resolve()}


def test_one_agent_that_fails_does_not_stop_the_other(cache: Path, tmp_path: Path) -> None:
    npm = fake_npm(tmp_path / "bin", installs(install.CLAUDE_VERSION))
    done = run(cache, "openhands", "claude", path=npm)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"openhands {install.OPENHANDS_VERSION}: not installed")
    assert second.startswith(f"claude {install.CLAUDE_VERSION}: {cache}")
