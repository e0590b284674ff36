"""The client's end of the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engram_runtime.errors import EngramError
from engram_tui import messages as wire
from engram_tui.client import Unreachable, WireClient, request
from tests.fakes.ui import short_folder, until
from tests.fakes.wire_server import WireServer


async def test_requests_get_json_and_errors_say_what_happened() -> None:
    folder = short_folder()
    async with WireServer(folder / "s") as server:
        got = await asyncio.to_thread(request, server.path, "GET", "/session")
        assert (got["agent"], got["journal_position"]) == ("claude", 4211)
        assert await asyncio.to_thread(request, server.path, "POST", "/checkpoint", {"note": "x"}) == {
            "done": "checkpoint"
        }
        assert server.posted == [("checkpoint", '{"note": "x"}')]
        with pytest.raises(EngramError, match="there is no nonsense"):
            await asyncio.to_thread(request, server.path, "POST", "/nonsense")
    with pytest.raises(Unreachable, match="engram sessions"):
        request(folder / "s", "GET", "/session")
    folder.rmdir()


async def test_messages_keep_their_order_and_unknown_kinds_are_passed_over() -> None:
    folder = short_folder()
    heard: list[Any] = []
    links: list[str] = []
    async with WireServer(folder / "s") as server:
        client = WireClient(
            server.path, on_message=lambda k, v: heard.append((k, v)), on_link=lambda s, _: links.append(s)
        )
        assert not client.send(wire.Key(key="a")), "nothing is sent, or kept, without a connection"
        client.send(wire.Resize(cols=10, rows=2))
        task = asyncio.create_task(client.run())
        await until(lambda: len(heard) == 2)
        assert [kind for kind, _ in heard] == [b"f", b"s"]
        for i in range(50):
            assert client.send(wire.Key(key=str(i)))
        await until(lambda: len(server.said(wire.Key)) == 50)
        assert [key.key for key in server.said(wire.Key)] == [str(i) for i in range(50)]
        for ui in server.uis:
            await ui.send_bytes(b"?new")
            await ui.send_bytes(b"s\xff")
        await server.say(wire.Notice(text="after"))
        await until(lambda: len(heard) == 3)
        await server.end()
        assert await task == (
            "ended",
            wire.Ended(verdict="finished", exit_code=0, line="finished · checkpoint v8 durable"),
        )
    assert links == ["connecting", "connected"]
    folder.rmdir()


async def test_a_client_that_was_left_does_not_come_back() -> None:
    folder = short_folder()
    async with WireServer(folder / "s") as server:
        client = WireClient(server.path, on_message=lambda k, v: None, on_link=lambda s, _: None)
        client.send(wire.Resize(cols=10, rows=2))
        task = asyncio.create_task(client.run())
        await until(lambda: client.connected and server.uis)
        client.leave()
        await server.hang_up()
        assert await task == ("live", None)
    folder.rmdir()


async def test_without_a_socket_the_session_is_over() -> None:
    client = WireClient(short_folder() / "none", on_message=lambda k, v: None, on_link=lambda s, _: None)
    assert await client.run() == ("ended", None)
