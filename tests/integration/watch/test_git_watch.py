"""Git facts from real repositories, without git noticing."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from engram_tui.watch.git_watch import (
    ChangedFile,
    changed_files,
    commits_between,
    diff,
    git_facts,
    git_status,
    numstat,
)
from tests.integration.watch.repositories import git, repository


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository with three files."""
    return repository(tmp_path / "repo", a_dot_txt="one\ntwo\n", sub__b_dot_txt="b\n", gone_dot_txt="x\n")


def test_facts_name_top_head_branch_and_dirt(top: Path) -> None:
    facts = git_facts(str(top / "sub"))
    assert facts is not None
    assert (facts.top, facts.branch, facts.dirty) == (os.path.realpath(top), "main", False)
    assert facts.head == git(top, "rev-parse", "HEAD").strip()
    (top / "a.txt").write_text("changed\n")
    assert git_facts(str(top)).dirty  # type: ignore[union-attr]
    git(top, "checkout", "-q", "--detach")
    assert git_facts(str(top)).branch is None  # type: ignore[union-attr]


def test_no_repository_no_git_and_no_folder_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: Path
) -> None:
    assert git_facts(str(tmp_path)) is None
    assert changed_files(str(tmp_path / "missing")) is None
    assert diff(str(tmp_path)) is None and numstat(str(tmp_path)) == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_facts(str(top)) is None


def test_a_repository_without_commits_has_no_head(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "new").write_text("1\n2\n")
    status = git_status(str(tmp_path))
    assert status is not None and status.facts.head is None
    assert status.changed == (ChangedFile("new", "added", False),)
    assert numstat(str(tmp_path)) == {"new": (2, 0)}


def test_changed_files_know_their_change_and_whether_git_tracks_them(top: Path) -> None:
    (top / ".gitignore").write_text("*.log\n")
    (top / "x.log").write_text("ignored")
    (top / "a.txt").write_text("changed\n")
    (top / "gone.txt").unlink()
    odd = 'new dir/with "quotes" and\nnewline é'
    (top / "new dir").mkdir()
    (top / odd).write_text("n")
    git(top, "mv", "sub/b.txt", "sub/c.txt")
    (top / "staged").write_text("s")
    git(top, "add", "staged")
    assert sorted(changed_files(str(top / "sub")) or []) == sorted(
        [
            ChangedFile(".gitignore", "added", False),
            ChangedFile("a.txt", "modified", True),
            ChangedFile("gone.txt", "deleted", True),
            ChangedFile(odd, "added", False),
            ChangedFile("sub/b.txt", "deleted", True),
            ChangedFile("sub/c.txt", "added", True),
            ChangedFile("staged", "added", True),
        ]
    )


def test_a_merge_conflict_is_a_modified_file(top: Path) -> None:
    git(top, "checkout", "-q", "-b", "other")
    (top / "a.txt").write_text("theirs\n")
    git(top, "commit", "-qam", "theirs")
    git(top, "checkout", "-q", "main")
    (top / "a.txt").write_text("ours\n")
    git(top, "commit", "-qam", "ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(top, "merge", "other")
    assert changed_files(str(top)) == [ChangedFile("a.txt", "modified", True)]


def test_the_diff_with_untracked_and_binary_files_applies_to_a_clean_checkout(
    top: Path, tmp_path: Path
) -> None:
    (top / "a.txt").write_text("one\nthree\n")
    (top / "new.txt").write_text("new\n")
    (top / "blob").write_bytes(bytes(range(256)))
    (top / "gone.txt").unlink()
    patch = diff(str(top))
    assert patch is not None
    git(tmp_path, "clone", "-q", str(top), "clone")
    (tmp_path / "patch").write_bytes(patch)
    git(tmp_path / "clone", "apply", str(tmp_path / "patch"))
    for name in ("a.txt", "new.txt", "blob"):
        assert (tmp_path / "clone" / name).read_bytes() == (top / name).read_bytes()
    assert not (tmp_path / "clone" / "gone.txt").exists()
    assert numstat(str(top)) == {"a.txt": (1, 1), "new.txt": (1, 0), "blob": (None, None), "gone.txt": (0, 1)}


def test_a_diff_of_some_paths_holds_only_those_and_a_limited_one_only_whole_files(top: Path) -> None:
    (top / "a.txt").write_text("1\n" * 100)
    (top / "new.txt").write_text("2\n" * 5000)
    assert b"new.txt" not in (diff(str(top), ["a.txt"]) or b"")
    limited = diff(str(top), limit=2000)
    assert limited is not None and 0 < len(limited) <= 2000
    assert b"b/a.txt" in limited and b"new.txt" not in limited and limited.endswith(b"\n")
    assert diff(str(top), limit=50) == b""


@pytest.mark.parametrize("locked", [False, True])
def test_looking_writes_nothing_into_the_repository_and_runs_nothing_of_it(
    top: Path, tmp_path: Path, locked: bool
) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "diff.external", "diff.t.textconv"):
        git(top, "config", key, str(trap))
    hook = top / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(trap.read_text())
    hook.chmod(0o755)
    (top / ".gitattributes").write_text("*.txt diff=t\n")
    (top / "new.txt").write_text("new\n")
    os.utime(top / "a.txt", (1, 1))
    if locked:
        (top / ".git/index.lock").write_text("somebody is at work")

    def everything() -> dict[str, tuple[int, int]]:
        found = [path for path in (top / ".git").rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    before = everything()
    assert git_facts(str(top)) and changed_files(str(top)) and diff(str(top)) and numstat(str(top))
    assert commits_between(str(top), None, "HEAD")
    assert everything() == before
    assert not (tmp_path / "sprung").exists()


def test_commits_between_two_heads_are_newest_first(top: Path) -> None:
    old = git(top, "rev-parse", "HEAD").strip()
    for subject in ("second", "third: with spaces"):
        git(top, "commit", "-q", "--allow-empty", "-m", subject)
    new = git(top, "rev-parse", "HEAD").strip()
    assert [line.split(" ", 1)[1] for line in commits_between(str(top), old, new)] == [
        "third: with spaces",
        "second",
    ]
    assert len(commits_between(str(top), None, new)) == 3
    assert commits_between(str(top), new, new) == () == commits_between(str(top), "0" * 40, new)


def test_a_git_that_hangs_is_given_up(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin/git"
    slow.write_text('#!/bin/sh\ncase "$*" in *status*) exec sleep 100;; esac\nexec /usr/bin/git "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    began = time.monotonic()
    assert git_facts(str(top), seconds=0.2) is None
    assert time.monotonic() - began < 5
