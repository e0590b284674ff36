"""The default model as an ONNX file in the home: where it is, whether it is whole, and running it.

The weights are a file of their own, which ONNX Runtime maps: of the vocabulary's table, half of the model, only the
rows that are used are ever in memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engram_runtime.memory.model import BUNDLED_SHA256, THREADS, MiniLM, ModelError, sha256_of
from engram_runtime.paths import HomeFiles

if TYPE_CHECKING:
    from engram_runtime.memory.model import Floats, Forward

FORMAT = 1
"""Changed whenever the export changes what it writes; it is part of the folder's name."""


@dataclass(frozen=True, slots=True)
class OnnxFiles:
    """The files of the exported default model."""

    folder: Path

    @classmethod
    def of(cls, home: Path) -> OnnxFiles:
        """Those of a home; creates nothing."""
        return cls(HomeFiles(home).models / f"{BUNDLED_SHA256[:12]}-{FORMAT}")

    @property
    def graph(self) -> Path:
        """The network without its larger weights."""
        return self.folder / "model.onnx"

    @property
    def weights(self) -> Path:
        """The larger weights, named by the graph."""
        return self.folder / "weights.bin"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, as it came with the model."""
        return self.folder / "tokenizer.json"

    @property
    def digests(self) -> Path:
        """SHA-256 of each of the others."""
        return self.folder / "digests.json"

    @property
    def parts(self) -> tuple[Path, ...]:
        """What `digests` covers."""
        return (self.graph, self.weights, self.tokenizer)

    def seal(self) -> None:
        """Writes down what the files are now."""
        self.digests.write_text(json.dumps({part.name: sha256_of(part) for part in self.parts}), "utf-8")

    def problem(self) -> str:
        """Why the files cannot be used; "" when they are as they were made (0.1 s: 90 MB are read)."""
        try:
            said = json.loads(self.digests.read_text("utf-8"))
            changed = [part.name for part in self.parts if sha256_of(part) != said.get(part.name)]
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing" if self.folder.is_dir() else "not made yet"
        except (OSError, ValueError, AttributeError) as error:
            return f"cannot be read: {error}"
        return f"{', '.join(changed)} is not as it was made" if changed else ""


def load(files: OnnxFiles) -> MiniLM:
    """The model in ONNX Runtime. Raises ModelError when a file is missing, altered, or not understood."""
    problem = files.problem()
    if problem:
        raise ModelError(f"the ONNX model in {files.folder}: {problem}")
    return MiniLM(files.tokenizer, onnx_forward(files.graph))


def onnx_forward(graph: Path) -> Forward:
    """The network in ONNX Runtime, on one thread. Raises ModelError."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = int(THREADS)
    options.log_severity_level = 3
    # Texts have all lengths: an arena and its plans would keep room for the longest of each.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors have no public base class
        raise ModelError(f"ONNX Runtime cannot load {graph}: {error}") from error

    def forward(ids: list[int]) -> Floats:
        given = numpy.array([ids], numpy.int64)
        fed = {
            "input_ids": given,
            "attention_mask": numpy.ones_like(given),
            "token_type_ids": numpy.zeros_like(given),
        }
        states: Floats = session.run(None, fed)[0][0]
        return states

    return forward
