"""Who may talk to a session: the Unix socket is the user's, the loopback port wants token, Host and no Origin."""

from __future__ import annotations

import contextlib
import http.client
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engram_tui.client import request
from tests.integration.supervisor.demo_session import DemoSession

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G7")]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSession]:
    """One running session for all tests here."""
    with DemoSession(tmp_path_factory.mktemp("s")) as running:
        running.wait_working()
        yield running


@pytest.fixture
def port(session: DemoSession) -> int:
    """The session's TCP port."""
    assert session.run is not None
    listening = [c for c in psutil.Process(session.run.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]
    return int(listening[0].laddr.port)


def asked(port: int, path: str, headers: dict[str, str], method: str = "POST") -> int:
    """The status of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, b"{}", headers)
        return connection.getresponse().status


def bearer(session: DemoSession) -> dict[str, str]:
    """The right token."""
    name, _, value = (session.folder / "token").read_text().partition(": ")
    return {name: value}


def test_without_the_token_nothing_is_answered(session: DemoSession, port: int) -> None:
    assert asked(port, "/hooks/Stop", {}) == 401
    assert asked(port, "/mcp", {"Authorization": "Bearer wrong"}) == 401
    assert asked(port, "/hooks/Unheard", bearer(session)) == 200


def test_another_host_and_any_origin_are_refused(session: DemoSession, port: int) -> None:
    right = bearer(session)
    assert asked(port, "/hooks/Stop", {**right, "Host": "evil.example"}) == 421
    assert asked(port, "/hooks/Stop", {**right, "Origin": "http://127.0.0.1"}) == 403


@pytest.mark.parametrize("path", ["/session", "/stop", "/checkpoint", "/detach", "/attach", "/", "/hooksx"])
def test_control_is_not_served_on_tcp(session: DemoSession, port: int, path: str) -> None:
    assert asked(port, path, bearer(session)) == 404


def test_malformed_hooks_are_refused_without_harm(session: DemoSession, port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/hooks/Stop", b"not json", bearer(session))
        assert connection.getresponse().status == 400
    assert request(Path(session.info()["socket"]), "GET", "/session")["state"] == "busy"


def test_the_token_is_in_no_command_line_and_files_are_private(session: DemoSession) -> None:
    token = (session.folder / "token").read_text().split()[-1]
    for process in session.processes():
        assert token not in " ".join(process.cmdline())
    for path in [session.home, *session.home.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path} {mode:o}"


def test_the_unix_socket_answers_with_the_session(session: DemoSession) -> None:
    snapshot = request(Path(session.info()["socket"]), "GET", "/session")
    assert snapshot["agent"] == "demo"
    assert snapshot["task_name"].startswith("Write engram-demo")
    assert snapshot["protected"] is True
