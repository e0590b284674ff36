"""Types made ready for msgspec, one at a time.

msgspec works out how to read a struct when it is first asked to. Where a second thread asks for the same struct
meanwhile, it reads through what is half made and the process dies of SIGSEGV (msgspec 0.22.0, structs within
structs). So whatever several threads may read for the first time goes through `built`.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

_building = threading.Lock()
_built: set[object] = set()


def built(kind: T) -> T:
    """The type itself, once msgspec knows all of it. Raises TypeError for one that it cannot read."""
    if kind not in _built:
        with _building:
            msgspec.json.Decoder(cast(Any, kind))
            _built.add(kind)
    return kind
