"""File changes as observations, from real folders."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engram_tui.watch import file_watch, folder_watch
from engram_tui.watch.file_watch import FileWatch
from engram_tui.watch.folder_watch import CannotWatch
from engram_tui.watch.observations import FileTouched
from tests.integration.watch.processes import until
from tests.integration.watch.repositories import git, repository


class Eyes:
    """A running watch and what it saw."""

    def __init__(self, watch: FileWatch) -> None:
        self.watch = watch
        self.seen: list[FileTouched] = []
        watch.start(asyncio.get_running_loop(), self.seen.extend)

    def changes(self) -> set[tuple[str, str]]:
        """(path below the top, change) of all that was seen."""
        return {(touch.path.removeprefix(self.watch.top + "/"), touch.change) for touch in self.seen}

    async def see(self, path: str, change: str, seconds: float = 30.0) -> None:
        """Wait until this was seen."""
        await until(lambda: (path, change) in self.changes(), seconds)


@contextlib.asynccontextmanager
async def watching(top: Path, **options: object) -> AsyncIterator[Eyes]:
    """A watch that is ready."""
    eyes = Eyes(FileWatch(str(top), **options))  # type: ignore[arg-type]
    try:
        await until(lambda: eyes.watch.ready)
        yield eyes
    finally:
        await eyes.watch.stop()


@pytest.fixture(params=[False, True], ids=["by folders", "recursive"])
def recursive(request: pytest.FixtureRequest) -> bool:
    """Both ways of watching."""
    return bool(request.param)


async def test_added_modified_and_deleted_files_are_seen(tmp_path: Path, recursive: bool) -> None:
    top = repository(tmp_path, a="1", sub__b="2")
    async with watching(top, recursive=recursive) as eyes:
        (top / "sub/b").write_text("changed")
        (top / "new").write_text("n")
        (top / "a").unlink()
        for path, change in (("sub/b", "modified"), ("new", "added"), ("a", "deleted")):
            await eyes.see(path, change)
        assert all(touch.channel == "files" and abs(touch.at - time.time()) < 30 for touch in eyes.seen)


async def test_a_file_replaced_by_renaming_is_modified_and_the_temporary_one_unseen(tmp_path: Path) -> None:
    top = repository(tmp_path, a="1")
    async with watching(top) as eyes:
        (top / "a.tmp").write_text("2")
        (top / "a.tmp").rename(top / "a")
        await eyes.see("a", "modified")
        assert eyes.changes() == {("a", "modified")}


async def test_new_folders_are_watched_and_what_is_in_them_already_is_seen(tmp_path: Path) -> None:
    top = repository(tmp_path)
    async with watching(top) as eyes:
        (top / "x/y/z").mkdir(parents=True)
        (top / "x/y/z/early").write_text("1")
        await eyes.see("x/y/z/early", "added")
        (top / "x/y/z/late").write_text("2")
        await eyes.see("x/y/z/late", "added")


async def test_a_moved_folder_is_seen_under_its_new_name_and_its_old_one_is_gone(tmp_path: Path) -> None:
    top = repository(tmp_path, old__f="1")
    async with watching(top) as eyes:
        (top / "old").rename(top / "new")
        await eyes.see("old/", "deleted")
        await eyes.see("new/f", "added")
        (top / "new/f").write_text("2")
        (top / "new/g").write_text("2")
        await eyes.see("new/g", "added")
        shutil.rmtree(top / "new")
        await eyes.see("new/g", "deleted")


async def test_ignored_files_are_not_seen_and_not_watched(tmp_path: Path) -> None:
    top = repository(tmp_path, _dot_gitignore="*.log\n/out/\n", dist__kept="1")
    for folder in ("node_modules/p", "out", "mine"):
        (top / folder).mkdir(parents=True)
    async with watching(top, ignore=["mine/", "*.secret"]) as eyes:
        assert sys.platform == "darwin" or {os.path.relpath(f, top) for f in eyes.watch._folders} == {
            ".",
            "dist",
        }
        for name in (
            "node_modules/p/i.js",
            "out/o",
            "mine/m",
            "x.log",
            "y.secret",
            "z.pyc",
            ".git/HEAD.lock",
        ):
            (top / name).write_text("x")
        (top / "later/node_modules").mkdir(parents=True)
        (top / "later/node_modules/i.js").write_text("x")
        (top / "dist/kept").write_text("2")
        (top / "later/last").write_text("x")
        await eyes.see("dist/kept", "modified")
        await eyes.see("later/last", "added")
        assert {path for path, _change in eyes.changes()} == {"dist/kept", "later/last"}


async def test_an_edited_gitignore_counts_at_once(tmp_path: Path) -> None:
    top = repository(tmp_path, _dot_gitignore="/out/\n")
    (top / "out").mkdir()
    async with watching(top) as eyes:
        (top / ".gitignore").write_text("*.txt\n")
        await eyes.see(".gitignore", "modified")
        (top / "out/seen").write_text("x")
        (top / "unseen.txt").write_text("x")
        await eyes.see("out/seen", "added")
        assert "unseen.txt" not in {path for path, _change in eyes.changes()}


async def test_a_folder_without_git_is_watched_too(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    async with watching(tmp_path) as eyes:
        (tmp_path / "target/x").write_text("x")
        (tmp_path / "f").write_text("x")
        await eyes.see("f", "added")
        assert eyes.changes() == {("f", "added")}


@pytest.mark.parametrize("with_git", [True, False])
async def test_without_watches_changes_are_looked_up_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_git: bool
) -> None:
    if with_git:
        repository(tmp_path, a="1", b="1")
    else:
        (tmp_path / "a").write_text("1")
        (tmp_path / "b").write_text("1")
    (tmp_path / "dirty").write_text("before the session")

    def refuse(*_arguments: object) -> None:
        raise OSError(28, "OS file watch limit reached.")

    monkeypatch.setattr(folder_watch, "RustNotify", refuse)
    async with watching(tmp_path, poll_seconds=0.05) as eyes:
        assert eyes.watch.problem is not None and "limit reached" in eyes.watch.problem
        (tmp_path / "a").write_text("longer")
        (tmp_path / "new").write_text("x")
        (tmp_path / "b").unlink()
        for path, change in (("a", "modified"), ("new", "added"), ("b", "deleted")):
            await eyes.see(path, change)
        (tmp_path / "new").unlink()
        await eyes.see("new", "deleted")
        if with_git:
            git(tmp_path, "commit", "-qam", "second")
        assert not any(path == "dirty" for path, _change in eyes.changes())


async def test_a_watcher_that_breaks_down_is_followed_by_looking_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking:
        def __init__(self, *_arguments: object) -> None:
            self.broken = threading.Event()

        def watch(self, *_arguments: object) -> str:
            assert self.broken.wait(20)
            raise RuntimeError("inotify is gone")

        def close(self) -> None:
            pass

    made: list[Breaking] = []
    monkeypatch.setattr(folder_watch, "RustNotify", lambda *arguments: made.append(Breaking()) or made[-1])
    async with watching(tmp_path, poll_seconds=0.05) as eyes:
        made[0].broken.set()
        await until(lambda: "inotify is gone" in (eyes.watch.problem or ""))
        before = len(eyes.seen)
        number = iter(range(1000))

        def write_and_look() -> bool:
            (tmp_path / f"f{next(number)}").write_text("x")
            return len(eyes.seen) > before

        await until(write_and_look)


async def test_a_bug_in_the_thread_is_a_problem_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watch, "worktree_top", lambda _top: 1 / 0)
    watch = FileWatch(str(tmp_path))
    watch.start(asyncio.get_running_loop(), lambda _batch: None)
    await until(lambda: "ZeroDivisionError" in (watch.problem or ""))
    await watch.stop()


async def test_too_many_folders_are_not_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "MOST_FOLDERS", 3)
    for name in "abcd":
        (tmp_path / name).mkdir()
    async with watching(tmp_path, poll_seconds=0.05) as eyes:
        assert "more than 3 folders" in (eyes.watch.problem or "")


@pytest.mark.slow
async def test_many_new_folders_end_in_few_watchers_and_all_threads_end(tmp_path: Path) -> None:
    repository(tmp_path)
    before = threading.active_count()
    async with watching(tmp_path) as eyes:
        for number in range(folder_watch.MOST_WATCHERS + 4):
            (tmp_path / f"d{number}").mkdir()
            (tmp_path / f"d{number}/f").write_text("x")
            await eyes.see(f"d{number}/f", "added")
        assert len(eyes.watch._watch._watchers) <= folder_watch.MOST_WATCHERS
        (tmp_path / "d0/g").write_text("x")
        await eyes.see("d0/g", "added")
    await until(lambda: threading.active_count() <= before + 1)


def test_a_system_that_refuses_watches_is_a_named_error(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(CannotWatch, match="Too many open files"):
            folder_watch.FolderWatch(20, recursive=False).add([str(tmp_path)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
