"""The facade, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import engram_runtime
from engram_runtime import database
from engram_runtime.database import atomic, connect_bare, engine, exclusive, failure, load_vec
from engram_runtime.errors import StoreDamaged, StoreUnavailable
from engram_runtime.journal.events import TaskCreated
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings


def modules_after(code: str) -> set[str]:
    program = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_the_public_names_are_these() -> None:
    assert engram_runtime.__all__ == ["EngramError", "Runtime", "Settings"]
    assert all(getattr(engram_runtime, name) for name in engram_runtime.__all__)
    with pytest.raises(AttributeError):
        _ = engram_runtime.nothing  # type: ignore[attr-defined]


def test_a_preflight_loads_nothing_heavy() -> None:
    code = "import engram_runtime, engram_runtime.settings\nfrom engram_runtime import database, ids\ndatabase.driver()"
    assert not modules_after(code) & {
        "sqlalchemy",
        "detect_secrets",
        "requests",
        "msgspec",
        "asyncio",
        "numpy",
    }


def test_opening_and_appending_ordinary_events_loads_neither_models_nor_detectors(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from engram_runtime.runtime import Runtime
from engram_runtime.journal.events import TurnFinished
with Runtime.open(Path({str(tmp_path / "home")!r}), project="/p") as runtime:
    runtime.append(TurnFinished(text="all fine"))
    runtime.state.sessions()
"""
    assert not modules_after(code) & {
        "detect_secrets",
        "requests",
        "torch",
        "numpy",
        "textual",
        "sqlalchemy.orm",
    }


def test_home_and_project_come_from_the_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ENGRAM_BRIEFING_TOKENS", "700")
    monkeypatch.setenv("ENGRAM_NO_SUCH", "1")
    monkeypatch.chdir(tmp_path)
    with Runtime.open() as runtime:
        assert (runtime.home, runtime.project) == (tmp_path / "home", str(tmp_path.resolve()))
        assert runtime.settings.briefing_tokens == 700
        assert "ENGRAM_NO_SUCH" in runtime.warnings[0]
        assert runtime.session is None


def test_health_says_what_runs_and_how_far_it_is(runtime: Runtime, home: Path) -> None:
    runtime.append(TaskCreated(name="t"))
    health = runtime.health()
    assert (health.home, health.writable, health.problem) == (str(home), True, "")
    assert (health.journal_position, health.state_position) == (1, 1)
    assert health.driver in {"pysqlite3", "sqlean", "sqlite3"}
    assert health.sqlite_version == database.sqlite_version()
    assert health.journal_bytes > 0


def test_an_empty_append_writes_nothing(runtime: Runtime) -> None:
    assert runtime.append() == ()
    assert runtime.submit().result(0) == ()


def test_closing_twice_is_closing_once(home: Path) -> None:
    runtime = Runtime.open(home, project="/p", settings=Settings())
    runtime.append(TaskCreated(name="t"))
    runtime.close()
    runtime.close()


# --- database ---------------------------------------------------------------------------------------------


def test_connections_are_durable_and_concurrent(tmp_path: Path) -> None:
    bare = connect_bare(tmp_path / "x.sqlite", synchronous="FULL")
    assert bare.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert bare.execute("PRAGMA synchronous").fetchone() == (2,)
    bare.close()


def test_a_transaction_is_undone_as_a_whole(tmp_path: Path) -> None:
    made = engine(tmp_path / "x.sqlite")
    with made.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
        with pytest.raises(ZeroDivisionError), atomic(connection):
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            _ = 1 / 0
        with atomic(connection):
            connection.exec_driver_sql("INSERT INTO t VALUES (2)")
        assert connection.exec_driver_sql("SELECT a FROM t").scalars().all() == [2]
    made.dispose()


def test_vectors_are_at_hand_where_the_driver_can_load_them(tmp_path: Path) -> None:
    pytest.importorskip("sqlite_vec")
    made = engine(tmp_path / "x.sqlite", vectors=True)
    with made.connect() as connection:
        assert load_vec(connection)
        assert connection.exec_driver_sql("SELECT vec_length('[1,2,3]')").scalar() == 3
    made.dispose()


def test_driver_errors_become_the_errors_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no database" * 100)
    with pytest.raises(database.driver().Error) as caught:
        connect_bare(tmp_path / "x")
    assert isinstance(failure(caught.value, "X"), StoreDamaged)
    with pytest.raises(database.driver().Error) as caught:
        connect_bare(tmp_path / "none" / "x")
    assert isinstance(failure(caught.value, "X"), StoreUnavailable)
    assert "full" in str(failure(OSError(28, "No space left on device"), "X"))


def test_a_lock_file_holds_others_off(tmp_path: Path) -> None:
    code = (
        "import fcntl, os, sys\n"
        f"lock = os.open({str(tmp_path / 'lock')!r}, os.O_RDWR)\n"
        "try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except OSError: sys.exit(3)\n"
    )
    with exclusive(tmp_path / "lock"):
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
