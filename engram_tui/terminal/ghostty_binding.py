"""libghostty-vt through cffi without its 200 ms start: the parsed C declarations are kept as a generated module.

`import pyghostty` parses 3,000 lines of C every time. Here cffi writes the parsed form once, to
`$XDG_CACHE_HOME/engram`, and later starts load that (8 ms). The pyghostty package itself is never imported: only its
declarations and its library are used. Without a writable cache the declarations are parsed at each start.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from engram_tui.terminal.screen import ScreenUnavailable

# cffi cannot pass unions by value in ABI mode; a struct with the same layout has the same calling convention.
_TWINS: Final = """
typedef struct { uint16_t x; uint32_t y; uint64_t _pad; } GhosttyPointValueS;
typedef struct { GhosttyPointTag tag; GhosttyPointValueS value; } GhosttyPointS;
typedef struct { intptr_t value; uint64_t _pad; } GhosttyScrollValueS;
typedef struct { GhosttyTerminalScrollViewportTag tag; GhosttyScrollValueS value; } GhosttyScrollViewportS;
"""


@dataclass(frozen=True, slots=True)
class Binding:
    """cffi's two handles on the library, and the functions that need a twin to be callable."""

    ffi: Any
    lib: Any
    grid_ref: Any
    scroll_viewport: Any


@cache
def load() -> Binding:
    """The library, ready to call. Raises ScreenUnavailable if pyghostty is not installed or cannot be loaded."""
    try:
        package = _package_folder()
        library = _library(package)
        ffi = _cached_ffi(package) or _parse(package)
        lib = ffi.dlopen(str(library))
        return Binding(
            ffi=ffi,
            lib=lib,
            grid_ref=ffi.cast(
                "GhosttyResult(*)(GhosttyTerminal, GhosttyPointS, GhosttyGridRef*)",
                ffi.addressof(lib, "ghostty_terminal_grid_ref"),
            ),
            scroll_viewport=ffi.cast(
                "void(*)(GhosttyTerminal, GhosttyScrollViewportS)",
                ffi.addressof(lib, "ghostty_terminal_scroll_viewport"),
            ),
        )
    except (ImportError, OSError, AttributeError) as error:
        raise ScreenUnavailable(f"libghostty-vt: {error}") from error


def cache_folder() -> Path:
    """Where generated code is kept: `$XDG_CACHE_HOME/engram`, by default `~/.cache/engram`."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "engram"


def _package_folder() -> Path:
    spec = importlib.util.find_spec("pyghostty")
    if spec is None or spec.origin is None:
        raise ImportError("pyghostty is not installed")
    return Path(spec.origin).parent


def _library(package: Path) -> Path:
    for suffix in (".so", ".dylib", ".dll"):
        library = package / "_lib" / f"libghostty-vt{suffix}"
        if library.exists():
            return library
    raise OSError(f"no library in {package / '_lib'}")


def _cache_name(package: Path) -> str:
    """Module name that changes with pyghostty, its declarations, cffi and our twins."""
    import _cffi_backend  # type: ignore[import-untyped]

    found = re.search(r"__version__\s*=\s*[\"']([^\"']+)", (package / "__init__.py").read_text())
    version = found[1] if found else "0"
    size = (package / "_cdef.py").stat().st_size
    return re.sub(r"\W", "_", f"ghostty_abi_{version}_{size}_{_cffi_backend.__version__}_{len(_TWINS)}")


def _cached_ffi(package: Path) -> Any | None:
    """The generated declarations, made now if need be; None if the cache cannot be used."""
    try:
        folder = cache_folder()
        path = folder / f"{_cache_name(package)}.py"
        if not path.exists():
            _generate(package, path)
        if not _is_ours(folder) or not _is_ours(path):
            return None
        return _run_module(path, path.stem).ffi
    except (OSError, SyntaxError, AttributeError, ImportError, RuntimeError):
        # Any defect of the cache only costs the slow way.
        return None


def _is_ours(path: Path) -> bool:
    """Whether nobody but this user could have written it: it is about to be run."""
    if not hasattr(os, "getuid"):
        return True
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _generate(package: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ffi = _parse(package)
    ffi.set_source(path.stem, None)
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".py.tmp")
    os.close(descriptor)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # cffi announces the file it writes
            ffi.emit_python_code(name)
        Path(name).chmod(0o600)  # cffi replaces the file, so its mode is the umask's
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _parse(package: Path) -> Any:
    from cffi import FFI  # type: ignore[import-untyped]

    ffi = FFI()
    ffi.cdef(_run_module(package / "_cdef.py", "_ghostty_declarations").CDEF + _TWINS)
    return ffi


def _run_module(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop(name, None)
    return module
