from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engram_runtime.memory.onnx_export import export
from engram_runtime.paths import HomeFiles

Preparing = Callable[[Path], Path]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose default model is exported."""
    home = tmp_path_factory.mktemp("exported")
    export(home)
    return home


@pytest.fixture(scope="session")
def prepare(exported: Path) -> Preparing:
    """Puts the exported model into a home, as `engram setup` would."""

    def put(home: Path) -> Path:
        home.mkdir(exist_ok=True)
        shutil.copytree(HomeFiles(exported).models, HomeFiles(home).models, copy_function=os.link)
        return home

    return put
