"""Which model a setting means, and getting it ready: the ONNX file if it is whole, made anew if it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engram_runtime.memory import onnx_model
from engram_runtime.memory.model import Model, ModelError, SentenceModel, bundled_in_torch, is_bundled

log = logging.getLogger("engram.loading")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that works. `note` says what it does without; "" where nothing is missing."""

    model: Model
    note: str = ""


def load(home: Path, name: str, say: Callable[[str], None]) -> Loaded:
    """Loads a model by name or path; the default comes from its package. Never uses the network.

    `say` is told what takes long. Raises ModelError with a reason for people.
    """
    loaded = _bundled(home, say) if is_bundled(name) else Loaded(_other(name))
    loaded.model.passage("The first text pays for what is set up late.")
    return loaded


def _bundled(home: Path, say: Callable[[str], None]) -> Loaded:
    files = onnx_model.OnnxFiles.of(home)
    try:
        if files.problem():
            from engram_runtime.memory.onnx_export import export

            say(f"preparing the default model once, about ten seconds ({files.problem()})")
            export(home)
        return Loaded(onnx_model.load(files))
    except (ModelError, ImportError, OSError) as error:
        log.warning("sentence-transformers serves: %s", error)
        return Loaded(
            bundled_in_torch(), f"served by sentence-transformers, with 500 MB instead of 150: {error}"
        )


def _other(name: str) -> Model:
    looks_like_path = name.startswith((".", "/", "~"))
    path = Path(name).expanduser()
    if looks_like_path and not path.is_dir():
        raise ModelError(f"there is no folder {path}")
    try:
        return SentenceModel(str(path) if looks_like_path else name)
    except OSError as error:
        said = " ".join(str(error).split())[:160]
        raise ModelError(
            f"it is neither a folder nor in this machine's model cache, and nothing is downloaded while"
            f" agents run; fetch it once or give its path ({said})"
        ) from error
