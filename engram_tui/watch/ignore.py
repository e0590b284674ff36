"""Which paths below a working tree are not worth a look: caches, dependencies, what git ignores, what users name."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

ALWAYS = frozenset(
    ".git .hg .svn .jj node_modules .venv __pycache__ .mypy_cache .pytest_cache .ruff_cache .hypothesis .tox .nox "
    ".eggs .gradle .next .nuxt .turbo .parcel-cache .svelte-kit .terraform .direnv .DS_Store".split()
)
WITHOUT_GIT = frozenset("target dist build venv coverage .cache".split())
"""Names that some projects keep under version control: where git is asked, its word counts."""
SUFFIXES = (".pyc", ".pyo", ".swp", ".swx", ".swpx", ".lock~", "~")
GIT_SECONDS = 5.0
_MOST_CACHED = 50_000


class IgnoreRules:
    """The rules of one working tree. `patterns`: the user's, as shell patterns against a name or the relative path.

    Blocking (asks `git check-ignore` in batches) and not thread-safe: use it from one thread.
    """

    def __init__(self, top: str, patterns: Sequence[str] = (), *, git: bool = True) -> None:
        self._top = top
        self._git = git
        self._names = ALWAYS if git else ALWAYS | WITHOUT_GIT
        expressions = [fnmatch.translate(pattern.strip("/")) for pattern in patterns if pattern.strip("/")]
        self._patterns = re.compile("|".join(expressions)) if expressions else None
        self._cache: dict[str, bool] = {}

    def by_name(self, path: str) -> bool:
        """Whether its own name, a folder above it, or a user's pattern says to ignore it; asks nobody."""
        relative = os.path.relpath(path, self._top)
        if relative == ".":
            return False
        parts = relative.split("/")
        if parts[0] == ".." or not self._names.isdisjoint(parts) or relative.endswith(SUFFIXES):
            return True
        if self._patterns is None:
            return False
        above = [str(parent) for parent in PurePosixPath(relative).parents][:-1]
        return any(self._patterns.match(candidate) for candidate in (relative, *above, *parts))

    def kept(self, paths: Iterable[str]) -> list[str]:
        """Those that no rule ignores, in the same order."""
        candidates = [path for path in paths if not self.by_name(path)]
        if self._git:
            self._ask([path for path in candidates if path not in self._cache])
        return [path for path in candidates if not self._cache.get(path, False)]

    def rules_changed(self) -> None:
        """A .gitignore was edited: ask git anew."""
        self._cache.clear()

    def _ask(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        if len(self._cache) > _MOST_CACHED:
            self._cache.clear()
        relative = {os.path.relpath(path, self._top): path for path in paths}
        try:
            done = subprocess.run(
                ["git", "-c", "core.fsmonitor=false", "check-ignore", "--stdin", "-z"],
                cwd=self._top,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
                input=b"\0".join(os.fsencode(path) for path in relative),
                capture_output=True,
                timeout=GIT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return
        if done.returncode not in (0, 1):  # 1: none of them is ignored.
            return
        ignored = {os.fsdecode(path) for path in done.stdout.split(b"\0")}
        for path, absolute in relative.items():
            self._cache[absolute] = path in ignored
