"""What a disk may hold after the power failed: worked out from the record of what a process asked it to keep.

The record is made by `disk_shim.c`, preloaded into the process. At any point of it, certain to be on the disk is what
was written to a file before an fsync of that file that had returned, and names that a later fsync of their folder (or,
for a new file, nothing less) made durable. Anything else asked for until then may be there or not: each later
write is kept or lost by chance, sector by sector, each later truncation and each name by chance as well. What
was written before an fsync that failed is lost (the kernel takes such pages for written). Shared memory (-shm) never
survives.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SECTOR = 512
_SOURCE = Path(__file__).with_name("disk_shim.c")


@dataclass
class Step:
    """One line of the record."""

    kind: str
    inode: int = 0
    offset: int = 0
    data: bytes = b""
    name: str = ""
    old: str = ""


@dataclass
class File:
    """A file while the record is played: what is certain, and what was asked for since."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[Step] = field(default_factory=list)
    begun: int = 0
    """How many of the pending steps the fsync that is under way covers."""


def shim(folder: Path) -> Path:
    """The compiled shim; skips the test where there is no way to compile or preload it."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and Linux's preloading")
    library = folder / "disk_shim.so"
    built = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(built, check=True)
    return library


def environment(library: Path, root: Path, log: Path, fail: Path) -> dict[str, str]:
    """The environment of a process whose disk is watched."""
    own = {"SHIM_ROOT": str(root), "SHIM_LOG": str(log), "SHIM_FAIL": str(fail), "LD_PRELOAD": str(library)}
    return {**os.environ, **own}


def read(log: Path) -> list[Step]:
    """The record."""
    content, at, steps = log.read_bytes(), 0, []
    while at < len(content):
        end = content.index(b"\n", at)
        kind, *words = content[at:end].decode().split(" ")
        at = end + 1
        match kind:
            case "W":
                inode, offset, size = map(int, words)
                steps.append(Step(kind, inode, offset, content[at : at + size]))
                at += size
            case "T":
                steps.append(Step(kind, int(words[0]), int(words[1])))
            case "C":
                steps.append(Step(kind, int(words[0]), name=words[1]))
            case "R":
                steps.append(Step(kind, name=words[1], old=words[0]))
            case "U" | "D":
                steps.append(Step(kind, name=words[0]))
            case _:
                steps.append(Step(kind, int(words[0])))
    return steps


class Disk:
    """What is certain and what is not after the first steps of a record."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.files: dict[int, File] = {}
        self.names: dict[str, int] = {}
        self.unsure: list[Step] = []
        for step in steps:
            self._play(step)

    def _play(self, step: Step) -> None:
        if step.kind in "CRU":
            if step.kind == "C":
                # An inode that is used again is another file.
                self.files[step.inode] = File()
            self.unsure.append(step)
        elif step.kind == "D":
            for done in [one for one in self.unsure if str(Path(one.name).parent) == step.name]:
                self.unsure.remove(done)
                _name(self.names, done)
        else:
            self._play_on(self.files.setdefault(step.inode, File()), step)

    def _play_on(self, file: File, step: Step) -> None:
        if step.kind in "WT":
            file.pending.append(step)
        elif step.kind == "B":
            file.begun = len(file.pending)
        else:
            if step.kind == "S":
                for one in file.pending[: file.begun]:
                    _apply(file.content, one)
            del file.pending[: file.begun]
            file.begun = 0

    def write(self, root: Path, target: Path, chance: random.Random) -> None:
        """Make one of the disks there may be: files under `root` go below `target`."""
        names = dict(self.names)
        for step in self.unsure:
            if chance.random() < 0.5:
                _name(names, step)
        for name, inode in names.items():
            if name.endswith("-shm") or not name.startswith(str(root)):
                continue
            content = bytearray(self.files[inode].content)
            for step in self.files[inode].pending:
                _apply_by_chance(content, step, chance)
            path = target / Path(name).relative_to(root)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _name(names: dict[str, int], step: Step) -> None:
    if step.kind == "C":
        names[step.name] = step.inode
    elif step.kind == "U":
        names.pop(step.name, None)
    elif step.old in names:
        names[step.name] = names.pop(step.old)


def _apply(content: bytearray, step: Step) -> None:
    if step.kind == "T":
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
    else:
        content.extend(bytes(max(0, step.offset - len(content))))
        content[step.offset : step.offset + len(step.data)] = step.data


def _apply_by_chance(content: bytearray, step: Step, chance: random.Random) -> None:
    if step.kind == "T":
        if chance.random() < 0.5:
            _apply(content, step)
        return
    start = 0
    while start < len(step.data):
        size = SECTOR - (step.offset + start) % SECTOR
        if chance.random() < 0.5:
            _apply(content, Step("W", step.inode, step.offset + start, step.data[start : start + size]))
        start += size
