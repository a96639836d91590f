"""Sessions that outlive their socket: nothing is lost, nothing comes twice."""

import asyncio
import ctypes
import json
import random
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import Samples
from lanscribe.tasks import Changes
from tests.contract import contract
from tests.cutting import Cut, relay
from tests.protocols.mistral_driver import mistral_speaker
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S, Client, Event, Refused, client, counting, text_of

MODEL = "fake-numbers"
CHUNK = 1600
SO_ATTACH_FILTER = 26
"""Of Linux's asm-generic/socket.h: a program of the BPF that sees each packet first."""
CUTS = 200
CUTS_PER_SESSION = 25


class Persistent:
    """A client that sends utterances, resumes whenever its socket breaks, and keeps every event.

    wishes: what else it asks for.
    """

    def __init__(self, port: int, utterances: list[Samples], **wishes: bool) -> None:
        self._wishes = wishes
        self._url = f"ws://127.0.0.1:{port}/v1/realtime"
        self._utterances = utterances
        self._token = ""
        self._changes = Changes()
        self.events: list[Event] = []

    async def run(self) -> None:
        while sum(event["type"] == "transcription.done" for event in self.events) < len(
            self._utterances
        ):
            with suppress(ConnectionClosed, InvalidMessage, ConnectionError):
                await self._connect()

    async def _connect(self) -> None:
        query = f"?resume={self._token}&seen={len(self.events)}" if self._token else ""
        async with connect(self._url + query, ping_interval=None) as connection:
            greeting = json.loads(await connection.recv())
            if greeting["type"] == "error":
                assert greeting["code"] == "resume_failed"
                assert len(self.events) == 1, "the server gave up a session that it had to keep"
                self._token, self.events = "", []
                return
            if greeting["type"] == "session.created":
                self._token = greeting["resume"]["token"]
                self.events = [greeting]
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(connection, greeting))
                await self._receive(connection)
                sender.cancel()

    async def _send(self, connection: ClientConnection, greeting: Event) -> None:
        one = Client(connection)
        have, commits = greeting.get("received_samples", 0), greeting.get("received_commits", 0)
        with suppress(ConnectionClosed):
            await one.send(type="session.update", model=MODEL, resume=True, **self._wishes)
            for number, utterance in enumerate(self._utterances):
                if number < commits:
                    have -= len(utterance)
                    continue
                await one.commit(final=False)
                while have < len(utterance):
                    await self._until_heard(number, have)
                    await one.append(utterance[have : have + CHUNK])
                    have += CHUNK
                await one.send(type="input_audio_buffer.commit", final=True, seen=len(self.events))
                have = 0

    async def _until_heard(self, number: int, sent: int) -> None:
        """Stay at most 2 s ahead of the text, as who speaks does."""
        sent += sum(len(utterance) for utterance in self._utterances[:number])
        await self._changes.until(lambda: len(self.events) * 1280 > sent - 32_000)

    async def _receive(self, connection: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            await self._take_in(connection)

    async def _take_in(self, connection: ClientConnection) -> None:
        async for message in connection:
            contract("vllm").check("server", message)
            event = json.loads(message)
            assert event["seq"] == len(self.events) + 1
            self.events.append(event)
            self._changes.tell()
            if sum(event["type"] == "transcription.done" for event in self.events) == len(
                self._utterances
            ):
                return


def cuts_of(rng: random.Random, count: int) -> Iterator[Cut]:
    """At random bytes: within the handshake, within a frame, between two; up and down."""
    for _ in range(count):
        is_upward = rng.random() < 0.5
        yield Cut(rng.randint(1, 60_000 if is_upward else 4_000), is_upward)


@pytest.mark.parametrize("seed", range(CUTS // CUTS_PER_SESSION))
def test_a_socket_cut_at_any_byte_loses_no_event_and_brings_none_twice(
    fake_server: Server, seed: int
) -> None:
    rng = random.Random(seed)
    rows = [[rng.randint(1, 900) for _ in range(250)] for _ in range(4)]

    async def scenario() -> list[Event]:
        async with relay(fake_server.port, cuts_of(rng, CUTS_PER_SESSION)) as wire:
            persistent = Persistent(wire.port, [spoken(row) for row in rows])
            async with asyncio.timeout(DEADLINE_S):
                await persistent.run()
            assert wire.cuts_made >= CUTS_PER_SESSION - 2  # the last ones may come too late
            return persistent.events

    events = asyncio.run(scenario())
    done = [event for event in events if event["type"] == "transcription.done"]
    assert [event["text"] for event in done] == [counting(row) for row in rows]
    assert text_of(events) == "".join(counting(row) for row in rows)


FROM_ELSEWHERE: dict[str, Any] = {"local_addr": ("127.0.0.2", 0)}
"""Another address of this machine; macOS has it after `sudo ifconfig lo0 alias 127.0.0.2`."""


async def vanish(one: Client) -> None:
    """Break the socket without closing it."""
    one.connection.transport.abort()
    await one.connection.wait_closed()


def test_the_session_goes_on_where_the_audio_ended(fake_server: Server) -> None:
    async def scenario() -> None:
        async with client(fake_server.url) as one:
            await one.send(type="session.update", model=MODEL, resume=True)
            await one.commit(final=False)
            await one.append(spoken([1, 2, 3]))
            await one.receive()
            await vanish(one)
        token = one.greeting["resume"]["token"]
        async with connect(f"{fake_server.url}?resume={token}&seen=2") as connection:
            again = Client(connection)
            resumed = await again.receive()
            assert resumed == {
                "type": "session.resumed",
                "id": one.greeting["id"],
                "received_samples": 3 * 1280,
                "received_commits": 0,
            }
            await again.append(spoken([4]))
            await again.commit(final=True)
            events = await again.until("transcription.done")
        assert [event["seq"] for event in events] == list(range(3, 3 + len(events)))
        assert events[-1]["text"] == "1 2 3 4"

    asyncio.run(scenario())


def test_a_socket_that_is_still_open_is_closed_by_the_newer_one(fake_server: Server) -> None:
    """So it is after a change of address: the server cannot know that the old one is dead."""

    async def scenario() -> None:
        async with client(fake_server.url) as old:
            await old.send(type="session.update", model=MODEL, resume=True)
            await old.commit(final=False)
            await old.append(spoken([1]))
            token = old.greeting["resume"]["token"]
            url = f"{fake_server.url}?resume={token}&seen=1"
            async with connect(url, **FROM_ELSEWHERE) as connection:
                assert old.connection.local_address[0] != connection.local_address[0]
                new = Client(connection)
                assert (await new.receive())["type"] == "session.resumed"
                assert await old.close_code() == 4001
                await new.commit(final=True)
                assert (await new.until("transcription.done"))[-1]["text"] == "1"

    asyncio.run(scenario())


@pytest.mark.parametrize("query", ["resume=unknown&seen=1", "resume=&seen=1"])
def test_an_unknown_token_is_refused(fake_server: Server, query: str) -> None:
    async def scenario() -> None:
        async with client(f"{fake_server.url}?{query}"):
            pass

    with pytest.raises(Refused) as caught:
        asyncio.run(scenario())
    assert caught.value.args == ("resume_failed", 4004)


@pytest.mark.parametrize("seen", ["", "x", "-1", "1e1", "99", "9" * 5000])
def test_a_wrong_number_is_refused_and_harms_nobody(fake_server: Server, seen: str) -> None:
    async def scenario() -> None:
        async with client(fake_server.url, MODEL) as one:
            token = one.greeting["resume"]["token"]
            with pytest.raises(Refused) as caught:
                async with client(f"{fake_server.url}?resume={token}&seen={seen}"):
                    pass
            assert caught.value.args == ("resume_failed", 4004)
            assert (await one.transcribe(spoken([1])))["text"] == "1"

    asyncio.run(scenario())


def test_a_session_whose_client_stays_away_ends_and_frees_its_slot(
    serve_here: ServeHere,
) -> None:
    server = serve_here(engine={"sessions": 1}, resume={"keep_s": 1})

    async def scenario() -> None:
        async with client(server.url) as one:
            await one.send(type="session.update", model=MODEL, resume=True)
            await one.commit(final=False)
            await one.append(spoken([1]))
            await one.receive()
            await vanish(one)
        with pytest.raises(Refused) as caught:
            async with client(server.url):
                pass
        assert caught.value.args[0] == "server_busy"
        async with asyncio.timeout(DEADLINE_S):
            while not await is_free(server):
                pass
        with pytest.raises(Refused) as caught:
            async with client(f"{server.url}?resume={one.greeting['resume']['token']}&seen=1"):
                pass
        assert caught.value.args[0] == "resume_failed"

    asyncio.run(scenario())


async def is_free(server: Server) -> bool:
    try:
        async with client(server.url, MODEL) as one:
            return bool((await one.transcribe(spoken([5])))["text"] == "5")
    except Refused:
        return False


@pytest.mark.parametrize("is_polite", [True, False])
def test_a_client_that_did_not_ask_to_be_kept_frees_its_slot_at_once(
    serve_here: ServeHere, is_polite: bool
) -> None:
    server = serve_here(engine={"sessions": 1})

    async def scenario() -> None:
        async with client(server.url) as one:
            await one.send(type="session.update", model=MODEL, resume=is_polite)
            await one.commit(final=False)
            await one.append(spoken([1]))
            await one.receive()
            if is_polite:
                await one.connection.close(1000)
            else:
                await vanish(one)
        assert await is_free(server)

    asyncio.run(scenario())


def cut_the_cable(one: Client) -> None:
    """Drop whatever comes in from now on, as if there were no cable: nothing is acknowledged."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(drop_all))
    peer = one.connection.transport.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is acknowledged")
def test_a_client_that_vanishes_with_text_under_way_to_it_frees_its_slot(
    serve_here: ServeHere,
) -> None:
    server = serve_here(engine={"sessions": 1}, limits={"vanished_s": 0.5})

    async def scenario() -> None:
        async with client(server.url, MODEL) as one:
            await one.commit(final=False)
            cut_the_cable(one)
            await one.append(spoken([1]))
            async with asyncio.timeout(DEADLINE_S):
                while not await is_free(server):
                    pass
            await vanish(one)

    asyncio.run(scenario())
    assert "a client has vanished" in server.log


@pytest.mark.skipif(sys.platform != "linux", reason="the cable is cut by Linux's means")
def test_a_client_that_seems_slow_because_it_is_away_comes_back(serve_here: ServeHere) -> None:
    server = serve_here(limits={"send_timeout_s": 0.5, "close_timeout_s": 0.3})
    numbers = [*range(1000, 4500)]  # more text than the system holds for a client

    async def scenario() -> None:
        async with client(server.url) as one:
            await one.send(type="session.update", model=MODEL, resume=True)
            await one.append(spoken(numbers))
            await one.connection.send("?")
            await one.until("error")  # now all of it is there
            cut_the_cable(one)
            await one.commit(final=True)
            async with asyncio.timeout(DEADLINE_S):
                while "read nothing" not in server.log:
                    assert await is_free(server)
            await vanish(one)
        token = one.greeting["resume"]["token"]
        async with connect(f"{server.url}?resume={token}&seen=2") as connection:
            again = Client(connection)
            assert (await again.receive())["received_commits"] == 1
            events = await again.until("transcription.done")
        assert events[-1]["text"] == text_of(events) == counting(numbers)

    asyncio.run(scenario())


def test_no_event_is_forgotten_before_it_is_sent(serve_here: ServeHere) -> None:
    """In Mistral's protocol each word is told once more at the end, all at once."""
    server = serve_here(limits={"kept_messages": 1000})
    numbers = [*range(1000, 2500)]

    async def scenario() -> None:
        async with asyncio.timeout(DEADLINE_S), mistral_speaker(server) as one:
            await one.say(spoken(numbers))
            await one.send("input_audio.flush")
            events = await one.until("transcription.done")
        told = [event["text"] for event in events if event["type"] == "transcription.segment"]
        assert " ".join(told) == events[-1]["text"] == counting(numbers)

    asyncio.run(scenario())
