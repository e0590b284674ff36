"""The default model as an ONNX file: made once, checked, made again when it is broken; and what serves without it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from engram_runtime.memory import loading, onnx_export, onnx_model
from engram_runtime.memory.model import BUNDLED_ID, ModelError, bundled_in_torch
from engram_runtime.memory.onnx_export import PROBES, Exported, export
from engram_runtime.memory.onnx_model import OnnxFiles
from tests.integration.memory.conftest import Preparing

pytestmark = pytest.mark.slow


def test_the_exported_model_gives_the_vectors_and_codes_of_sentence_transformers(exported: Path) -> None:
    ours, theirs = onnx_model.load(OnnxFiles.of(exported)), bundled_in_torch()
    assert ours.id == theirs.id == BUNDLED_ID
    for text in PROBES:
        assert float(ours.mean(text) @ theirs.mean(text)) >= 0.9999
        one, other = ours.passage(text), theirs.passage(text)
        assert float(one.vector @ other.vector) >= 0.9999
        codes = [numpy.frombuffer(codes, numpy.int8).astype(int) for codes in (one.codes, other.codes)]
        assert numpy.abs(codes[0] - codes[1]).max() <= 1
        asked, answered = ours.question(text), theirs.question(text)
        assert asked.tokens is not None and answered.tokens is not None
        assert asked.tokens.ids.tolist() == answered.tokens.ids.tolist()


def test_one_text_gives_the_same_bits_every_time(exported: Path) -> None:
    model = onnx_model.load(OnnxFiles.of(exported))
    first = [model.passage(text) for text in PROBES]
    second = [model.passage(text) for text in reversed(PROBES)][::-1]
    assert [p.codes for p in first] == [p.codes for p in second]
    assert [p.vector.tobytes() for p in first] == [p.vector.tobytes() for p in second]


def test_what_is_exported_is_private_and_not_made_twice(exported: Path) -> None:
    assert export(exported).outcome == "present"
    files = OnnxFiles.of(exported)
    assert {stat.S_IMODE(part.stat().st_mode) for part in (*files.parts, files.digests)} == {0o600}
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("part", ["graph", "weights", "tokenizer", "digests"])
@pytest.mark.parametrize("harm", ["altered", "cut", "gone"])
def test_a_broken_file_is_noticed(exported: Path, tmp_path: Path, part: str, harm: str) -> None:
    files = OnnxFiles(tmp_path / "model")
    shutil.copytree(OnnxFiles.of(exported).folder, files.folder)
    assert files.problem() == ""
    broken: Path = getattr(files, part)
    if harm == "gone":
        broken.unlink()
    else:
        size = broken.stat().st_size
        with broken.open("r+b") as stream:
            stream.seek(size // 2)
            byte = stream.read(1)
            if harm == "altered":
                stream.seek(size // 2)
                stream.write(bytes([byte[0] ^ 1]))
            else:
                stream.truncate(size // 2)
    assert files.problem() != ""
    with pytest.raises(ModelError):
        onnx_model.load(files)


def test_a_broken_file_is_exported_again_and_meanwhile_the_reason_is_told(
    prepare: Preparing, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = prepare(tmp_path / "home")
    weights = OnnxFiles.of(home).weights
    weights.unlink()
    weights.write_bytes(os.urandom(1000))
    said: list[str] = []

    def quickly(home: Path) -> None:
        """As `export`, whose ten seconds the other tests have paid."""
        shutil.rmtree(OnnxFiles.of(home).folder)
        shutil.copytree(OnnxFiles.of(exported).folder, OnnxFiles.of(home).folder)

    monkeypatch.setattr(onnx_export, "export", quickly)
    loaded = loading.load(home, "", said.append)
    assert loaded.note == ""
    assert OnnxFiles.of(home).problem() == ""
    assert "weights.bin is not as it was made" in said[0]


def test_where_nothing_can_be_exported_sentence_transformers_serves_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(home: Path) -> Exported:
        raise ModelError("12 MB are free for the ONNX model, 400 are needed")

    monkeypatch.setattr(onnx_export, "export", full)
    loaded = loading.load(tmp_path, "all-MiniLM-L6-v2", lambda said: None)
    assert loaded.model.id == BUNDLED_ID
    assert "12 MB are free" in loaded.note
    assert loaded.model.passage("text").codes


def test_a_disk_without_room_or_wrong_weights_are_told_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = OnnxFiles.of(tmp_path)
    files.folder.parent.mkdir()
    monkeypatch.setattr(onnx_export, "ROOM", 2**60)
    with pytest.raises(ModelError, match="MB are free"):
        onnx_export.make(files)
    monkeypatch.setattr(onnx_export, "ROOM", 0)
    fake = tmp_path / "package"
    fake.mkdir()
    (fake / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(onnx_export, "bundled_folder", lambda: fake)
    with pytest.raises(ModelError, match="not the ones expected"):
        onnx_export.make(files)
    assert list(files.folder.parent.iterdir()) == []


def test_an_export_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder belongs")
    with pytest.raises(ModelError, match="could not be exported: ") as raised:
        export(tmp_path)
    assert "\n" not in str(raised.value)


def test_what_serves_loads_neither_torch_nor_transformers(exported: Path) -> None:
    program = """
import sys
from pathlib import Path
from engram_runtime.memory.loading import load
load(Path(sys.argv[1]), "", print).model.passage("text")
heavy = ("torch", "transformers", "sentence_transformers", "onnx", "sqlalchemy")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(exported)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nowhere/model", "there is no folder /nowhere/model"),
        ("no/such-model-anywhere", "nothing is downloaded"),
    ],
)
def test_a_model_that_is_not_there_is_told_in_words(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        loading.load(tmp_path, name, lambda text: None)
