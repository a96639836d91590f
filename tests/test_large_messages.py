"""What is large is taken in a piece at a time: others have their turn meanwhile."""

import asyncio
import base64
import itertools
import json
import random
from collections.abc import Sequence

import numpy as np
import pytest

from lanscribe import media
from lanscribe.audio import Samples, sample_count
from lanscribe.config import LimitSettings, ResumeSettings
from lanscribe.connection import Conversation
from lanscribe.dialects.negotiation import NegotiatingDialect
from lanscribe.engines.fake import FakeEngine
from lanscribe.events import AppendAudio, ClientEvent, Message, ServerEvent
from lanscribe.session import Session
from lanscribe.speech import LevelDetector

DEADLINE_S = 60


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

    def receive(self, event: ClientEvent) -> list[ServerEvent]:
        if isinstance(event, AppendAudio):
            self.noted.append(self.turns)
            assert self.has_room, "more came than there was room for"
        return super().receive(event)

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
        session = Watched(["fake-numbers"], sample_count(30), LevelDetector())
        session.noted = []
        dialect = NegotiatingDialect(engine.describe(), {"intent": "transcription"})
        one = Conversation(dialect, engine, session, LimitSettings(), ResumeSettings(keep_s=0))

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


class Counted(np.ndarray):
    """Samples that are counted whenever somebody asks how many they are."""

    asked = 0

    def __len__(self) -> int:
        Counted.asked += 1
        return super().__len__()


def test_packets_of_a_sample_are_joined_at_once() -> None:
    """In time that grows with their number, not with its square."""
    seed = random.randrange(2**32)
    random_ = random.Random(seed)
    zeros = [np.zeros(random_.choice([0, 0, 1]), np.float32).view(Counted) for _ in range(30_000)]
    pieces: list[Samples] = list(zeros)
    Counted.asked = 0
    joined = [block for block in media._merged(iter(pieces)) if not isinstance(block, media.Hole)]
    assert Counted.asked <= 5 * len(pieces), f"seed {seed}"
    assert sum(map(len, joined)) == sum(map(len, pieces)), f"seed {seed}"
