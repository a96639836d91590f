"""Words that may still change reach who asked for them; nobody else is told anything else."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import (
    AppendAudio,
    Commit,
    Delta,
    Done,
    Failure,
    KeepForResume,
    Message,
    ServerEvent,
    TellTentative,
)
from lanscribe.dialects.vllm import VllmDialect
from lanscribe.engines.fake import FakeEngine, spoken
from lanscribe.errors import EngineFailed
from lanscribe.session.state import Session
from lanscribe.speech.audio import sample_count
from lanscribe.speech.detection import LevelDetector
from lanscribe.speech.transcript import Token
from tests.contract import contract
from tests.cutting import relay
from tests.guessing import WRONG, GuessingEngine, screens
from tests.server.test_told import DIALECTS
from tests.servers import Parts, ServeHere
from tests.session.memory import Wire, hosted
from tests.session.test_resume import Persistent, cuts_of
from tests.support import DEADLINE_S, Event, counting

START, END = Commit(is_final=False), Commit(is_final=True)
INFO = FakeEngine().describe()
SEEDS = range(30)
ASK, REVOKE = TellTentative(True), TellTentative(False)


def tokens_of(seed: int) -> list[Token]:
    """Tokens of an engine, of every kind."""
    rng = random.Random(seed)
    tokens, at_s = [], 0.0
    for number in range(rng.randint(5, 60)):
        tentative = rng.choice(["", f" {number}?", f" {number}? {number + 1}?"])
        start_s, at_s = at_s, at_s + rng.uniform(0, 0.5)
        kinds = [
            Token(f" {number}", at_s, start_s=start_s, tentative=tentative),
            Token("", at_s, settled_s=start_s, tentative=tentative),
            Token("", at_s + 9, tentative=tentative, is_tentative=True),
            Token("", at_s, start_s=start_s, is_lost=True),
        ]
        tokens.append(rng.choices(kinds, weights=[5, 3, 5, 1])[0])
    return tokens


def session_of(*, asks: bool) -> Session:
    """A session with an utterance that has begun."""
    session = Session(sample_count(60), LevelDetector())
    if asks:
        session.receive(ASK, 0.0)
    for event in (START, AppendAudio(spoken([7] * 300)), END):
        session.receive(event, 0.0)
    return session


def told(tokens: Sequence[Token], dialect: Dialect, *, asks: bool = False) -> list[Message]:
    """What a client gets of an utterance of which the engine tells these tokens."""
    session = session_of(asks=asks)
    events: list[ServerEvent] = [session.heard(one) for one in tokens if session.is_news(one)]
    events += session.completed()
    return [message for event in events for message in dialect.encode(event)]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_who_did_not_ask_gets_what_an_engine_without_them_would_tell(name: str, seed: int) -> None:
    tokens = tokens_of(seed)
    settled = [replace(token, tentative="") for token in tokens if not token.is_tentative]
    dialect = DIALECTS[name][0]
    assert told(tokens, dialect()) == told(settled, dialect())


@pytest.mark.parametrize("seed", SEEDS)
def test_who_asked_gets_the_same_and_tentative_words_beside_it(seed: int) -> None:
    tokens = tokens_of(seed)
    plain = [json.loads(one) for one in told(tokens, VllmDialect(INFO))]
    asked = [json.loads(one) for one in told(tokens, VllmDialect(INFO), asks=True)]
    for message in asked:
        contract("vllm").check("server", json.dumps(message))
    assert [message.get("tentative", "") for message in asked[:-1]] == [
        token.tentative for token in tokens
    ]
    assert "tentative" not in asked[-1]
    more = [message for message, token in zip(asked, tokens, strict=False) if token.is_tentative]
    assert all(message["delta"] == "" for message in more)
    rest = [bare(message) for message in asked if message not in more]
    assert rest == [bare(message) for message in plain]


def bare(message: dict[str, Any]) -> dict[str, Any]:
    """A message without its number and its tentative words."""
    return {name: value for name, value in message.items() if name not in ("seq", "tentative")}


def test_neither_the_end_nor_a_failure_leaves_any() -> None:
    session = session_of(asks=True)
    session.heard(Token("", 1.0, tentative=" one"))
    (done,) = session.completed()
    assert isinstance(done, Done)
    assert done.text == ""
    broken = Session(sample_count(60), LevelDetector())
    for event in (ASK, START, AppendAudio(spoken([7] * 9))):
        broken.receive(event, 0.0)
    broken.take_audio()
    broken.heard(Token("", 0.1, tentative=" one"))
    (failure,) = broken.failed(EngineFailed("broken"))
    assert isinstance(failure, Failure)
    assert failure.lost
    assert failure.lost.text == ""
    broken.receive(START, 0.0)
    assert broken.progress().tentative == ""


def deltas_of(wire: Wire) -> list[Delta]:
    """The deltas that have come."""
    return [event for event in wire.came if isinstance(event, Delta)]


def as_tokens(deltas: Sequence[Delta]) -> list[Token]:
    return [Token(delta.text, delta.end_s, tentative=delta.tentative) for delta in deltas]


@pytest.mark.parametrize("seed", range(10))
def test_what_a_client_shows_is_what_it_said_so_far(seed: int) -> None:
    async def talk(*, asks: bool) -> list[Delta]:
        async with hosted(GuessingEngine(seed)) as host:
            wire, _ = host.attach()
            wire.say(*([ASK] if asks else []), START)
            for number in range(1, 101):
                wire.say(AppendAudio(spoken([number])))
            wire.say(END)
            assert (await wire.until(Done)).text == counting(range(1, 101))
            return deltas_of(wire)

    asked, plain = asyncio.run(talk(asks=True)), asyncio.run(talk(asks=False))
    for screen in screens(as_tokens(asked)):
        assert counting(range(1, 101)).startswith(screen.replace(WRONG, ""))
    assert asked[-1].tentative == ""
    assert not any(delta.tentative for delta in plain)
    assert text_and_times(asked) == text_and_times(plain)


def text_and_times(deltas: Sequence[Delta]) -> list[tuple[str, float | None, float]]:
    return [(one.text, one.start_s, one.end_s) for one in deltas if one.text]


def test_the_wish_holds_from_then_on_and_over_a_break_until_it_is_revoked() -> None:
    async def talk() -> None:
        async with hosted(GuessingEngine(), keep_s=60.0) as host:
            wire, attached = host.attach()
            wire.say(KeepForResume(), START, AppendAudio(spoken(range(1, 31))))
            await wire.until(Delta, lambda delta: delta.end_s > 2.3)
            assert not any(delta.tentative for delta in deltas_of(wire))
            wire.say(ASK)
            wire.say(AppendAudio(spoken(range(31, 61))))
            await wire.until(Delta, lambda delta: bool(delta.tentative))
            await wire.cut()
            await attached
            seen = len(wire.came)
            again, _ = host.reattach(seen)
            again.say(AppendAudio(spoken(range(61, 91))))
            await again.until(Delta, lambda delta: bool(delta.tentative) and delta.end_s > 5)
            screens_seen = screens(as_tokens([*deltas_of(wire), *deltas_of(again)]))
            for screen in screens_seen:
                assert counting(range(1, 91)).startswith(screen.replace(WRONG, ""))
            again.say(REVOKE)
            again.say(AppendAudio(spoken(range(91, 121))), END)
            await again.until(Done)
            later = [delta for delta in deltas_of(again) if delta.end_s > 7.4]
            assert later
            assert not any(delta.tentative for delta in later)

    asyncio.run(talk())


@pytest.mark.parametrize("seed", range(4))
def test_a_client_that_resumes_shows_no_word_twice(serve_here: ServeHere, seed: int) -> None:
    """However often its socket is cut, and whatever it missed."""
    server = serve_here(Parts(engine=lambda _: GuessingEngine(seed)))
    rows = [list(range(1, 150)), list(range(200, 350))]

    async def scenario() -> list[Event]:
        async with relay(server.port, cuts_of(random.Random(seed), 12)) as wire:
            persistent = Persistent(wire.port, [spoken(row) for row in rows], tentative=True)
            async with asyncio.timeout(DEADLINE_S):
                await persistent.run()
            return persistent.events

    events = asyncio.run(scenario())
    assert sum("tentative" in event for event in events) > 20
    truths, text = list(map(counting, rows)), ""
    for event in events:
        if event["type"] == "transcription.delta":
            text += event["delta"]
            shown = text + event.get("tentative", "")
            assert truths[0].startswith(shown.replace(WRONG, ""))
        elif event["type"] == "transcription.done":
            assert event["text"] == text == truths.pop(0)
            text = ""
    assert truths == []
