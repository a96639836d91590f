"""Yap's protocol against real servers: the fake engine shows every frame, speech every word."""

import asyncio
from collections.abc import Sequence

import pytest
from websockets.exceptions import ConnectionClosed

from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.engines.fake import spoken
from tests.protocols.yap_driver import YapSpeaker, yap_speaker
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S, Event, Refused, counting, get_json, words

SAID = "ever tried ever failed no matter try again fail again fail better"
KEY = "only-for-this-test-0123456789abcdef"
SIX_MINUTES = [number if number % 100 > 12 else 0 for number in range(1, 4501)]
"""So many 80 ms frames, with a pause every 8 s; in real time far over the tests' deadline."""


def text_of(events: list[Event]) -> str:
    return "".join(event["payload"].get("delta", "") for event in events)


async def to_the_end(speaker: YapSpeaker) -> tuple[list[Event], int | None]:
    """What else is told, and the close code."""
    events: list[Event] = []
    with pytest.raises(ConnectionClosed):
        while True:
            events.append(await speaker.receive())
    return events, speaker.connection.close_code


async def say_whole(speaker: YapSpeaker, request_id: str, numbers: Sequence[int]) -> None:
    """A whole request, as fast as the connection takes it."""
    await speaker.commit(request_id, final=False)
    for start in range(0, len(numbers), 50):
        await speaker.append(request_id, spoken(numbers[start : start + 50]))
    await speaker.commit(request_id, final=True)


def test_speech_comes_while_it_is_spoken(embedded_server: Server) -> None:
    async def converse() -> None:
        async with yap_speaker(embedded_server) as speaker:
            await speaker.commit("r1", final=False)
            await speaker.append("r1", read_wave(sample_path()))
            early = await speaker.until("transcription.delta")
            while not text_of(early):
                early += await speaker.until("transcription.delta")
            await speaker.commit("r1", final=True)
            *rest, done = await speaker.until("transcription.done")
        assert text_of([*early, *rest]) == done["payload"]["text"]
        assert words(done["payload"]["text"]) == SAID.split()

    asyncio.run(converse())


def test_requests_may_be_sent_ahead_and_are_answered_in_turn(fake_server: Server) -> None:
    async def converse() -> None:
        spans = {f"r{start}": range(start, start + 60) for start in (100, 200, 300)}
        async with yap_speaker(fake_server) as speaker:
            for request_id, numbers in spans.items():
                await say_whole(speaker, request_id, numbers)
            for request_id, numbers in spans.items():
                events = await speaker.until("transcription.done")
                assert {event["request_id"] for event in events} == {request_id}
                assert {event["session_id"] for event in events} == {"kitchen"}
                assert text_of(events) == events[-1]["payload"]["text"] == counting(numbers)

    asyncio.run(converse())


def test_a_file_goes_faster_than_real_time_and_keeps_every_word(serve_here: ServeHere) -> None:
    """Yap drops audio when it is five seconds behind, and says words twice at its seams."""
    server = serve_here(rollover={"target_s": 20, "limit_s": 30})

    async def converse() -> None:
        async with yap_speaker(server) as speaker:
            sending = asyncio.create_task(say_whole(speaker, "file", SIX_MINUTES))
            events = await speaker.until("transcription.done")
            await sending
        assert text_of(events) == events[-1]["payload"]["text"] == counting(SIX_MINUTES)

    asyncio.run(converse())


def test_the_next_request_ends_one_that_is_open(fake_server: Server) -> None:
    """Yap throws the open one away."""

    async def converse() -> None:
        async with yap_speaker(fake_server) as speaker:
            await speaker.commit("r1", final=False)
            await speaker.append("r1", spoken([1, 2]))
            await say_whole(speaker, "r2", range(3, 5))
            first = (await speaker.until("transcription.done"))[-1]
            second = (await speaker.until("transcription.done"))[-1]
        assert (first["request_id"], first["payload"]["text"]) == ("r1", "1 2")
        assert (second["request_id"], second["payload"]["text"]) == ("r2", "3 4")

    asyncio.run(converse())


def test_nothing_comes_of_a_cancelled_request(fake_server: Server) -> None:
    async def converse() -> None:
        async with yap_speaker(fake_server) as speaker:
            await speaker.commit("r1", final=False)
            await speaker.append("r1", spoken([1, 2, 3]))
            await speaker.send("cancel", "r1", reason="barge-in")
            await speaker.append("r1", spoken([4]))  # was on its way
            cancelled = (await speaker.until("cancelled"))[-1]
            late = await speaker.receive()
            await say_whole(speaker, "r2", range(5, 7))
            events = await speaker.until("transcription.done")
        assert (cancelled["request_id"], cancelled["payload"]) == ("r1", {"reason": "barge-in"})
        assert (late["request_id"], late["payload"]["reason_code"]) == ("r1", "out_of_order")
        assert {event["request_id"] for event in events} == {"r2"}
        assert events[-1]["payload"]["text"] == "5 6"

    asyncio.run(converse())


def test_a_request_that_was_answered_cannot_be_cancelled_any_more(fake_server: Server) -> None:
    async def converse() -> None:
        async with yap_speaker(fake_server) as speaker:
            await say_whole(speaker, "r1", range(1, 3))
            await speaker.until("transcription.done")
            await speaker.commit("r2", final=False)
            await speaker.append("r2", spoken([3]))
            await speaker.send("cancel", "r1")
            await speaker.append("r2", spoken([4]))
            await speaker.commit("r2", final=True)
            events = await speaker.until("transcription.done")
        assert [event["request_id"] for event in events if event["type"] == "cancelled"] == ["r1"]
        assert events[-1]["payload"]["text"] == "3 4"

    asyncio.run(converse())


def test_pings_are_answered_between_deltas(fake_server: Server) -> None:
    async def converse() -> None:
        async with yap_speaker(fake_server) as speaker:
            await speaker.commit("r1", final=False)
            await speaker.send("session.update", "u1", model="fake-numbers")
            await speaker.send("ping", "p1")
            updated, pong = await speaker.receive(), await speaker.receive()
            assert (updated["type"], updated["request_id"]) == ("session.updated", "u1")
            assert updated["payload"] == {"model": "fake-numbers"}
            assert (pong["type"], pong["request_id"]) == ("pong", "p1")
            await speaker.send("session.update", "u2", model="other")
            error = await speaker.receive()
            assert (error["type"], error["request_id"]) == ("error", "u2")
            assert error["payload"]["reason_code"] == "model_not_found"

    asyncio.run(converse())


def test_end_waits_for_the_last_words(fake_server: Server) -> None:
    async def converse() -> None:
        async with yap_speaker(fake_server) as speaker:
            await speaker.commit("r1", final=False)
            await speaker.append("r1", spoken([1, 2]))
            await speaker.send("end", "e")
            events, code = await to_the_end(speaker)
        assert code == 1000
        *_, done, ended = events
        assert (done["request_id"], done["payload"]["text"]) == ("r1", "1 2")
        assert (ended["type"], ended["request_id"]) == ("session_end", "e")

    asyncio.run(converse())


def test_health_has_yaps_name_too(fake_server: Server) -> None:
    status, health = get_json(fake_server.http_url + "/health")
    yaps_status, yaps_health = get_json(fake_server.http_url + "/healthz")
    assert status == yaps_status == 200
    assert health["status"] == yaps_health["status"] == "ok"
    assert health.keys() == yaps_health.keys()


def test_a_full_server_says_so(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 1})

    async def converse() -> None:
        async with yap_speaker(server):
            with pytest.raises(Refused) as caught:
                async with yap_speaker(server):
                    pass
        assert caught.value.args == ("server_busy", 1013)

    asyncio.run(converse())


def test_a_key_may_be_in_the_query(serve_here: ServeHere) -> None:
    server = serve_here(auth={"mode": "key", "key": KEY})

    async def converse() -> None:
        for path in ("/ws", "/ws?api_key=wrong"):
            with pytest.raises(Refused) as caught:
                async with yap_speaker(server, path):
                    pass
            assert caught.value.args == ("unauthorized", 1008)
        async with yap_speaker(server, f"/api/asr-streaming?api_key={KEY}") as speaker:
            await speaker.say(spoken([1, 2]))
            assert (await speaker.end())[1] == "1 2"

    asyncio.run(converse())


@pytest.mark.parametrize(
    ("limit", "code", "close_code"),
    [
        ("idle_timeout_s", "idle_timeout", 4000),
        ("session_s", "session_too_long", 4003),
    ],
)
def test_a_bound_on_time_ends_the_request_first(
    serve_here: ServeHere, limit: str, code: str, close_code: int
) -> None:
    server = serve_here(limits={limit: 0.5})

    async def converse() -> None:
        async with asyncio.timeout(DEADLINE_S), yap_speaker(server) as speaker:
            await speaker.commit("r1", final=False)
            await speaker.append("r1", spoken([1, 2]))
            events, closed_with = await to_the_end(speaker)
        assert closed_with == close_code
        *_, done, error = events
        assert (done["request_id"], done["payload"]["text"]) == ("r1", "1 2")
        assert (error["type"], error["payload"]["reason_code"]) == ("error", code)

    asyncio.run(converse())
