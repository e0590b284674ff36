from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

from engram_runtime.memory import worker_client
from engram_runtime.memory.embed_worker import main
from engram_runtime.memory.embedder import NoEmbedder, embedder_for
from engram_runtime.memory.model import ModelError, bundled_folder, check_weights
from engram_runtime.memory.turns import Busy, Turns
from engram_runtime.memory.wire import MAX_FRAME, Ask, Status, WireError, WorkerPlace, receive, send
from engram_runtime.memory.worker_client import WorkerEmbedder
from tests.support import wait_until


def test_the_socket_of_a_home_with_a_long_path_is_in_a_short_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path)[:59] if len(str(tmp_path)) < 60 else "")
    home = tmp_path / ("h" * 120)
    home.mkdir()
    place = WorkerPlace.of(home, "")
    place.make_folders()
    try:
        assert len(os.fsencode(place.socket)) <= 100
        assert stat.S_IMODE(place.socket.parent.stat().st_mode) == 0o700
        assert place.lock.parent == home / "run"
        assert place == WorkerPlace.of(home, "")
        assert place.socket != WorkerPlace.of(tmp_path / ("i" * 120), "").socket
    finally:
        place.socket.parent.rmdir()


def test_a_home_with_a_short_path_keeps_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WorkerPlace.of(Path("/h/.engram"), "").socket.parent == Path("/h/.engram/run")
    assert WorkerPlace.of(Path("/h"), "a") != WorkerPlace.of(Path("/h"), "b")


def test_frames_come_through_in_pieces_and_end_cleanly() -> None:
    here, there = socket.socketpair()
    with here, there:
        threading.Thread(target=lambda: (send(here, Ask(("x" * 300_000,))), here.close())).start()
        body = receive(there)
        assert body is not None
        assert len(body) > 300_000
        assert receive(there) is None


@pytest.mark.parametrize("sent", [struct.pack(">I", 100) + b"half", b"\x00"])
def test_a_frame_cut_off_is_an_error(sent: bytes) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(sent)
        here.close()
        with pytest.raises(WireError, match="middle"):
            receive(there)


def test_a_frame_that_says_it_is_huge_is_refused_unread() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(struct.pack(">I", MAX_FRAME + 1))
        there.settimeout(1)
        with pytest.raises(WireError, match="bytes"):
            receive(there)


def test_without_a_worker_there_is_no_vector_and_no_wait(home: Path) -> None:
    client = WorkerEmbedder(home)
    started = time.monotonic()
    assert client.embed(("text",), within=5.0) is None
    assert time.monotonic() - started < 1.0
    assert client.state == "starting"


def test_the_worker_is_known_by_its_pid_so_that_nobody_ends_it_for_another(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = WorkerEmbedder(home)
    assert (client.worker, NoEmbedder().worker) == (None, None)
    monkeypatch.setattr(worker_client.os, "posix_spawn", lambda *_, **__: 4711)
    client.ensure()
    assert client.worker == 4711


@pytest.mark.parametrize("answer", [b"", b"nonsense", struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1"])
def test_a_worker_that_is_silent_or_talks_nonsense_is_not_waited_for(home: Path, answer: bytes) -> None:
    place = WorkerPlace.of(home, "")
    place.make_folders()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.socket))
        listener.listen()

        def peer() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(answer)
                connection.settimeout(5)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=peer)
        thread.start()
        started = time.monotonic()
        assert WorkerEmbedder(home).embed(("text",), within=0.2) is None
        assert time.monotonic() - started < 1.0
        thread.join(5)


def test_a_worker_that_cannot_be_started_is_a_failure_not_tried_again_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = WorkerEmbedder(home)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert client.ensure().startswith("failed(the embedding worker cannot be started")
    monkeypatch.setattr(worker_client.os, "posix_spawn", lambda *_, **__: pytest.fail("tried again"))
    assert client.ensure().startswith("failed(")


def test_a_worker_that_dies_at_once_is_told_with_its_code(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = WorkerEmbedder(home)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    client.ensure()
    wait_until(lambda: client.ensure().startswith("failed(the embedding worker ended with code 1"), 5)


def test_a_model_can_be_switched_off(home: Path) -> None:
    assert isinstance(embedder_for(home, " Off "), NoEmbedder)
    assert NoEmbedder().ensure() == "off"


def test_weights_that_are_not_the_ones_expected_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    check_weights(file, hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(ModelError, match="not the ones expected"):
        check_weights(file)


def test_the_bundled_model_is_the_one_expected() -> None:
    check_weights(bundled_folder() / "model.safetensors")


def test_a_worker_without_a_home_ends(tmp_path: Path) -> None:
    assert main([str(tmp_path / "nowhere"), ""]) == 1


def test_an_urgent_request_goes_before_waiting_bulk() -> None:
    turns, order = Turns(), []

    def work(name: str, urgent: bool) -> None:
        turns.take(urgent=urgent)
        order.append(name)
        turns.give_back()

    turns.take(urgent=False)
    bulk = [threading.Thread(target=work, args=(f"bulk {n}", False)) for n in range(3)]
    query = threading.Thread(target=work, args=("query", True))
    for thread in bulk:
        thread.start()
    query.start()
    wait_until(lambda: turns._urgent == 1, 5)
    turns.give_back()
    for thread in (*bulk, query):
        thread.join(5)
    assert order[0] == "query"
    assert len(order) == 4


def test_a_turn_that_does_not_come_in_time_is_given_up() -> None:
    turns = Turns()
    turns.take(urgent=False)
    with pytest.raises(Busy):
        turns.take(urgent=True, within=0.01)
    turns.give_back()
    # Nobody is thought to wait any more: others come through.
    turns.take(urgent=False, within=0.01)


def test_status_and_ask_are_told_apart_on_the_wire() -> None:
    import msgspec

    body = msgspec.msgpack.encode(Status())
    assert isinstance(msgspec.msgpack.decode(body, type=Ask | Status), Status)
