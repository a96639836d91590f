"""What a message may cost: what has many parts is refused unparsed, audio comes in pieces."""

import base64
import json
import random
from itertools import chain
from typing import Any

import numpy as np
import pytest

from lanscribe.dialects import WEBSOCKET_PATHS
from lanscribe.dialects.events import AppendAudio
from lanscribe.dialects.fields import base64_bytes, decode_object, pcm16_samples
from lanscribe.dialects.negotiation import NegotiatingDialect
from lanscribe.dialects.openai import OpenAiDialect
from lanscribe.errors import ProtocolError
from lanscribe.speech.audio import PIECE_S, sample_count
from lanscribe.speech.pcm import PcmDecoder

MOST_PARTS = 1000
SEEDS = range(50)


def some_json(random_: random.Random, parts: int) -> Any:
    """An object of at least so many values, nested at random."""
    rows: list[Any] = [{}]
    for number in range(parts):
        one: Any = random_.choice([[], {}, 1.5, None, "text", [number], {"a": number}])
        match random_.choice(rows[-20:]):
            case dict() as row:
                row[str(number)] = one
            case list() as row:
                row.append(one)
        if isinstance(one, list | dict):
            rows.append(one)
    return rows[0]


@pytest.mark.parametrize("path", sorted(WEBSOCKET_PATHS))
def test_what_has_many_parts_is_refused(path: str) -> None:
    for seed in SEEDS:
        random_ = random.Random(seed)
        message = json.dumps({"type": "t", "x": some_json(random_, random_.randrange(1000, 4000))})
        parts = sum(map(message.count, ",[{"))
        assert parts > MOST_PARTS, f"seed {seed}"
        with pytest.raises(ProtocolError, match=f"a message of {parts} parts"):
            list(WEBSOCKET_PATHS[path](None, {}).decode(message))


def test_what_has_few_parts_is_read_whatever_its_size() -> None:
    for seed in SEEDS:
        random_ = random.Random(seed)
        said = {"audio": "A" * random_.choice([0, 10, 2**20]), "x": some_json(random_, 200)}
        assert decode_object(json.dumps(said), "{}") == said, f"seed {seed}"


def test_base64_may_have_line_breaks_anywhere() -> None:
    for seed in SEEDS:
        random_ = random.Random(seed)
        data = random_.randbytes(random_.randrange(500))
        text = list(base64.b64encode(data).decode())
        for _ in range(random_.randrange(20)):
            text.insert(random_.randrange(len(text) + 1), random_.choice(" \t\r\n"))
        assert base64_bytes("".join(text)) == data, f"seed {seed}"


@pytest.mark.parametrize("is_decided", [True, False])
@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 22_050, 24_000, 192_000])
def test_audio_comes_in_pieces(rate_hz: int, is_decided: bool) -> None:
    """Each of them is decoded when it is asked for; together they are what was sent."""
    query = {"intent": "transcription"}
    dialect = OpenAiDialect(None, query) if is_decided else NegotiatingDialect(None, query)
    audio = {"input": {"format": {"type": "audio/pcm", "rate": rate_hz}}}
    update = json.dumps({"type": "session.update", "session": {"audio": audio}})
    expected = PcmDecoder("pcm_s16le", rate_hz)
    later = list(dialect.decode(update)) if is_decided else []
    heard, sent = [], []
    for seed in range(5):
        random_ = np.random.default_rng(seed)
        pcm = random_.integers(-9999, 9999, random_.integers(1, 3 * rate_hz), "<i2").tobytes()
        text = base64.b64encode(pcm).decode()
        append = json.dumps({"type": "input_audio_buffer.append", "audio": text})
        sent.append(expected.feed(pcm))
        heard.append(dialect.decode(append))
    late = [] if is_decided else dialect.decode(update)
    events = chain(later, *heard, late)
    pieces = [event.samples for event in events if isinstance(event, AppendAudio)]
    assert max(map(len, pieces)) <= 2 * sample_count(PIECE_S)
    np.testing.assert_allclose(np.concatenate(pieces), np.concatenate(sent), atol=1e-6)


@pytest.mark.parametrize(("data", "message"), [(b"", "no audio"), (b"abc", "3 bytes")])
def test_bad_pcm16_says_what_it_got(data: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message) as caught:
        pcm16_samples(data)
    assert caught.value.code == "invalid_audio"
