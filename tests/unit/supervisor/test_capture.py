"""What a session teaches without anybody storing it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engram_tui.supervisor.capture import MOST_AN_HOUR, Capture, Decision, FixedFailure, decisions
from engram_tui.watch.observations import Prompted, ToolBegan, ToolEnded

ERROR = "Exit code 1\nKeyError: 'issuer' in tokens.py"


class Session:
    """A session's calls, and what was captured of them."""

    def __init__(self) -> None:
        self.found: list[FixedFailure | Decision] = []
        self.now = 0.0
        self.capture = Capture(self.found.append, lambda: self.now)
        self._ids = iter(range(10**6))

    def run(self, command: str, error: str = "") -> None:
        """A shell command that passes, or fails with this error."""
        call = str(next(self._ids))
        self.capture.saw(ToolBegan(tool="Bash", call_id=call, command=command))
        self.capture.saw(ToolEnded(tool="Bash", call_id=call, ok=not error, error=error))

    def edit(self, path: str = "/w/tokens.py", change: str = "'iss' → 'issuer'") -> None:
        """An edit that works."""
        call = str(next(self._ids))
        self.capture.saw(ToolBegan(tool="Edit", call_id=call, paths=(path,), change=change))
        self.capture.saw(ToolEnded(tool="Edit", call_id=call))


@pytest.fixture
def session() -> Iterator[Session]:
    yield Session()


def test_a_command_that_failed_and_passes_after_an_edit_is_a_failure_with_its_fix(session: Session) -> None:
    session.run("cd /w && pytest -q", ERROR)
    session.edit()
    session.run("pytest   -q")
    assert session.found == [FixedFailure("pytest -q", ERROR, "edited tokens.py: 'iss' → 'issuer'")]


def test_a_missing_package_is_fixed_by_installing_it(session: Session) -> None:
    session.run("pytest", "ModuleNotFoundError: No module named 'orjson'")
    session.run("ls -la")
    session.run(".venv/bin/python -m pip install orjson")
    session.run("pytest")
    (found,) = session.found
    assert isinstance(found, FixedFailure) and found.fix == "ran `.venv/bin/python -m pip install orjson`"


def test_a_pass_without_an_edit_teaches_nothing(session: Session) -> None:
    session.run("pytest", ERROR)
    session.run("cat tokens.py")
    session.run("pytest")
    session.run("grep x", "Exit code 1")
    session.edit()
    session.run("grep x")
    assert session.found == []


@pytest.mark.parametrize(
    "command",
    [
        "ls -la 2>/dev/null",
        "make -n > /dev/null 2>&1",
        "python -c 'print(1 if a > b else 2)'",
        "grep '=> x' a.js",
        "echo 'rm -rf build; npm install'",
        "python - <<'END'\nprint(1 > 0); x = \"a\"\nEND",
    ],
)
def test_a_command_that_only_looks_is_no_fix(session: Session, command: str) -> None:
    session.run("pytest", ERROR)
    session.run(command)
    session.run("pytest")
    assert session.found == []


@pytest.mark.parametrize("command", ["echo X=1 >> .env", "cat > a.py <<'END'\nx = 1\nEND", "sed -i s/a/b/ x"])
def test_a_command_that_writes_a_file_may_be_the_fix(session: Session, command: str) -> None:
    session.run("pytest", ERROR)
    session.run(command)
    session.run("pytest")
    assert len(session.found) == 1


def test_no_half_of_a_secret_is_left_where_something_is_cut_off(session: Session) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    session.run("pytest", ERROR)
    session.run(f"echo {'x' * 110} >> .env; pip install git+https://u:{secret}@host/repo")
    session.edit(change=f"{'y' * 120} {secret}")
    session.run("pytest")
    assert session.found and secret[:10] not in repr(session.found)


def test_attempts_at_the_same_failure_add_up_and_those_at_another_do_not(session: Session) -> None:
    session.run("pytest", ERROR)
    session.edit("/w/a.py", "first try")
    session.run("pytest", ERROR.replace("Exit code 1", "Exit code 2"))
    session.edit("/w/b.py", "second try")
    session.run("pytest", "TypeError: 'NoneType' object is not subscriptable in claims.py")
    session.edit("/w/c.py", "third try")
    session.run("pytest")
    (found,) = session.found
    assert isinstance(found, FixedFailure) and "claims.py" in found.error
    assert found.fix == "edited c.py: third try"


def test_only_so_much_is_kept_an_hour(session: Session) -> None:
    for i in range(2 * MOST_AN_HOUR):
        session.run(f"pytest {i}", ERROR)
        session.edit(change=str(i))
        session.run(f"pytest {i}")
    assert len(session.found) == MOST_AN_HOUR
    session.now = 3601
    session.run("tox", ERROR)
    session.edit()
    session.run("tox")
    assert len(session.found) == MOST_AN_HOUR + 1


def test_what_the_user_states_to_hold_is_kept(session: Session) -> None:
    session.capture.saw(
        Prompted(text="Fix the login. Always run make lint before committing. Can you always see it?")
    )
    assert session.found == [Decision("Always run make lint before committing.")]


@pytest.mark.parametrize(
    "prompt",
    [
        "Fix the login redirect",
        "why do we never see the error?",
        "Use the debugger to find out what happens",
        "don't touch the tests in this change",
        "We have a failing test in auth",
        "always",
        "The old code always returned None; change that",
        "Always returns None, no idea how to go on",
        "Never mind, do the other one",
        "We use the wrong table here",
        "We never got that to work",
        "Use foo.py instead of bar.py for this change",
        "In this project, the login fails",
        "In this repo, find the parser",
        "Remember to run the tests when done",
    ],
)
def test_ordinary_requests_are_no_decisions(prompt: str) -> None:
    assert decisions(prompt) == []


@pytest.mark.parametrize(
    "prompt",
    [
        "We use pnpm, not npm, in this repo.",
        "Never edit files under migrations/ by hand",
        "From now on write commit messages in English",
        "Please always use the service layer",
        "Prefer dataclasses over dicts",
        "Use httpx instead of requests everywhere.",
        "- Remember that staging has no GPU",
        "Never swallow errors",
        "Never return None from a service",
        "Always use the new API client",
    ],
)
def test_conventions_are_decisions(prompt: str) -> None:
    assert len(decisions(prompt)) == 1
