"""The times of a file's text are those of the file, whatever is missing in it."""

import asyncio
import io
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from lanscribe.engines.base import running
from lanscribe.engines.fake import FakeEngine, spoken
from lanscribe.media.pieces import Piece
from lanscribe.media.reader import read
from lanscribe.media.tape import PAUSE_S
from lanscribe.server.rest_form import FileTranscript
from lanscribe.speech.spans import Span
from lanscribe.speech.transcript import Token
from tests.engines.driving import drain
from tests.sounds import with_holes

FRAME_S = 0.08


def test_what_the_engine_passes_over_is_told_in_the_time_of_the_file() -> None:
    heard = FileTranscript()
    heard.timeline.skip(2.0, 100.0)
    heard.hear(Token("", 4.0, start_s=3.0, is_lost=True))
    heard.hear(Token("a", 1.0, start_s=0.5))
    assert list(heard.lost) == [Span(103.0, 104.0)]
    assert heard.transcript.text == "a"


def test_whatever_the_holes_all_sound_has_its_place() -> None:
    for seed in range(20):
        random_ = random.Random(seed)
        numbers = range(1, random_.randint(20, 80))
        at = sorted(random_.sample(numbers[1:-3], random_.randint(0, 5)))
        holes = [(n * FRAME_S, random_.choice([0.3, 0.9, 1.5, 8.0, 3600.0, 10_000.0])) for n in at]
        heard, tokens = listened(with_holes(spoken(numbers), holes))
        assert [token.text.strip() for token in tokens] == [str(n) for n in numbers], seed
        for number, token in zip(numbers, tokens, strict=True):
            before_s = sum(length_s for at_s, length_s in holes if at_s < number * FRAME_S - 0.04)
            wanted_s = number * FRAME_S + before_s
            assert token.end_s == pytest.approx(wanted_s, abs=0.1), f"seed {seed}: {number}"
        whole_s = len(numbers) * FRAME_S + sum(length_s for _, length_s in holes)
        assert heard.audio_s == pytest.approx(whole_s, abs=0.2), f"seed {seed}"
        assert heard.sound.samples / 16_000 < len(numbers) * FRAME_S + PAUSE_S * len(holes) + 0.2
        check_told(heard, holes, seed)


def check_told(heard: FileTranscript, holes: Sequence[tuple[float, float]], seed: int) -> None:
    """That every hole longer than a pause is told as lost, where it is in the whole."""
    long = [(at_s, length_s) for at_s, length_s in holes if length_s > PAUSE_S]
    starts_s = [at_s + sum(length_s for a, length_s in holes if a < at_s) for at_s, _ in long]
    told = list(heard.lost)
    for start_s, (_, length_s) in zip(starts_s, long, strict=True):
        middle_s = start_s + length_s / 2
        (span,) = [one for one in told if one.start_s <= middle_s <= one.end_s]
        assert span.start_s <= start_s + 0.1, f"seed {seed}"
        assert span.end_s >= start_s + length_s - 0.1, f"seed {seed}"
    told_s = sum(one.end_s - one.start_s for one in told)
    assert told_s == pytest.approx(sum(length_s for _, length_s in long), abs=0.5), f"seed {seed}"


def placed(heard: FileTranscript, token: Token) -> Token:
    """The token of a word, with times in the whole file."""
    start_s, end_s = heard.timeline.placed(token.start_s, token.end_s)
    return replace(token, start_s=start_s, end_s=end_s)


def listened(data: bytes) -> tuple[FileTranscript, list[Token]]:
    """What an engine hears of a file, with the times that REST tells."""

    async def pieces() -> AsyncIterator[Piece]:
        for piece in read(io.BytesIO(data)):
            yield piece

    async def listen() -> tuple[FileTranscript, list[Token]]:
        heard = FileTranscript()
        async with running(FakeEngine()) as (session, tasks):
            listening = tasks.create_task(drain(session))
            async for block in heard.counted(pieces()):
                await session.feed(block)
            await session.finish()
        tokens = [placed(heard, token) for token in listening.result() if token.text]
        return heard, tokens

    return asyncio.run(listen())
