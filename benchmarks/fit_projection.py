"""Makes `engram_runtime/memory/projection.npy`: `python -m benchmarks.fit_projection [--out FILE]`.

Principal components (uncentred, since cosines are kept) of the default model's token vectors over 3,000 paragraphs of
the documentation that comes with Python: text that everyone has, under Python's licence. Another Python version has
slightly other paragraphs and gives slightly other components; so the file is part of the package, and `pooling.VERSION`
is to be raised whenever it changes.
"""

from __future__ import annotations

import argparse
import ast
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

import numpy

from benchmarks.recall_house import load_model
from engram_runtime.memory import pooling
from engram_runtime.memory.model import MiniLM

PARAGRAPHS = 3000
LONGEST = 400
FEWEST_WORDS = 6
SEED = 1


def paragraphs() -> list[str]:
    """Paragraphs of docstrings and of the language reference."""
    found = list(dict.fromkeys(text[:LONGEST] for text in _all() if len(text.split()) >= FEWEST_WORDS))
    random.Random(SEED).shuffle(found)
    return found[:PARAGRAPHS]


def _all() -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            told = ast.get_docstring(node) if isinstance(node, documented) else None
            yield from _split(told or "")
    for told in topics.topics.values():
        yield from _split(told)


def _split(text: str) -> Iterator[str]:
    return (" ".join(part.split()) for part in text.split("\n\n"))


def main() -> None:
    """Encode, decompose, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_projection", description=__doc__)
    parser.add_argument("--cache", type=Path, help="keeps the model between runs")
    parser.add_argument("--out", type=Path, default=Path(pooling.__file__).with_name("projection.npy"))
    options = parser.parse_args()
    model = load_model(options.cache)
    assert isinstance(model, MiniLM)
    spread = numpy.zeros((model.dim, model.dim))
    for text in paragraphs():
        asked = model.question(text).tokens
        if asked is not None and len(asked.ids):
            rows = asked.tokens / numpy.linalg.norm(asked.tokens, axis=1, keepdims=True)
            spread += rows.T.astype(numpy.float64) @ rows
    variances, components = numpy.linalg.eigh(spread)
    kept = components[:, numpy.argsort(-variances)[: pooling.CODE_SIZE]]
    # The sign of a component means nothing: its largest number is made positive, so that a run can be compared.
    kept = kept * numpy.sign(kept[numpy.abs(kept).argmax(axis=0), numpy.arange(pooling.CODE_SIZE)])
    numpy.save(options.out, kept.astype(numpy.float16))
    share = numpy.sort(variances)[::-1][: pooling.CODE_SIZE].sum() / variances.sum()
    print(f"{options.out}: {pooling.CODE_SIZE} components hold {share:.3f} of the variance")


if __name__ == "__main__":
    main()
