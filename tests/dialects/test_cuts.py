"""A stream of bytes may be cut anywhere, in every protocol: its samples are always the same."""

import base64
import json
import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from wyoming.audio import AudioChunk, AudioStop
from wyoming.event import Event, Eventable

from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import AppendAudio, ClientEvent, Message, SessionResumed
from lanscribe.dialects.mistral import MistralDialect
from lanscribe.dialects.negotiation import NegotiatingDialect
from lanscribe.dialects.vllm import VllmDialect
from lanscribe.dialects.voxmlx import VoxmlxDialect
from lanscribe.dialects.wyoming import WyomingDialect
from lanscribe.dialects.yap import YapDialect
from lanscribe.engines.fake import FakeEngine
from lanscribe.speech.audio import Samples

INFO = FakeEngine().describe()
SEEDS = range(20)
VLLM = '{"type":"session.update","model":""}'


def encoded(data: bytes) -> str:
    """Base64 in one of the forms that are taken."""
    text = base64.b64encode(data, b"-_" if len(data) % 2 else b"+/").decode()
    return [text, text.rstrip("="), f"data:audio/pcm;base64,{text}"][len(data) % 3]


def says(kind: str, **more: Any) -> Callable[[bytes], Message]:
    """How to send bytes as the field audio of a message."""
    return lambda data: json.dumps({"type": kind, "audio": encoded(data), **more})


def openai(**audio_format: Any) -> str:
    session = {"type": "transcription", "audio": {"input": {"format": audio_format}}}
    return json.dumps({"type": "session.update", "session": session})


def mistral(encoding: str, sample_rate: float) -> str:
    audio_format = {"encoding": encoding, "sample_rate": sample_rate}
    return json.dumps({"type": "session.update", "session": {"audio_format": audio_format}})


def yap(kind: str, **payload: Any) -> str:
    return json.dumps({"type": kind, "session_id": "s", "request_id": "r", "payload": payload})


def event(one: Eventable) -> bytes:
    said: Event = one.event()
    data = json.dumps(said.data).encode()
    payload = said.payload or b""
    head = {"type": said.type, "data_length": len(data), "payload_length": len(payload)}
    return json.dumps(head).encode() + b"\n" + data + payload


def chunk(rate: int, width: int, channels: int) -> Callable[[bytes], Message]:
    return lambda data: event(AudioChunk(rate, width, channels, data))


class Way(NamedTuple):
    """How audio is sent in a protocol."""

    make: Callable[[], Dialect]
    begin: list[Message]
    append: Callable[[bytes], Message]
    end: list[Message]
    frame_bytes: int = 2
    channels: int = 1
    is_begun_late: bool = False
    """Whether some audio comes before the first message."""


APPEND, COMMIT = "input_audio_buffer.append", '{"type":"input_audio_buffer.commit","final":true}'
CLEAR = '{"type":"input_audio_buffer.clear"}'
BEGIN_YAP = yap("input_audio_buffer.commit", final=False)
END_YAP = yap("input_audio_buffer.commit", final=True)


def on_shared_path() -> Dialect:
    return NegotiatingDialect(INFO, {})


WAYS = {
    "vllm": Way(lambda: VllmDialect(INFO), [VLLM], says(APPEND), [COMMIT]),
    "vllm binary": Way(lambda: VllmDialect(INFO), [VLLM], bytes, [COMMIT]),
    "vllm both": Way(
        lambda: VllmDialect(INFO),
        [VLLM],
        lambda data: data if len(data) % 3 else says(APPEND)(data),
        [COMMIT],
    ),
    "vllm late": Way(on_shared_path, [VLLM], says(APPEND), [COMMIT], is_begun_late=True),
    "voxmlx": Way(VoxmlxDialect, [], says(APPEND), [COMMIT]),
    "voxmlx clear": Way(VoxmlxDialect, [], says(APPEND), [CLEAR]),
    "openai 24 kHz": Way(on_shared_path, [openai()], says(APPEND), [COMMIT], is_begun_late=True),
    "openai 16 kHz": Way(
        on_shared_path, [openai(type="audio/pcm", rate=16_000.0)], says(APPEND), [CLEAR]
    ),
    "mistral": Way(
        lambda: MistralDialect(INFO),
        [],
        says("input_audio.append"),
        ['{"type":"input_audio.flush"}'],
    ),
    "mistral 32 bit": Way(
        lambda: MistralDialect(INFO),
        [mistral("pcm_s32le", 8_000.0)],
        says("input_audio.append"),
        ['{"type":"input_audio.flush"}'],
        4,
    ),
    "yap": Way(
        lambda: YapDialect(INFO),
        [BEGIN_YAP],
        lambda data: yap(APPEND, audio=encoded(data)),
        [END_YAP, BEGIN_YAP],
    ),
    "yap cancel": Way(
        lambda: YapDialect(INFO),
        [BEGIN_YAP],
        lambda data: yap(APPEND, audio=encoded(data)),
        [yap("cancel"), BEGIN_YAP],
    ),
    "wyoming": Way(lambda: WyomingDialect(INFO), [], chunk(16_000, 2, 1), [event(AudioStop())]),
    "wyoming stereo 24 bit": Way(
        lambda: WyomingDialect(INFO), [], chunk(22_050, 3, 2), [event(AudioStop())], 6, 2
    ),
}


def sound(dialect: Dialect, messages: Iterable[Message]) -> Samples:
    events: list[ClientEvent] = [one for message in messages for one in dialect.decode(message)]
    parts = [one.samples for one in events if isinstance(one, AppendAudio)]
    return np.concatenate([*parts, np.empty(0, dtype=np.float32)])


def cut(data: bytes, random_: random.Random) -> list[bytes]:
    """The bytes in pieces of any size, none of them empty; many of one byte."""
    count = random_.randrange(1, 60)
    places = sorted({random_.randrange(1, len(data)) for _ in range(count)})
    places += [place + 1 for place in places if place + 1 < len(data)]
    edges = [0, *sorted(set(places)), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def some_frames(way: Way, random_: random.Random) -> bytes:
    """Noise, the same in all channels: how others are mixed depends on the chunk."""
    sizes = way.frame_bytes // way.channels, random_.randrange(20, 3000)
    return b"".join(random_.randbytes(sizes[0]) * way.channels for _ in range(sizes[1]))


@pytest.mark.parametrize("name", WAYS)
def test_any_cuts_make_the_same_samples(name: str) -> None:
    way = WAYS[name]
    for seed in SEEDS:
        random_ = random.Random(seed)
        data = some_frames(way, random_)
        messages = [way.append(piece) for piece in cut(data, random_)]
        first = random_.randrange(len(messages)) if way.is_begun_late else 0
        sent = [*messages[:first], *way.begin, *messages[first:], *way.end]
        whole = sound(way.make(), [*way.begin, way.append(data), *way.end])
        np.testing.assert_allclose(
            sound(way.make(), sent), whole, atol=1e-6, err_msg=f"seed {seed}"
        )


@pytest.mark.parametrize("name", WAYS)
def test_a_part_of_a_sample_at_the_end_is_dropped(name: str) -> None:
    way = WAYS[name]
    data = random.Random(0).randbytes(way.frame_bytes * 300)
    dialect = way.make()
    rest = bytes(way.frame_bytes - 1)
    assert len(sound(dialect, [*way.begin, way.append(rest), *way.end])) == 0
    one, other = sound(dialect, [way.append(data), *way.end]), way.make()
    assert one.tolist() == sound(other, [*way.begin, way.append(data), *way.end]).tolist()
    assert len(one) > 50


def test_a_client_that_resumes_sends_the_cut_sample_again() -> None:
    dialect = VllmDialect(INFO)
    first = sound(dialect, [VLLM, b"\x00\x40\x00"])
    assert first.tolist() == [0.5]
    assert dialect.encode(SessionResumed("sess-1", len(first), 0))
    assert sound(dialect, [b"\x00\xc0"]).tolist() == [-0.5]
