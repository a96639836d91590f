"""What is large is taken in a piece at a time: others have their turn meanwhile."""

import asyncio
import base64
import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from lanscribe.config import ResumeSettings
from lanscribe.dialects.events import AppendAudio, ClientEvent, Message, ServerEvent
from lanscribe.dialects.negotiation import NegotiatingDialect
from lanscribe.dialects.vllm import VllmDialect
from lanscribe.engines.fake import FakeEngine
from lanscribe.session.bounds import Bounds
from lanscribe.session.conversation import Conversation
from lanscribe.session.state import Session
from lanscribe.speech.audio import sample_count
from lanscribe.speech.detection import LevelDetector
from lanscribe.tasks import Line
from tests.support import DEADLINE_S


class Peer:
    """A client that sends these messages, and leaves when they are taken in."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = list(messages)

    async def receive(self) -> Message | None:
        return self._messages.pop(0) if self._messages else None

    async def send(self, message: Message) -> None:
        del message

    async def close(self, code: int, reason: str) -> None:
        del code, reason


class Watched(Session):
    """Notes how many turns of others have passed, whenever audio comes."""

    turns = 0

    def receive(self, event: ClientEvent, now_s: float) -> list[ServerEvent]:
        if isinstance(event, AppendAudio):
            self.noted.append(self.turns)
            assert self.has_room, "more came than there was room for"
        return super().receive(event, now_s)

    noted: list[int]


@pytest.mark.parametrize("turn_detection", [None, {"type": "server_vad"}])
@pytest.mark.parametrize("is_early", [True, False])
def test_others_have_their_turn_between_pieces_of_audio(
    turn_detection: object, is_early: bool
) -> None:
    """Also between those that came before it was known what they are; and none is too much."""
    seed = random.randrange(2**32)
    random_ = np.random.default_rng(seed)
    pcm = random_.integers(-9999, 9999, 4_000 * 120, "<i2").tobytes()
    given = {"format": {"type": "audio/pcm", "rate": 4000}, "turn_detection": turn_detection}
    update = {"type": "session.update", "session": {"audio": {"input": given}}}
    text = base64.b64encode(pcm).decode()
    append = json.dumps({"type": "input_audio_buffer.append", "audio": text})
    first = json.dumps(update)
    peer = Peer([append, first] if is_early else [first, append])

    async def talk() -> list[int]:
        engine = FakeEngine()
        session = Watched(sample_count(30), LevelDetector())
        session.noted = []
        dialect = NegotiatingDialect(engine.describe(), {"intent": "transcription"})
        one = Conversation(dialect, engine, session, Bounds(), ResumeSettings(keep_s=0), Line())

        async def other() -> None:
            while True:
                session.turns += 1
                await asyncio.sleep(0)

        running, others = asyncio.create_task(one.run()), asyncio.create_task(other())
        async with asyncio.timeout(DEADLINE_S):
            await one.attach(peer)
            await running
        others.cancel()
        return session.noted

    noted = asyncio.run(talk())
    assert len(noted) >= 120 * 4, f"seed {seed}"
    assert all(one < later for one, later in itertools.pairwise(noted)), f"seed {seed}"


RECORDINGS = 8
MOST_LIVE_PIECES = 12
"""Whoever sends so little at once may still be a speaker."""


def test_recordings_have_their_turn_one_after_the_other() -> None:
    """However many they are, a turn of the event loop is hardly longer for those who speak."""
    seed = random.randrange(2**32)
    random_ = random.Random(seed)
    turns: Counter[int] = Counter()

    async def talk() -> None:
        engine, line = FakeEngine(), Line()

        async def send() -> None:
            session = Watched(sample_count(30), LevelDetector())
            session.noted = []
            sizes = (2 * sample_count(random_.uniform(0.05, 3)) for _ in range(60))
            update = '{"type":"session.update","model":"fake-numbers"}'
            peer = Peer([update, *map(bytes, sizes)])
            limits, resume = Bounds(), ResumeSettings(keep_s=0)
            one = Conversation(VllmDialect(), engine, session, limits, resume, line)
            running = asyncio.create_task(one.run())
            await one.attach(peer)
            await running
            turns.update(session.noted[MOST_LIVE_PIECES:])

        async def other() -> None:
            while True:
                Watched.turns += 1
                await asyncio.sleep(0)

        others = asyncio.create_task(other())
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            for _ in range(RECORDINGS):
                group.create_task(send())
        others.cancel()

    asyncio.run(talk())
    assert turns.total() > RECORDINGS * 40, f"seed {seed}"
    assert max(turns.values()) <= 2, f"seed {seed}"


@pytest.mark.parametrize("seed", range(50))
def test_a_line_moves_by_one_each_turn_of_the_loop_and_in_order(seed: int) -> None:
    """Also when some leave it, and others come."""
    random_ = random.Random(seed)
    came: list[tuple[int, int]] = []

    async def stand(line: Line) -> None:
        turn = 0

        async def wait(number: int) -> None:
            await line.turn()
            came.append((turn, number))

        tasks: list[asyncio.Task[None]] = []
        while len(tasks) < 40 or not all(task.done() for task in tasks):
            for _ in range(random_.choice([0, 0, 1, 4]) * (len(tasks) < 40)):
                tasks.append(asyncio.create_task(wait(len(tasks))))
            if tasks and random_.random() < 0.2:
                random_.choice(tasks).cancel()
            turn += 1
            await asyncio.sleep(0)

    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await stand(Line())

    asyncio.run(bounded())
    turns, numbers = zip(*came, strict=True)
    assert list(numbers) == sorted(numbers)
    assert len(set(turns)) == len(turns)
