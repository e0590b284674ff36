"""The one module that decides which SQLite runs, how its connections are set up, and what a transaction is.

Nothing here imports SQLAlchemy before an engine is asked for: the preflight of a start uses `connect_bare`.

POSIX locks trap: closing any descriptor of a database file drops this process's SQLite locks on it. So
no other module may open a database file by other means (open(), another SQLite library) while one is in
use here.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from engram_runtime.errors import StoreDamaged, StoreError, StoreUnavailable
from engram_runtime.paths import clear_folder, make_private_file

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

C = TypeVar("C")
Synchronous = Literal["OFF", "NORMAL", "FULL", "EXTRA"]
Access = Literal["write", "read", "static"]

BUSY_SECONDS = 10.0
"""How long SQLite itself waits for a lock; writers of Engram queue on a lock file before they get here."""

# In order: newest SQLite with loadable extensions (before 3.51.3 WAL mode has a rare corruption bug), the one
# with wheels where the first has none, the interpreter's own.
_DRIVERS = (("pysqlite3", "pysqlite3.dbapi2"), ("sqlean", "sqlean.dbapi2"), ("sqlite3", "sqlite3.dbapi2"))


@functools.cache
def driver() -> Any:
    """The DBAPI module of the SQLite that is used."""
    for _, module in _DRIVERS:
        try:
            return importlib.import_module(module)
        except ImportError:
            continue
    raise AssertionError("the standard library has a SQLite driver")


def driver_name() -> str:
    """Name of the package the driver comes from: pysqlite3, sqlean or sqlite3."""
    loaded = driver().__name__
    return next(name for name, module in _DRIVERS if module == loaded)


def sqlite_version() -> str:
    """Version of the SQLite library, such as 3.53.4."""
    return str(driver().sqlite_version)


def connect_bare(
    path: Path | str, *, access: Access = "write", synchronous: Synchronous = "NORMAL", salvage: bool = False
) -> Any:
    """A DBAPI connection in autocommit mode, usable from any thread (one at a time).

    `access` "write" creates the file; "read" takes an existing one, refuses writes, and leaves its write-ahead
    log alone when it is closed (a writer folds a log into the file as far as it is sound, and drops the rest);
    "static" reads a file on a medium that cannot be written or locked (nobody else may write meanwhile).
    `salvage` lets queries run on a file that is shorter than its header says.
    Raises the driver's OperationalError or DatabaseError (`failure` translates them).
    """
    name = str(path)
    if access != "write":
        name = Path(name).absolute().as_uri() + ("?immutable=1" if access == "static" else "?mode=ro")
    connection = driver().connect(
        name,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        uri=access != "write",
        cached_statements=256,
    )
    try:
        for pragma in _pragmas(access, synchronous, salvage):
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _pragmas(access: Access, synchronous: Synchronous, salvage: bool) -> list[str]:
    pragmas = [
        # First: any other statement finds that a truncated file is shorter than its header says, and fails.
        *(["PRAGMA writable_schema=ON"] if salvage else []),
        # FULL: a COMMIT returns after fsync. NORMAL: only a wal_checkpoint syncs, enough for derived data.
        f"PRAGMA synchronous={synchronous}",
        "PRAGMA temp_store=MEMORY",
        # Views and triggers of a file that was tampered with may not call unsafe functions.
        "PRAGMA trusted_schema=OFF",
    ]
    if access != "write":
        return [*pragmas, "PRAGMA query_only=ON"]
    pragmas += [
        # Readers and the writer do not block each other.
        "PRAGMA journal_mode=WAL",
        # A WAL that grew behind a long reader shrinks again.
        "PRAGMA journal_size_limit=33554432",
    ]
    if sys.platform == "darwin":
        # fsync() on macOS leaves data in the drive's cache; F_FULLFSYNC does not.
        pragmas += ["PRAGMA fullfsync=ON", "PRAGMA checkpoint_fullfsync=ON"]
    return pragmas


def engine(
    path: Path | str,
    *,
    access: Access = "write",
    synchronous: Synchronous = "NORMAL",
    salvage: bool = False,
    vectors: bool = False,
) -> Engine:
    """A SQLAlchemy engine over `connect_bare`; threads draw connections from its pool.

    Connections are in autocommit mode: several statements are one transaction only inside `atomic`.
    `vectors` loads sqlite-vec on each connection where it can be had. ":memory:" gives one connection that
    all threads share; the caller serialises its use.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import QueuePool, StaticPool

    def connect() -> Any:
        bare = connect_bare(path, access=access, synchronous=synchronous, salvage=salvage)
        if vectors:
            load_vec(bare)
        return bare

    in_memory = str(path) == ":memory:"
    options: dict[str, Any] = {} if in_memory else {"pool_size": 8, "max_overflow": 24}
    return create_engine(
        "sqlite://",
        module=driver(),
        creator=connect,
        poolclass=StaticPool if in_memory else QueuePool,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        **options,
    )


@contextlib.contextmanager
def atomic(connection: C) -> Iterator[C]:
    """One write transaction: BEGIN IMMEDIATE, COMMIT at the end, ROLLBACK when the block raises.

    For SQLAlchemy's connections and, where every microsecond counts, the driver's.
    """
    execute = _execute_of(connection)
    execute("BEGIN IMMEDIATE")
    try:
        yield connection
        execute("COMMIT")
    except BaseException:
        undo(connection)
        raise


def undo(connection: Any) -> None:
    """Roll back what is open; SQLite may have done so itself (full disk, IO error)."""
    with contextlib.suppress(*errors()):
        _execute_of(connection)("ROLLBACK")


def _execute_of(connection: Any) -> Callable[[str], Any]:
    return getattr(connection, "exec_driver_sql", None) or connection.execute  # type: ignore[no-any-return]


def driver_connection(connection: Connection) -> Any:
    """The driver's connection under a held SQLAlchemy connection: 60 µs a transaction cheaper, for hot paths."""
    return connection.connection.driver_connection


def errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What connections raise: the driver's errors, and SQLAlchemy's around them where it is loaded."""
    alchemy = sys.modules.get("sqlalchemy.exc")
    return (driver().Error, *((alchemy.SQLAlchemyError,) if alchemy else ()), *more)


def failure(error: Exception, what: str) -> StoreError:
    """The error to raise for a driver's error: StoreDamaged for a corrupt file, else StoreUnavailable.

    `what` names the file as people know it ("The journal").
    """
    cause = getattr(error, "orig", None) or error
    name = str(getattr(cause, "sqlite_errorname", "") or "")
    text = str(cause)
    if isinstance(cause, OSError) and cause.strerror:
        text = cause.strerror + (f": {cause.filename}" if cause.filename else "")
    if (
        name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        or "malformed" in text
        or "not a database" in text
        # Bytes in a text that are no UTF-8: Engram writes none.
        or "Could not decode" in text
    ):
        return StoreDamaged(f"{what} is damaged ({text}).", hint="Run `engram recover`.")
    if name.startswith("SQLITE_FULL") or "is full" in text or "No space" in text:
        return StoreUnavailable(f"{what} cannot be written: the disk is full.", hint="Free some space.")
    if name.startswith("SQLITE_BUSY") or "locked" in text:
        return StoreUnavailable(f"{what} is locked by another program.", hint="Close that program.")
    hint = "Check the disk's free space, quota and permissions."
    return StoreUnavailable(f"{what} cannot be used ({text}).", hint=hint)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """Hold a lock file against other processes (and threads) while the block runs; gives its descriptor.

    flock, not SQLite's own lock: waiters queue in the kernel instead of polling, and a killed holder's
    lock is gone at once. The lock file is never a database file.
    """
    clear_folder(path)
    make_private_file(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def load_vec(connection: Any) -> bool:
    """Load sqlite-vec into a DBAPI connection (or SQLAlchemy's); False where that cannot be done."""
    bare = getattr(getattr(connection, "connection", connection), "driver_connection", connection)
    # Not imported: the package imports numpy (20 MB) and the interpreter's own SQLite, only to tell this path.
    package = importlib.util.find_spec("sqlite_vec")
    if package is None or package.origin is None:
        return False
    try:
        bare.enable_load_extension(True)
        try:
            bare.load_extension(str(Path(package.origin).with_name("vec0")))
        finally:
            bare.enable_load_extension(False)
    except (AttributeError, driver().Error):
        return False
    return True
