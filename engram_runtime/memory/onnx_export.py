"""Makes the ONNX file of the default model, once: `export(home)`, which runs this module in a process of its own.

sentence-transformers takes ten seconds and half a gigabyte to its first vector, ONNX Runtime a fifth of a second.
The file is only put in place after its vectors agreed with sentence-transformers' on texts of all kinds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engram_runtime.database import exclusive
from engram_runtime.memory.model import (
    ModelError,
    bundled_folder,
    check_weights,
    sentence_transformer,
)
from engram_runtime.memory.onnx_model import OnnxFiles, load
from engram_runtime.memory.worker_client import environment
from engram_runtime.paths import make_private_folder

if TYPE_CHECKING:
    from engram_runtime.memory.model import MiniLM

LEAST_COSINE = 0.9999
OPSET = 17
EXPORT_SECONDS = 300.0
ROOM = 400 * 1024 * 1024
"""Bytes that must be free: the file twice, and what the exporter writes meanwhile."""

PROBES = (
    "Redis runs on port 6380.",
    "a",
    "The nightly build fails with ECONNRESET because src/net/proxy.py closes keep-alive connections after 30 s.",
    "def parse_config(path: str) -> dict[str, object]: ...",
    "Überraschung: naïve café, œuvre, smørrebrød.",
    "デプロイは金曜日に凍結されます。部署在周五冻结。",
    "🙂 emoji, tabs\tand\nnew lines",
    "Traceback (most recent call last): KeyError: 'user_id' " * 60,
)
"""Texts on which both runtimes must agree: short, long past the limit, code, other scripts."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What `export` did: "present" files were whole already. `cosine` is the least agreement on the probe texts."""

    folder: Path
    outcome: Literal["made", "present"]
    seconds: float
    cosine: float | None = None


def export(home: Path, *, seconds: float = EXPORT_SECONDS) -> Exported:
    """Sees to it that the home has a whole ONNX file of the default model; makes it in a process of its own.

    Several at once: one works, the others wait. Raises ModelError saying why it cannot be had.
    """
    files = OnnxFiles.of(home)
    started = time.monotonic()
    if not files.problem():
        return Exported(files.folder, "present", round(time.monotonic() - started, 2))
    command = [sys.executable, "-P", "-m", "engram_runtime.memory.onnx_export", str(home.absolute())]
    try:
        done = subprocess.run(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(f"the default model could not be exported: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"the default model could not be exported: {said}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    took = round(time.monotonic() - started, 2)
    return Exported(files.folder, answer["outcome"], took, answer["cosine"])


def main(arguments: list[str] | None = None) -> int:
    """Makes the file and prints {"outcome", "cosine"} as JSON; a reason on stderr and exit code 1 otherwise."""
    parser = argparse.ArgumentParser(prog="onnx_export")
    parser.add_argument("home", type=Path)
    files = OnnxFiles.of(parser.parse_args(arguments).home)
    os.umask(0o077)
    try:
        make_private_folder(files.folder.parent)
        with exclusive(files.folder.with_suffix(".lock")):
            if not files.problem():
                print(json.dumps({"outcome": "present", "cosine": None}))  # noqa: T201  the answer
                return 0
            cosine = make(files)
    except (ModelError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except Exception as error:  # noqa: BLE001  process boundary: whatever the exporter raises is told in one line
        sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n")
        return 1
    print(json.dumps({"outcome": "made", "cosine": cosine}))  # noqa: T201  the answer
    return 0


def make(files: OnnxFiles) -> float:
    """Writes the files and puts them in place. Returns the least agreement. Raises ModelError, OSError.

    For a process that may load torch, under the lock of the folder.
    """
    free = shutil.disk_usage(files.folder.parent).free
    if free < ROOM:
        raise ModelError(f"{free // 2**20} MB are free for the ONNX model, {ROOM // 2**20} are needed")
    source = bundled_folder()
    check_weights(source / "model.safetensors")
    fresh = OnnxFiles(files.folder.with_suffix(".new"))
    shutil.rmtree(fresh.folder, ignore_errors=True)
    make_private_folder(fresh.folder)
    try:
        encoder = sentence_transformer(str(source))
        _write_graph(encoder, fresh)
        shutil.copyfile(source / "tokenizer.json", fresh.tokenizer)
        fresh.seal()
        cosine = _agreement(encoder, load(fresh))
        if cosine < LEAST_COSINE:
            raise ModelError(
                f"the ONNX model does not agree with sentence-transformers (cosine {cosine:.5f})"
            )
        shutil.rmtree(files.folder, ignore_errors=True)
        fresh.folder.rename(files.folder)
    finally:
        shutil.rmtree(fresh.folder, ignore_errors=True)
    return cosine


def _write_graph(encoder: Any, files: OnnxFiles) -> None:
    import onnx
    import torch

    class States(torch.nn.Module):
        """The network with its last hidden states as the only output."""

        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            return self.network(**given, token_type_ids=token_type_ids).last_hidden_state

    names = ["input_ids", "attention_mask", "token_type_ids"]
    sample = torch.ones((2, 7), dtype=torch.int64)
    whole = files.folder / "whole.onnx"
    # The exporter warns about its own age and traces what never varies here.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.onnx.export(
            States(encoder[0].auto_model.eval()),
            (sample, sample, torch.zeros_like(sample)),
            whole,
            input_names=names,
            output_names=["states"],
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in (*names, "states")},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.save_model(
        onnx.load(str(whole)),
        str(files.graph),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=files.weights.name,
        size_threshold=1024,
    )
    whole.unlink()


def _agreement(encoder: Any, model: MiniLM) -> float:
    """Least cosine of the two runtimes' mean-pooled vectors over the probe texts."""
    theirs = encoder.encode(list(PROBES), normalize_embeddings=True, show_progress_bar=False)
    return min(float(row @ model.mean(text)) for row, text in zip(theirs, PROBES, strict=True))


if __name__ == "__main__":
    sys.exit(main())
