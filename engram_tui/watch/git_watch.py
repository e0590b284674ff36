"""What git says of the working tree, asked so that the user's and the agent's own git never notice.

Nothing here takes the index lock, runs a hook, a pager, an external diff or a prompt; every question has a time limit.
No git, no repository, a broken one or a timeout answer None (or nothing). All functions block: call them in threads.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engram_runtime.journal.records import ChangeKind, GitFacts

STATUS_SECONDS = 10.0
DIFF_SECONDS = 20.0
DIFF_BYTES = 4 << 20
MOST_CHANGES = 20_000
MOST_COMMITS = 100
_PATHS_AT_ONCE = 500
_SILENT: Mapping[str, str] = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}
_COMMAND = (
    "git",
    "--no-pager",
    "--literal-pathspecs",
    *("-c", "core.fsmonitor=false"),  # May name a program.
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "log.showSignature=false"),
    *("-c", "color.ui=false"),
)
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--ignore-submodules=dirty")


_running: set[subprocess.Popen[bytes]] = set()


class ChangedFile(NamedTuple):
    """A file that differs from HEAD; `path` is relative to the worktree's top."""

    path: str
    change: ChangeKind
    tracked: bool


@dataclass(frozen=True, slots=True)
class GitStatus:
    """One look at a worktree: facts and changed files from the same moment."""

    facts: GitFacts
    changed: tuple[ChangedFile, ...]


def git_status(cwd: str, *, seconds: float = STATUS_SECONDS, untracked: bool = True) -> GitStatus | None:
    """Top folder, HEAD, branch and changed files in two git calls; without `untracked` faster, tracked files only."""
    top = worktree_top(cwd)
    if top is None:
        return None
    mode = "all" if untracked else "no"
    output = _git(
        top,
        *("status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--ignore-submodules=dirty"),
        f"--untracked-files={mode}",
        seconds=seconds,
    )
    if output is None:
        return None
    headers, changed = _parse_status(output)
    head, branch = headers.get("branch.oid"), headers.get("branch.head")
    facts = GitFacts(
        top=top,
        head=None if head == "(initial)" else head,
        branch=None if branch == "(detached)" else branch,
        dirty=bool(changed),
    )
    return GitStatus(facts, changed)


def git_facts(cwd: str, *, seconds: float = STATUS_SECONDS) -> GitFacts | None:
    """Top folder, HEAD, branch, and whether anything differs from HEAD; see `git_status` for both answers at once."""
    status = git_status(cwd, seconds=seconds)
    return None if status is None else status.facts


def changed_files(cwd: str, *, seconds: float = STATUS_SECONDS) -> list[ChangedFile] | None:
    """Files that differ from HEAD, untracked ones included, ignored ones not; at most `MOST_CHANGES`."""
    status = git_status(cwd, seconds=seconds)
    return None if status is None else list(status.changed)


def worktree_top(cwd: str) -> str | None:
    """The worktree's top folder (real path), None outside of a repository or in a bare one."""
    output = _git(cwd, "rev-parse", "--show-toplevel", seconds=STATUS_SECONDS)
    return os.fsdecode(output).removesuffix("\n") or None if output else None


def tracked_files(top: str, paths: Sequence[str]) -> frozenset[str]:
    """Of these absolute paths below `top`, those that git tracks."""
    found: set[str] = set()
    for group in _groups([os.path.relpath(path, top) for path in paths]):
        output = _git(top, "ls-files", "-z", "--", *group) or b""
        found.update(os.path.join(top, os.fsdecode(path)) for path in output.split(b"\0") if path)
    return frozenset(found)


def commits_between(cwd: str, old: str | None, new: str | None) -> tuple[str, ...]:
    """`<short hash> <subject>` of commits reachable from `new` and not from `old`, newest first.

    At most `MOST_COMMITS`. `old` None means: since the first commit.
    """
    if new is None or old == new:
        return ()
    span = new if old is None else f"{old}..{new}"
    output = _git(
        cwd, "log", "-z", "--format=%h %s", f"--max-count={MOST_COMMITS}", span, "--", seconds=STATUS_SECONDS
    )
    return tuple(line.decode("utf-8", "replace") for line in (output or b"").split(b"\0") if line)


def diff(
    cwd: str, paths: Sequence[str] = (), *, limit: int = DIFF_BYTES, seconds: float = DIFF_SECONDS
) -> bytes | None:
    """A patch (`git apply` takes it) from HEAD to the working tree, untracked files as new ones.

    `paths`: relative to the top, empty for all. Beyond `limit` bytes whole files are left out at the end.
    """
    with _index_with_untracked(cwd, paths) as look:
        if look is None:
            return None
        patch = b""
        for group in _groups(paths):
            output = _git(
                look.top, *_DIFF, "--binary", look.base, "--", *group,
                seconds=seconds, limit=limit + 1, environment=look.environment,
            )  # fmt: skip
            if output is None:
                return None
            patch += output
            if len(patch) > limit:
                return _whole_files(patch, limit)
        return patch


def numstat(cwd: str, paths: Sequence[str] = ()) -> dict[str, tuple[int | None, int | None]]:
    """Lines added and removed per changed file since HEAD, untracked files included; None for binary files."""
    counted: dict[str, tuple[int | None, int | None]] = {}
    with _index_with_untracked(cwd, paths) as look:
        if look is None:
            return counted
        for group in _groups(paths):
            output = _git(
                look.top, *_DIFF, "--numstat", "-z", look.base, "--", *group,
                seconds=DIFF_SECONDS, environment=look.environment,
            )  # fmt: skip
            for line in (output or b"").split(b"\0"):
                if line.count(b"\t") >= 2:
                    added, removed, path = line.split(b"\t", 2)
                    counted[os.fsdecode(path)] = (_count(added), _count(removed))
    return counted


@dataclass(frozen=True, slots=True)
class _Look:
    """How to ask with untracked files included: where, against which tree, with which private index."""

    top: str
    base: str
    environment: Mapping[str, str]


@contextlib.contextmanager
def _index_with_untracked(cwd: str, paths: Sequence[str]) -> Iterator[_Look | None]:
    """A private copy of the index in which untracked files are intended to be added.

    So one `git diff` shows them too. Objects git writes meanwhile go to a private folder; the repository is only read.
    """
    status = git_status(cwd)
    places = _git(cwd, "rev-parse", "--path-format=absolute", "--git-path", "index", "--git-path", "objects")
    if status is None or places is None:
        yield None
        return
    index, objects = (os.fsdecode(place) for place in places.splitlines())
    top = status.facts.top
    with tempfile.TemporaryDirectory(prefix="engram-index-") as private:
        environment = {
            "GIT_INDEX_FILE": str(Path(private, "index")),
            "GIT_OBJECT_DIRECTORY": private,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
        }
        if Path(index).exists():
            shutil.copyfile(index, environment["GIT_INDEX_FILE"])
        wanted = set(paths)
        new = [
            file.path for file in status.changed if not file.tracked and (not wanted or file.path in wanted)
        ]
        if new:
            listed = b"\0".join(os.fsencode(path) for path in new)
            _git(
                top, "add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul",
                seconds=STATUS_SECONDS, stdin=listed, environment=environment,
            )  # fmt: skip
        base = status.facts.head or _empty_tree(top)
        yield _Look(top, base, environment)


def _empty_tree(top: str) -> str:
    return (_git(top, "hash-object", "-t", "tree", "--stdin", stdin=b"") or b"").decode().strip()


def _git(
    cwd: str,
    *arguments: str,
    seconds: float = STATUS_SECONDS,
    stdin: bytes = b"",
    limit: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes | None:
    """Standard output (cut at `limit`), None when git is missing, fails, or takes longer than `seconds`."""
    try:
        process = subprocess.Popen(
            [*_COMMAND, *arguments],
            cwd=cwd,
            env={**os.environ, **_SILENT, **(environment or {})},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # what git (or a wrapper of it) started holds the pipe open: all of it is ended
        )
    except OSError:
        return None
    late = threading.Timer(seconds, _kill_group, (process,))
    late.daemon = True
    late.start()
    _running.add(process)
    try:
        with process:
            if limit is None:
                output, cut = process.communicate(stdin or None)[0], False
            else:
                assert process.stdout is not None
                output = process.stdout.read(limit)
                cut = len(output) == limit
                if cut:
                    _kill_group(process)
    finally:
        late.cancel()
        _running.discard(process)
    # `git diff --exit-code` aside, git answers with 0 or has not answered.
    return output if cut or process.returncode == 0 else None


def abandon() -> None:
    """End every git that runs now: nobody waits for its answer any more (the process is about to end)."""
    for process in tuple(_running):
        _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a git that was not waited for yet (so the group's number is still its own)."""
    if process.returncode is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def _parse_status(output: bytes) -> tuple[dict[str, str], tuple[ChangedFile, ...]]:
    """Headers and files of `git status --porcelain=v2 --branch -z` (git-status(1), without renames)."""
    headers: dict[str, str] = {}
    files: dict[str, ChangedFile] = {}
    for entry in output.split(b"\0"):
        kind = entry[:2]
        if kind == b"# ":
            name, _, value = entry[2:].decode("utf-8", "replace").partition(" ")
            headers[name] = value
        elif len(files) >= MOST_CHANGES:
            continue
        elif kind in (b"1 ", b"u "):
            path = os.fsdecode(entry.split(b" ", 8 if kind == b"1 " else 10)[-1])
            change = _change(entry[2:4].decode())
            if change is not None:
                files[path] = ChangedFile(path, change, True)
        elif kind == b"? ":
            path = os.fsdecode(entry[2:]).rstrip("/")
            # Removed from the index but still there: to HEAD it is a modified file.
            files[path] = ChangedFile(path, "modified" if path in files else "added", path in files)
    return headers, tuple(files.values())


def _change(codes: str) -> ChangeKind | None:
    """The change from HEAD to the working tree, from the codes of index and working tree."""
    staged, unstaged = codes[0], codes[1]
    if unstaged == "D" or (staged == "D" and unstaged == "."):
        return None if staged == "A" else "deleted"
    return "added" if "A" in (staged, unstaged) and "U" not in codes else "modified"


def _groups(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """Paths in portions that fit a command line; one empty portion (meaning: all) for none."""
    for start in range(0, max(1, len(paths)), _PATHS_AT_ONCE):
        yield paths[start : start + _PATHS_AT_ONCE]


def _whole_files(patch: bytes, limit: int) -> bytes:
    end = patch.rfind(b"\ndiff --git ", 0, limit)
    return patch[: end + 1] if end >= 0 else b""


def _count(figure: bytes) -> int | None:
    return int(figure) if figure.isdigit() else None
