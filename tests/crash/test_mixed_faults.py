"""The mixed stream on a disk that is full, whose fsync fails, or that loses its power: refused or kept, never lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.crash import disk
from tests.crash.nursery import Nursery, nursery
from tests.crash.stream import PROJECT, Told, read_logs
from tests.crash.whole import check_whole
from tests.support import rounds, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G1", "G9"), pytest.mark.timeout(3600)]

FILE_BYTES = 600_000


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A disk of 60 MB mounted there; False where this user may not mount."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(place)]
    usual = sys.platform.startswith("linux") and shutil.which("mount")
    if not usual or subprocess.run(command, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(place)], check=True)


def more_acknowledged(logs: Path, than: Told) -> Callable[[], bool]:
    return lambda: len(read_logs(logs).words) > len(than.words) + 10


def more_refused(logs: Path, than: Told) -> Callable[[], bool]:
    return lambda: len(read_logs(logs).refusals) > len(than.refusals) + 10


@pytest.mark.parametrize("way", ["disk", "file"])
def test_a_full_disk_refuses_what_it_cannot_keep_and_goes_on_when_there_is_room(
    tmp_path: Path, way: str
) -> None:
    chance, logs, number = random.Random(20261122), tmp_path / "logs", 0
    with small_disk(tmp_path / "disk") as mounted:
        if way == "disk" and not mounted:
            pytest.skip("only root may mount a small disk; with way=file the size of each file is limited")
        home, filler = tmp_path / "disk" / "home", tmp_path / "disk" / "filler"
        Runtime.open(home, project=PROJECT, settings=Settings(model="off")).close()
        with nursery(home, logs) as hands:
            for _ in range(rounds(2, 50)):
                limit = FILE_BYTES if way == "file" else 0
                pids = []
                for _ in range(3):
                    number += 1
                    pids.append(hands.start("runtime", f"w{number}", refusals="expected", file_bytes=limit))
                wait_until(more_acknowledged(logs, read_logs(logs)), 60)
                if way == "disk":
                    with filler.open("wb") as file:
                        fill(file.fileno())
                wait_until(more_refused(logs, read_logs(logs)), 60)
                # One dies while nothing can be written, one lives on.
                assert hands.kill(pids.pop(), chance.choice((signal.SIGKILL, signal.SIGTERM))) in (-9, 143)
                filler.unlink(missing_ok=True)
                for pid in pids if limit else ():
                    os.kill(pid, signal.SIGUSR2)
                wait_until(more_acknowledged(logs, read_logs(logs)), 60)
                for pid in pids:
                    os.kill(pid, signal.SIGUSR1)
                    assert hands.wait(pid, 60) == 0
                if way == "file":
                    break  # the home is larger than the limit from now on
        told = read_logs(logs)
        assert told.errors == []
        events = check_whole(home, told.words)
    print(f"full {way}: {len(told.words)} acknowledged, {len(told.refusals)} refused, {events} events")


def fill(descriptor: int) -> None:
    """Write until there is no room left."""
    block = bytes(1 << 16)
    try:
        while True:
            os.write(descriptor, block)
    except OSError:
        return


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk.shim(tmp_path_factory.mktemp("shim"))


def test_while_fsync_fails_nothing_is_acknowledged_by_anybody(library: Path, tmp_path: Path) -> None:
    chance, logs, fail, home = (
        random.Random(20261122),
        tmp_path / "logs",
        tmp_path / "fail",
        tmp_path / "home",
    )
    Runtime.open(home, project=PROJECT, settings=Settings(model="off")).close()
    names = [0]
    watched = disk.environment(library, home, Path(os.devnull), fail)
    shim = {name: watched[name] for name in ("SHIM_ROOT", "SHIM_LOG", "SHIM_FAIL", "LD_PRELOAD")}
    with nursery(home, logs, **shim) as hands:
        running = [born(hands, names, kind) for kind in ("runtime", "runtime", "mcp")]
        for _ in range(rounds(4, 200)):
            wait_until(more_acknowledged(logs, read_logs(logs)), 60)
            told = read_logs(logs)
            fail.touch()
            # What a worker had under way may still be acknowledged; what it does after its first refusal may not.
            wait_until(all_refused(logs, told, running), 60)
            before = read_logs(logs)
            wait_until(more_refused(logs, before), 60)
            assert read_logs(logs).words == before.words
            slot = chance.randrange(2)
            assert hands.kill(running[slot].pid, signal.SIGKILL) == -9
            fail.unlink()
            running[slot] = born(hands, names, running[slot].kind)
        wait_until(more_acknowledged(logs, read_logs(logs)), 60)
        for writer in running:
            hands.kill(writer.pid, signal.SIGKILL)
    told = read_logs(logs)
    assert told.errors == []
    events = check_whole(home, told.words)
    print(f"fsync: {len(told.words)} acknowledged, {len(told.refusals)} refused, {events} events")


class Writer(NamedTuple):
    """A process of the test below; `workers` are the names under which it logs."""

    kind: str
    pid: int
    workers: tuple[str, ...]


def born(hands: Nursery, names: list[int], kind: str) -> Writer:
    names[0] += 1
    name = f"w{names[0]}"
    workers = (f"{name}t0", f"{name}t1") if kind == "runtime" else (name,)
    return Writer(kind, hands.start(kind, name, refusals="expected"), workers)


def all_refused(logs: Path, since: Told, writers: list[Writer]) -> Callable[[], bool]:
    """Whether each worker was refused something since."""

    def refused() -> bool:
        now, then = Counter(_names(read_logs(logs))), Counter(_names(since))
        return all(now[worker] > then[worker] for writer in writers for worker in writer.workers)

    return refused


def _names(told: Told) -> list[str]:
    return [line.split(":")[0] for line in told.refusals]


def test_a_power_cut_in_the_mixed_stream_leaves_a_home_that_is_whole(library: Path, tmp_path: Path) -> None:
    root, record = tmp_path / "root", tmp_path / "record"
    root.mkdir()
    watched = disk.environment(library, root, record, tmp_path / "fail")
    shim = {name: watched[name] for name in ("SHIM_ROOT", "SHIM_LOG", "SHIM_FAIL", "LD_PRELOAD")}
    with nursery(root / "home", root / "logs", **shim) as hands:
        # One after the other: the record keeps the order within a process.
        for number in range(2):
            pid = hands.start("runtime", f"w{number}")
            wait_until(more_acknowledged(root / "logs", read_logs(root / "logs")), 60)
            wait_until(more_acknowledged(root / "logs", read_logs(root / "logs")), 60)
            hands.kill(pid, signal.SIGTERM)
    steps = disk.read(record)
    chance, cuts, words = random.Random(20261122), rounds(10, 500), 0
    for end in [*(chance.randrange(len(steps) + 1) for _ in range(cuts)), len(steps)]:
        target = tmp_path / "after"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        disk.Disk(steps[:end]).write(root, target, chance)
        told = acknowledged(steps[:end], tmp_path / "told")
        assert told.errors == []
        try:
            check_whole(target / "home", told.words)
        except Exception as error:
            raise AssertionError(f"power cut after step {end} of {len(steps)}") from error
        words = len(told.words)
    print(f"{cuts} power cuts within {len(steps)} steps, {words} acknowledged")
    assert words > 20


def acknowledged(steps: list[disk.Step], folder: Path) -> Told:
    """What the writers were told within these steps, whatever became of their logs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    logs: dict[int, Path] = {}
    for step in steps:
        if step.kind == "C":
            # An inode that is used again is another file.
            logs.pop(step.inode, None)
            if "/logs/" in step.name:
                logs[step.inode] = folder / Path(step.name).name
        elif step.kind == "W" and step.inode in logs:
            with logs[step.inode].open("ab") as log:
                log.write(step.data)
    return read_logs(folder)
