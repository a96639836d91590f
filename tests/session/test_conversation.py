"""A conversation is what drives a session: sockets come and go, engines break, clients dawdle.

Everything is in one process and without a socket. Each wait has a deadline, so a forgotten
`tell` of the conversation shows as a test that times out.
"""

import asyncio
import random
from collections.abc import Callable

import pytest

from lanscribe import errors
from lanscribe.dialects.events import (
    Acknowledge,
    AppendAudio,
    Cancel,
    Cancelled,
    Commit,
    Delta,
    Done,
    Failure,
    Finish,
    KeepForResume,
    Reply,
    ServerEvent,
    SessionCreated,
    SessionEnded,
    SessionResumed,
    SessionStopping,
)
from lanscribe.engines.fake import spoken
from lanscribe.errors import ClientError, LanscribeError
from lanscribe.session.bounds import Bounds
from lanscribe.session.conversation import MAX_UNSENT
from lanscribe.speech.audio import sample_count
from tests.session.memory import (
    BreakingEngine,
    HeldEngine,
    Hosted,
    LateEngine,
    Wire,
    hosted,
    settle,
)
from tests.support import counting

START, END = Commit(is_final=False), Commit(is_final=True)
KEEP_S = 60.0


def numbers(first: int, last: int) -> AppendAudio:
    """Audio that says first to last, 80 ms each."""
    return AppendAudio(spoken(range(first, last + 1)))


def says(number: int) -> Callable[[Delta], bool]:
    """Whether a delta is that number."""
    return lambda delta: delta.text.strip() == str(number)


def say_all(wire: Wire, last: int, *, per_message: int = 5) -> None:
    """One whole utterance: the numbers from 1 to `last`."""
    wire.say(START)
    for first in range(1, last + 1, per_message):
        wire.say(numbers(first, min(last, first + per_message - 1)))
    wire.say(END)


async def speaking(host: Hosted, last: int) -> tuple[Wire, "asyncio.Task[LanscribeError | None]"]:
    """A client that can resume, in an utterance of which the numbers up to `last` were heard."""
    wire, attached = host.attach()
    wire.say(KeepForResume(), START, numbers(1, last))
    await wire.until(Delta, says(last))
    return wire, attached


def text_of(events: list[ServerEvent]) -> str:
    """What the deltas say."""
    return "".join(event.text for event in events if isinstance(event, Delta))


def code_of(reason: LanscribeError | None) -> str:
    assert reason is not None
    return reason.code


def test_an_utterance_from_the_greeting_to_the_end() -> None:
    async def talk() -> None:
        async with hosted() as host:
            wire, attached = host.attach()
            say_all(wire, 12)
            done = await wire.until(Done)
            assert isinstance(wire.came[0], SessionCreated)
            assert done.text == text_of(wire.came) == counting(range(1, 13))
            wire.leave()
            assert await attached is None
            await host.running

    asyncio.run(talk())


def test_a_client_that_finishes_is_told_everything_and_then_the_end() -> None:
    async def talk() -> None:
        async with hosted() as host:
            wire, attached = host.attach()
            wire.say(START, numbers(1, 9), Finish())
            assert await attached is None
            assert (await wire.until(Done)).text == counting(range(1, 10))
            assert isinstance(wire.came[-1], SessionEnded)
            await host.running

    asyncio.run(talk())


def test_what_the_dialect_answers_by_itself_is_sent() -> None:
    async def talk() -> None:
        async with hosted() as host:
            wire, _ = host.attach()
            await wire.until(SessionCreated)
            wire.say(Reply(("0",)))  # message 0 is the greeting
            while len(wire.came) < 2:
                await asyncio.sleep(0)
            assert wire.came[0] is wire.came[1]

    asyncio.run(talk())


def test_a_fault_of_the_client_is_told_and_the_session_goes_on() -> None:
    async def talk() -> None:
        async with hosted() as host:
            wire, _ = host.attach()
            wire.say(Commit(is_final=True, needs_audio=True))
            assert (await wire.until(Failure)).error.code == "input_audio_buffer_commit_empty"
            say_all(wire, 3)
            assert (await wire.until(Done)).text == "1 2 3"

    asyncio.run(talk())


def test_a_client_that_cannot_resume_takes_its_session_along() -> None:
    async def talk() -> None:
        engine = HeldEngine()
        async with hosted(engine, keep_s=KEEP_S) as host:
            wire, attached = host.attach()
            wire.say(START, numbers(1, 3))
            await engine.is_asked.wait()
            await wire.cut()
            assert await attached is None
            await host.running
            assert engine.is_aborted.is_set()

    asyncio.run(talk())


def test_a_client_that_closes_wants_nothing_kept() -> None:
    async def talk() -> None:
        async with hosted(keep_s=KEEP_S) as host:
            wire, attached = host.attach()
            wire.say(KeepForResume(), START, numbers(1, 3))
            await wire.until(Delta)
            wire.leave()
            assert await attached is None
            await host.running

    asyncio.run(talk())


@pytest.mark.parametrize("seed", range(20))
def test_a_session_goes_on_over_another_socket_and_says_each_word_once(seed: int) -> None:
    """Cut anywhere, with any number of messages unread; the client sends what was not received."""
    random_ = random.Random(seed)
    last = random_.randint(10, 60)

    async def talk() -> None:
        async with hosted(keep_s=KEEP_S) as host:
            wire, attached = host.attach()
            wire.say(KeepForResume(), START)
            sent = random_.randint(1, last)
            wire.say(numbers(1, sent))
            heard = random_.randint(1, sent)
            await wire.until(Delta, says(heard))
            came = list(wire.came)
            await wire.cut()
            assert await attached is None
            again, _ = host.reattach(len(came))
            resumed = await again.until(SessionResumed)
            assert resumed.received_commits == 0
            assert again.came[0] is resumed
            first = resumed.received_samples // sample_count(0.08) + 1
            assert heard < first <= sent + 1
            if first <= last:
                again.say(numbers(first, last))
            again.say(END)
            done = await again.until(Done)
            assert done.text == text_of([*came, *again.came]) == counting(range(1, last + 1))

    asyncio.run(talk())


def test_what_the_client_has_not_seen_is_sent_again_and_what_it_has_is_not() -> None:
    async def talk() -> None:
        async with hosted(keep_s=KEEP_S) as host:
            wire, attached = host.attach()
            wire.say(KeepForResume())
            say_all(wire, 20)
            await wire.until(Done)
            await wire.cut()
            await attached
            again, _ = host.reattach(seen=8)
            await again.until(Done)
            assert again.came[1:] == wire.came[8:]

    asyncio.run(talk())


@pytest.mark.parametrize("seen", [3, 99])
def test_a_client_that_misses_what_is_gone_is_refused_and_the_session_stays(seen: int) -> None:
    async def talk() -> None:
        async with hosted(keep_s=KEEP_S) as host:
            wire, attached = host.attach()
            wire.say(KeepForResume())
            say_all(wire, 20)
            await wire.until(Done)
            wire.say(Acknowledge(10))
            wire.say(Reply(("0",)))  # once this has come, the acknowledgement was taken in
            count = len(wire.came)
            while len(wire.came) == count:
                await asyncio.sleep(0)
            with pytest.raises(ClientError) as refused:
                await host.reattach(seen)[1]
            assert refused.value.code == "resume_failed"
            assert not attached.done()
            await wire.cut()
            again, _ = host.reattach(seen=10)
            await again.until(Done)

    asyncio.run(talk())


def test_a_newer_socket_replaces_one_that_is_still_open() -> None:
    async def talk() -> None:
        async with hosted(keep_s=KEEP_S) as host:
            wire, attached = await speaking(host, 4)
            again, goes_on = host.reattach(len(wire.came))
            assert code_of(await attached) == "resumed_elsewhere"
            await again.until(SessionResumed)
            wire.say(numbers(90, 99))  # nobody listens there any more
            again.say(numbers(5, 8), END)
            assert (await again.until(Done)).text == counting(range(1, 9))
            assert not goes_on.done()

    asyncio.run(talk())


def test_of_several_newer_sockets_at_once_the_last_one_stays() -> None:
    async def talk() -> None:
        async with hosted(keep_s=KEEP_S) as host:
            wire, attached = await speaking(host, 4)
            seen = len(wire.came)
            newer = [host.reattach(seen) for _ in range(4)]
            (last, goes_on), others = newer[-1], newer[:-1]
            assert code_of(await attached) == "resumed_elsewhere"
            for _, ended in others:
                assert code_of(await ended) == "resumed_elsewhere"
            last.say(numbers(5, 6), END)
            assert (await last.until(Done)).text == counting(range(1, 7))
            assert not goes_on.done()

    asyncio.run(talk())


def test_a_socket_that_breaks_before_it_is_told_leaves_the_session_to_the_next() -> None:
    async def talk() -> None:
        async with hosted(keep_s=KEEP_S) as host:
            wire, attached = await speaking(host, 4)
            await wire.cut()
            await attached
            broken, gone = host.reattach(len(wire.came))
            await broken.cut()
            assert await gone is None
            again, _ = host.reattach(len(wire.came))
            again.say(END)
            assert (await again.until(Done)).text == counting(range(1, 5))

    asyncio.run(talk())


def test_a_kept_session_waits_so_long_and_no_longer() -> None:
    async def talk() -> None:
        async with hosted(keep_s=0.05) as host:
            wire, attached = await speaking(host, 4)
            await wire.cut()
            assert await attached is None
            await host.running

    asyncio.run(talk())


def test_a_session_whose_client_came_back_is_kept_again_when_that_socket_breaks() -> None:
    async def talk() -> None:
        async with hosted(keep_s=KEEP_S) as host:
            wire, attached = await speaking(host, 2)
            count = len(wire.came)
            for number in range(3, 9):
                await wire.cut()
                assert await attached is None
                wire, attached = host.reattach(count)
                wire.say(numbers(number, number))
                await wire.until(Delta, says(number))
                count += len(wire.came) - 1
            wire.say(END)
            assert (await wire.until(Done)).text == counting(range(1, 9))

    asyncio.run(talk())


def test_a_reader_that_takes_nothing_is_let_go() -> None:
    async def talk() -> None:
        async with hosted(limits=Bounds(send_timeout_s=0.1)) as host:
            wire, attached = host.attach()
            await wire.until(SessionCreated)
            await wire.read(False)
            say_all(wire, 3)
            assert code_of(await attached) == "client_too_slow"
            await host.running

    asyncio.run(talk())


def test_a_full_outbox_stops_the_engine_and_nothing_is_lost() -> None:
    async def talk() -> None:
        last = 4 * MAX_UNSENT
        async with hosted() as host:
            wire, _ = host.attach()
            await wire.until(SessionCreated)
            await wire.read(False)
            say_all(wire, last)
            outbox = host.conversation._outbox
            while outbox.unsent < MAX_UNSENT:
                await asyncio.sleep(0)
            for _ in range(1000):
                await asyncio.sleep(0)
                assert outbox.unsent <= MAX_UNSENT + 1
            await wire.read(True)
            assert (await wire.until(Done)).text == counting(range(1, last + 1))
            assert text_of(wire.came) == counting(range(1, last + 1))

    asyncio.run(talk())


def test_without_a_socket_the_engine_goes_on_and_a_full_store_ends_the_session() -> None:
    async def talk() -> None:
        engine, kept = HeldEngine(times=5), 1000
        async with hosted(engine, keep_s=KEEP_S, messages=kept) as host:
            wire, attached = host.attach()
            wire.say(KeepForResume(), START, numbers(1, kept // 5))
            await engine.is_asked.wait()
            await wire.cut()
            assert await attached is None
            engine.gate.set()
            await host.running

    asyncio.run(talk())


def test_a_full_session_stops_the_reading_until_the_engine_has_taken_some() -> None:
    async def talk() -> None:
        engine, last = HeldEngine(), 100
        async with hosted(engine, waiting_s=1.0) as host:
            wire, _ = host.attach()
            say_all(wire, last)
            await engine.is_asked.wait()
            await settle()
            assert wire.unread > 2
            engine.gate.set()
            assert (await wire.until(Done)).text == counting(range(1, last + 1))

    asyncio.run(talk())


def test_an_engine_that_writes_late_makes_room_by_listening() -> None:
    async def talk() -> None:
        last = 100
        async with hosted(LateEngine(), waiting_s=1.0) as host:
            wire, _ = host.attach()
            await settle()
            say_all(wire, last)
            assert (await wire.until(Done)).text == counting(range(1, last + 1))

    asyncio.run(talk())


def test_one_message_of_more_audio_than_there_is_room_for_is_taken_in_piece_by_piece() -> None:
    async def talk() -> None:
        last = 100
        async with hosted(waiting_s=1.0) as host:
            wire, _ = host.attach()
            await settle()
            pieces = [numbers(number, number) for number in range(1, last + 1)]
            wire.say(START, *pieces, END)
            assert (await wire.until(Done)).text == counting(range(1, last + 1))

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("where", "heard"), [("start", ""), ("middle", "1 2 3"), ("end", "1 2 3 4")]
)
def test_an_engine_that_breaks_is_told_and_the_next_utterance_is_whole(
    where: str, heard: str
) -> None:
    async def talk() -> None:
        async with hosted(BreakingEngine(where)) as host:
            wire, _ = host.attach()
            wire.say(START, numbers(1, 4), END)
            failure = await wire.until(Failure)
            assert isinstance(failure.error, errors.EngineError)
            assert failure.lost is not None
            assert failure.lost.text == heard
            assert failure.lost.end_s == pytest.approx(0.32)
            assert text_of(wire.came) == heard
            say_all(wire, 6)
            assert (await wire.until(Done)).text == counting(range(1, 7))

    asyncio.run(talk())


def test_an_engine_that_ends_by_itself_has_failed() -> None:
    async def talk() -> None:
        async with hosted(BreakingEngine("early")) as host:
            wire, _ = host.attach()
            wire.say(START, numbers(1, 5))
            assert (await wire.until(Failure)).error.code == "processing_error"
            assert text_of(wire.came) == "1 2 3"
            wire.say(START, numbers(6, 7), END)
            assert (await wire.until(Done)).text == "6 7"

    asyncio.run(talk())


def test_an_utterance_is_cancelled_while_the_engine_is_fed() -> None:
    async def talk() -> None:
        engine = HeldEngine()
        async with hosted(engine) as host:
            wire, _ = host.attach()
            wire.say(START, numbers(1, 50))
            await engine.is_asked.wait()
            wire.say(Cancel())
            await wire.until(Cancelled)
            await engine.is_aborted.wait()
            engine.gate.set()
            say_all(wire, 3)
            assert (await wire.until(Done)).text == "1 2 3"
            assert text_of(wire.came) == "1 2 3"

    asyncio.run(talk())


def test_stopped_while_idle() -> None:
    async def talk() -> None:
        async with hosted() as host:
            wire, attached = host.attach()
            await wire.until(SessionCreated)
            host.conversation.stop(errors.stopping())
            assert code_of(await attached) == "server_stopping"
            await host.running

    asyncio.run(talk())


def test_stopped_in_a_sentence_what_was_received_is_told_first() -> None:
    async def talk() -> None:
        engine = HeldEngine()
        async with hosted(engine, keep_s=KEEP_S) as host:
            wire, attached = host.attach()
            wire.say(KeepForResume(), START, numbers(1, 9))
            await engine.is_asked.wait()
            host.conversation.stop(errors.stopping())
            engine.gate.set()
            assert code_of(await attached) == "server_stopping"
            kinds = [type(event) for event in wire.came]
            assert kinds.index(SessionStopping) < kinds.index(Delta)
            assert (await wire.until(Done)).text == counting(range(1, 10))
            await host.running

    asyncio.run(talk())


def test_at_a_restart_a_client_that_resumes_says_again_what_it_has_not_ended() -> None:
    async def talk() -> None:
        engine = HeldEngine()
        async with hosted(engine, keep_s=KEEP_S) as host:
            wire, attached = host.attach()
            wire.say(KeepForResume(), START, numbers(1, 9))
            await engine.is_asked.wait()
            host.conversation.restart(errors.restarting())
            assert code_of(await attached) == "server_stopping"
            assert not [event for event in wire.came if isinstance(event, Delta | Done)]
            await host.running

    asyncio.run(talk())


def test_a_session_ends_after_its_time_and_what_was_received_is_told_first() -> None:
    async def talk() -> None:
        async with hosted(limits=Bounds(session_s=0.2)) as host:
            wire, attached = host.attach()
            wire.say(START, numbers(1, 9))
            assert code_of(await attached) == "session_too_long"
            assert (await wire.until(Done)).text == counting(range(1, 10))
            await host.running

    asyncio.run(talk())


def test_a_client_that_says_nothing_is_let_go_only_when_it_is_its_turn() -> None:
    async def talk() -> None:
        engine = HeldEngine()
        async with hosted(engine, limits=Bounds(idle_timeout_s=0.1)) as host:
            wire, attached = host.attach()
            say_all(wire, 3)
            await engine.is_asked.wait()
            await asyncio.wait([attached], timeout=0.3)
            assert not attached.done()
            engine.gate.set()
            assert (await wire.until(Done)).text == "1 2 3"
            assert code_of(await attached) == "idle_timeout"
            await host.running

    asyncio.run(talk())


def test_a_defect_ends_the_conversation_and_is_told() -> None:
    async def talk() -> None:
        engine = HeldEngine()
        async with hosted(engine) as host:
            wire, attached = host.attach()
            wire.say(START, numbers(1, 3))
            await engine.is_asked.wait()

            def broken() -> None:
                raise ZeroDivisionError

            host.conversation._session.take_audio = broken  # type: ignore[method-assign,assignment]
            wire.say(numbers(4, 5))
            engine.gate.set()
            assert code_of(await attached) == "internal"
            with pytest.raises(ZeroDivisionError):
                await host.running

    asyncio.run(talk())
