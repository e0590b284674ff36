"""Real git repositories for the tests of this folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def git(top: Path, *arguments: str) -> str:
    """Run git there, as somebody, without the machine's configuration."""
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{who}_{what}": "tester@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    done = subprocess.run(
        ["git", *arguments], cwd=top, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def repository(top: Path, **files: str) -> Path:
    """A repository with one commit that holds `files` (`__` in a name stands for `/`, `_dot_` for a dot)."""
    top.mkdir(parents=True, exist_ok=True)
    git(top, "init", "-q", "-b", "main")
    for name, text in files.items():
        path = top / name.replace("_dot_", ".").replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(top, "add", "-A")
    git(top, "commit", "-q", "--allow-empty", "-m", "first")
    return top
