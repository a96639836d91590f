"""The client of docs/clients.md: no word is lost and none said twice, whatever happens."""

import asyncio
import random
import re

import pytest

from clients.stitch import Stitch
from clients.story import Story
from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import samples_to_pcm16
from tests.cutting import Cut, relay
from tests.protocols.persistent import Lanscribe, SpeechLog, running
from tests.servers import ServeHere, Server, StartServer
from tests.support import DEADLINE_S, Event, counting

NOT_IN_DART = {
    "_send_all",  # its sink does that by itself
    *("cut", "is_whole"),  # it leaves a session that is cut at once
    *("is_wordless", "_beyond_the_deltas"),  # for bare vLLM, and for remarks
}


def pcm(numbers: list[int]) -> bytes:
    return samples_to_pcm16(spoken(numbers))


def done_of(events: list[Event]) -> list[str]:
    return [event["text"] for event in events if event["type"] == "done"]


def deltas_of(events: list[Event]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "delta")


def count_of(events: list[Event]) -> int:
    return sum(event["type"] == "delta" for event in events)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_cut_at_any_byte(fake_server: Server, seed: int) -> None:
    rng = random.Random(seed)
    rows = [[rng.randint(1, 900) for _ in range(120)] for _ in range(3)]
    cuts = [Cut(rng.randint(1, 60_000 if up else 4_000), up) for up in (True, False) * 10]

    async def scenario() -> list[Event]:
        events: list[Event] = []
        async with asyncio.timeout(DEADLINE_S), relay(fake_server.port, iter(cuts)) as wire:
            changed = asyncio.Event()

            def tell(event: Event) -> None:
                events.append(event)
                changed.set()

            client = Lanscribe(lambda: f"ws://127.0.0.1:{wire.port}", tell=tell)
            said = 0
            async with running(client):
                for row in rows:
                    for start in range(0, len(row), 10):
                        client.add(pcm(row[start : start + 10]))
                        said += 10
                        while count_of(events) < said - 20:  # who speaks is not far ahead
                            changed.clear()
                            await changed.wait()
                    client.end_utterance()
                await client.close()
            assert wire.cuts_made > 10
        return events

    events = asyncio.run(scenario())
    assert done_of(events) == [counting(row) for row in rows]
    assert deltas_of(events) == "".join(counting(row) for row in rows)


def test_a_server_that_was_killed_begins_where_the_text_ends(start_server: StartServer) -> None:
    server = start_server()
    rows = [[1, 2, 3], [*range(10, 30)], [40, 41]]

    async def scenario() -> list[Event]:
        events: list[Event] = []
        has_text = asyncio.Event()

        def tell(event: Event) -> None:
            events.append(event)
            if event.get("text", "").endswith("19"):
                has_text.set()

        async with asyncio.timeout(DEADLINE_S):
            client = Lanscribe(lambda: f"ws://127.0.0.1:{server.port}", tell=tell)
            async with running(client):
                client.add(pcm(rows[0]))
                client.end_utterance()
                client.add(pcm(rows[1][:10]))
                await has_text.wait()
                server.kill()
                client.add(pcm(rows[1][10:]))
                await asyncio.to_thread(server.restart)
                client.end_utterance()
                client.add(pcm(rows[2]))
                await client.close()
        return events

    events = asyncio.run(scenario())
    assert done_of(events) == [counting(row) for row in rows]
    at_s = [round(event["start_s"], 2) for event in events if event["type"] == "delta"]
    assert at_s[3:23] == [round(0.08 * index, 2) for index in range(20)]


def test_a_session_that_the_server_ends_is_followed_by_another(serve_here: ServeHere) -> None:
    """The server ends the utterance with it, so that it becomes two."""
    server = serve_here(limits={"idle_timeout_s": 0.3})

    async def scenario() -> list[Event]:
        events: list[Event] = []
        is_over = asyncio.Event()

        def tell(event: Event) -> None:
            events.append(event)
            if event.get("code") == "idle_timeout":
                is_over.set()

        async with asyncio.timeout(DEADLINE_S):
            client = Lanscribe(lambda: f"ws://127.0.0.1:{server.port}", tell=tell)
            async with running(client):
                client.add(pcm([1, 2, 3]))
                await is_over.wait()
                client.add(pcm([4, 5]))
                await client.close()
        return events

    events = asyncio.run(scenario())
    assert done_of(events) == ["1 2 3", "4 5"]


def test_what_is_not_kept_any_more_is_silence() -> None:
    log = SpeechLog(kept_samples=4)
    log.append(bytes(range(1, 13)))
    assert (log.first, log.end) == (2, 6)
    assert log.read(1, 4) == bytes([0, 0, 5, 6, 7, 8, 9, 10])
    assert log.read(2, 4) == bytes(range(5, 13))


def test_the_dart_code_has_the_same_members() -> None:
    dart = (PROJECT_DIR / "docs/clients.md").read_text(encoding="utf-8")
    for kind in (SpeechLog, Stitch, Story, Lanscribe):
        body = re.search(rf"^class {kind.__name__} .*?^}}$", dart, re.M | re.S)
        assert body is not None
        methods = set(re.findall(r"^  [\w<>, ?]+? (?:get )?(\w+)(?:\(.*| =>.*)$", body[0], re.M))
        told = {re.sub("[A-Z]", lambda up: "_" + up[0].lower(), name) for name in methods}
        ours = {name for name in vars(kind) if callable(getattr(kind, name))}
        ours |= {name for name, value in vars(kind).items() if isinstance(value, property)}
        missing = {name for name in ours if not name.startswith("__")} - told
        assert missing <= NOT_IN_DART, missing
