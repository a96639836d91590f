"""A recorder passes on everything that matters, so that what it records is what happened."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from lanscribe.engines.fake import spoken
from tests.contract import Broken
from tests.protocols.recorder import recording
from tests.servers import Server
from tests.support import client

CHOSEN = Subprotocol("realtime")


async def tell(connection: ServerConnection) -> None:
    """What the request had, then an echo, then a close with a code of its own."""
    request = connection.request
    assert request is not None
    await connection.send(f"{request.path} {request.headers['X-API-Key']}")
    await connection.send(await connection.recv())
    await connection.close(4321, "enough")


@asynccontextmanager
async def telling(tmp_path: Path) -> AsyncIterator[Server]:
    async with serve(tell, "127.0.0.1", 0, select_subprotocol=lambda *_: CHOSEN) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        yield Server(tmp_path / "none", port=port)


def test_everything_about_a_connection_is_passed_on(tmp_path: Path) -> None:
    async def converse() -> None:
        async with telling(tmp_path) as server, recording(server) as recorder:
            url = f"ws://127.0.0.1:{recorder.server.port}/a/path?and=query"
            offered = [Subprotocol("other"), CHOSEN]
            headers = {"X-API-Key": "secret"}
            async with connect(url, additional_headers=headers, subprotocols=offered) as one:
                assert one.subprotocol == CHOSEN
                assert await one.recv() == "/a/path?and=query secret"
                await one.send(b"\x00\xff")
                assert await one.recv() == b"\x00\xff"
                await one.wait_closed()
                assert (one.close_code, one.close_reason) == (4321, "enough")
            (line,) = recorder.lines
            await line.is_over.wait()
            assert (line.path, line.close_code) == ("/a/path", 4321)
            assert [sender for sender, _ in line.said] == ["server", "client", "server"]

    asyncio.run(converse())


def test_a_refusal_is_passed_on(fake_server: Server) -> None:
    async def converse() -> None:
        async with recording(fake_server) as recorder:
            with pytest.raises(InvalidStatus) as caught:
                await connect(recorder.server.url, origin="https://evil.example")  # type: ignore[arg-type]
            assert caught.value.response.status_code == 403
            assert b"not_allowed" in caught.value.response.body

    asyncio.run(converse())


def test_what_is_not_in_the_contract_is_found(fake_server: Server) -> None:
    async def converse() -> None:
        async with recording(fake_server) as recorder:
            async with client(recorder.server.url, "fake-numbers") as one:
                await one.transcribe(spoken([1, 2]))
                recorder.check("vllm")
                await one.connection.send('{"type":"response.create"}')
                await one.until("error")
            with pytest.raises(Broken, match=r"response\.create"):
                recorder.check("vllm")

    asyncio.run(converse())
