"""Homes, projects and private files."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from engram_runtime import paths
from engram_runtime.errors import StoreUnavailable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def git(cwd: Path, *arguments: str) -> None:
    config = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *config, *arguments], cwd=cwd, check=True, capture_output=True)


def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        paths.make_private_folder(tmp_path / "a")
        paths.make_private_file(tmp_path / "f")
    finally:
        os.umask(old)
    assert (mode(tmp_path / "a"), mode(tmp_path / "f")) == (0o700, 0o600)


def test_an_existing_folder_keeps_its_mode_and_an_existing_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    (tmp_path / "f").write_text("x")
    (tmp_path / "f").chmod(0o644)
    paths.make_private_folder(tmp_path / "a")
    assert paths.make_private_file(tmp_path / "f") is False
    assert (mode(tmp_path / "a"), mode(tmp_path / "f")) == (0o755, 0o644)


def test_worktrees_and_subfolders_of_a_repository_are_one_project(tmp_path: Path) -> None:
    repository, worktree = tmp_path / "repo", tmp_path / "tree"
    (repository / "src").mkdir(parents=True)
    git(repository, "init")
    git(repository, "commit", "--allow-empty", "-m", "first")
    git(repository, "worktree", "add", str(worktree))
    project = paths.project_of(repository)
    assert project == str((repository / ".git").resolve())
    assert paths.project_of(repository / "src") == project
    assert paths.project_of(worktree) == project
    place = paths.git_place(worktree)
    assert place is not None and place.top == worktree.resolve()


def test_a_submodule_is_a_project_of_its_own(tmp_path: Path) -> None:
    for name in ("inner", "outer"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init")
        git(tmp_path / name, "commit", "--allow-empty", "-m", "first")
    git(
        tmp_path / "outer",
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        str(tmp_path / "inner"),
        "sub",
    )
    assert paths.project_of(tmp_path / "outer" / "sub") == str(
        (tmp_path / "outer/.git/modules/sub").resolve()
    )


def test_a_folder_without_git_is_its_own_project_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert paths.project_of(tmp_path / "link") == str((tmp_path / "real").resolve())


def test_a_broken_git_file_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /does/not/exist\n")
    assert paths.project_of(tmp_path) == str(tmp_path.resolve())


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_home_on_a_network_file_system_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    folder = tmp_path / "far away"
    escaped = str(folder.resolve()).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {escaped} {kind} rw 0 0\n")
    with pytest.raises(StoreUnavailable, match=kind):
        paths.refuse_network(folder / "home", mounts)
    paths.refuse_network(tmp_path / "near", mounts)
    monkeypatch.setenv("ENGRAM_ALLOW_NETWORK_HOME", "1")
    paths.refuse_network(folder / "home", mounts)


def test_a_home_that_is_a_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StoreUnavailable, match="ENGRAM_HOME"):
        paths.prepare_home(tmp_path / "home")


def test_the_home_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENGRAM_HOME", str(tmp_path / "x"))
    assert paths.home() == tmp_path / "x"
    monkeypatch.delenv("ENGRAM_HOME")
    assert paths.home() == Path.home() / ".engram"
