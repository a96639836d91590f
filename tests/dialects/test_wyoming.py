import asyncio
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioChunkConverter, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_read_event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from lanscribe.dialects.events import (
    AppendAudio,
    ClientEvent,
    Commit,
    Committed,
    Delta,
    DetectTurns,
    Done,
    Failure,
    Message,
    Reply,
    ServerEvent,
    SessionCreated,
    SpeechStopped,
    Utterance,
)
from lanscribe.dialects.wyoming import (
    HANG_UP,
    MAX_HEADER_BYTES,
    EventSplitter,
    WyomingDialect,
    type_of,
)
from lanscribe.dialects.wyoming_options import WyomingOptions
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import CODES, EngineFailed, LimitError, ProtocolError
from lanscribe.speech.audio import Samples
from lanscribe.speech.pcm import decoded

INFO = EngineInfo("embedded", "moonshine", ("en",), False, None, 4)
MAX_BYTES = 2**20
PCM = np.array([1, -2, 3], dtype="<i2").tobytes()


def wire(event: Event) -> bytes:
    """An event as the wyoming package writes it."""
    data = json.dumps(event.data, ensure_ascii=False).encode() if event.data else b""
    payload = event.payload or b""
    lengths = {"data_length": len(data), "payload_length": len(payload)}
    return (
        json.dumps({"type": event.type, "version": "1.10.2", **lengths}).encode()
        + b"\n"
        + (data + payload)
    )


def raw(header: object, rest: bytes = b"") -> bytes:
    return json.dumps(header).encode() + b"\n" + rest


def chunk(audio: bytes, rate: int = 16_000, width: int = 2, channels: int = 1) -> bytes:
    return wire(AudioChunk(rate, width, channels, audio).event())


def read(*messages: Message) -> list[Event]:
    """Events as the wyoming package reads them."""

    async def read_all() -> list[Event]:
        stream = asyncio.StreamReader()
        for message in messages:
            assert isinstance(message, bytes)
            stream.feed_data(message)
        stream.feed_eof()
        events = []
        while (event := await async_read_event(stream)) is not None:
            events.append(event)
        return events

    return asyncio.run(read_all())


def encode(dialect: WyomingDialect, *events: ServerEvent) -> list[Event]:
    return read(*(message for event in events for message in dialect.encode(event)))


def reply(dialect: WyomingDialect, message: bytes) -> Event:
    (event,) = dialect.decode(message)
    assert isinstance(event, Reply)
    (answer,) = read(*event.messages)
    return answer


def sound_of(events: list[ClientEvent]) -> Samples:
    parts = [event.samples for event in events if isinstance(event, AppendAudio)]
    return np.concatenate([*parts, np.empty(0, dtype=np.float32)])


def test_a_model_that_is_not_served() -> None:
    with pytest.raises(ProtocolError, match="Leave the name out of transcribe") as caught:
        WyomingDialect(INFO).decode(wire(Transcribe(name="another").event()))
    assert caught.value.code == "model_not_found"
    assert WyomingDialect(INFO).encode(Failure(caught.value))[-1] == HANG_UP


def test_an_utterance() -> None:
    dialect = WyomingDialect(INFO)
    assert dialect.decode(wire(Transcribe(name="whisper-1", language="en").event())) == []
    start = dialect.decode(wire(AudioStart(16_000, 2, 1).event()))
    assert start == [Commit(is_final=False)]
    (append,) = dialect.decode(chunk(PCM))
    assert isinstance(append, AppendAudio)
    assert append.samples.tolist() == [1 / 32768, -2 / 32768, 3 / 32768]
    assert dialect.decode(wire(AudioStop().event())) == [Commit(is_final=True)]
    again = dialect.decode(wire(AudioStart(16_000, 2, 1).event()))
    assert again == [Commit(is_final=False)]


@pytest.mark.parametrize("data", [{}, {"name": None}, {"name": ""}, {"language": "de"}], ids=str)
def test_a_program_need_not_say_which_model_it_wants(data: dict[str, Any]) -> None:
    dialect = WyomingDialect(INFO)
    assert dialect.decode(raw({"type": "transcribe", "data": data})) == []


def test_a_chunk_without_a_format_has_that_of_the_utterance() -> None:
    dialect = WyomingDialect(INFO)
    dialect.decode(wire(AudioStart(16_000, 2, 1).event()))
    (append,) = dialect.decode(raw({"type": "audio-chunk", "payload_length": len(PCM)}, PCM))
    assert isinstance(append, AppendAudio)
    assert len(append.samples) == 3


def test_a_chunk_that_nothing_announced_begins_an_utterance() -> None:
    begin = WyomingDialect(INFO).decode(chunk(PCM))
    assert begin[:1] == [Commit(is_final=False)]
    assert isinstance(begin[1], AppendAudio)


def test_a_stop_without_a_start_is_answered_with_an_empty_utterance() -> None:
    dialect = WyomingDialect(INFO)
    assert dialect.decode(wire(AudioStop().event())) == [Commit(is_final=True)]
    assert dialect.decode(wire(AudioStart(16_000, 2, 1).event())) == [Commit(is_final=False)]


COMMANDS = WyomingOptions(end_silence_s=0.7)
START_EVENT = wire(AudioStart(16_000, 2, 1).event())
STOP_EVENT = wire(AudioStop().event())


def test_a_command_that_the_server_ends_goes_to_audio_stop_without_more() -> None:
    dialect = WyomingDialect(INFO, COMMANDS)
    assert dialect.decode(START_EVENT) == [DetectTurns(COMMANDS.command)]
    assert isinstance(dialect.decode(chunk(PCM))[0], AppendAudio)
    assert encode(dialect, SpeechStopped(Utterance(), 2.0), Committed(Utterance(), 0)) == []
    assert dialect.decode(chunk(PCM)) == []
    assert [event.type for event in encode(dialect, Done("on", 1.0, 1))][-2:] == [
        "transcript",
        "transcript-stop",
    ]
    assert dialect.decode(STOP_EVENT) == []
    assert dialect.decode(START_EVENT) == [DetectTurns(COMMANDS.command)]


def test_much_audio_is_searched_for_the_end_a_piece_at_a_time() -> None:
    assert len(WyomingDialect(INFO).decode(chunk(bytes(32_000)))) == 1 + 1
    assert len(WyomingDialect(INFO, COMMANDS).decode(chunk(bytes(32_000)))) == 1 + 4


def test_a_client_may_end_a_command_first() -> None:
    dialect = WyomingDialect(INFO, COMMANDS)
    for _ in "12":
        dialect.decode(START_EVENT)
        dialect.decode(chunk(PCM))
        assert dialect.decode(STOP_EVENT) == [Commit(is_final=True)]
        encode(dialect, SpeechStopped(Utterance(), 2.0, is_forced=True))


def test_a_command_may_begin_before_the_stop_of_the_last() -> None:
    dialect = WyomingDialect(INFO, COMMANDS)
    dialect.decode(START_EVENT)
    encode(dialect, SpeechStopped(Utterance(), 2.0))
    assert dialect.decode(START_EVENT) == [DetectTurns(COMMANDS.command)]
    assert len(dialect.decode(chunk(PCM))) == 1


def test_plain_text_is_the_same_in_pieces_and_whole() -> None:
    dialect = WyomingDialect(INFO, WyomingOptions(is_plain=True))
    for _ in "12":
        deltas = [Delta(part, 1.0) for part in (" Turn off", ",", " the 2", ".5", " sink", ".")]
        events = encode(dialect, *deltas, Done(" Turn off, the 2.5 sink.", 1.0, 6))
        chunks = [one.data["text"] for one in events if one.type == "transcript-chunk"]
        assert "".join(chunks) == "Turn off the 2.5 sink"
        assert "" not in chunks
        assert [one.data["text"] for one in events if one.type == "transcript"] == [
            "Turn off the 2.5 sink"
        ]


def test_text_is_streamed_and_told_whole() -> None:
    dialect = WyomingDialect(INFO)
    deltas = [Delta("Ever", 0.5), Delta("", 0.8), Delta(" tried.", 1.0)]
    for _ in range(2):
        events = encode(dialect, *deltas, Done("Ever tried.", 1.0, 2))
        assert [event.type for event in events] == [
            "transcript-start",
            "transcript-chunk",
            "transcript-chunk",
            "transcript",
            "transcript-stop",
        ]
        assert TranscriptStart.from_event(events[0]).language == "en"
        assert TranscriptChunk.from_event(events[1]).text == "Ever"
        assert TranscriptChunk.from_event(events[2]).text == " tried."
        assert Transcript.from_event(events[3]) == Transcript("Ever tried.", language="en")
        assert TranscriptStop.is_type(events[4].type)


def test_no_words_are_a_transcript_too() -> None:
    events = encode(WyomingDialect(INFO), Delta("", 1.0), Done("", 1.0, 0))
    assert [event.type for event in events] == ["transcript-start", "transcript", "transcript-stop"]


def test_the_language_is_told_only_where_it_is_known() -> None:
    both = EngineInfo("vllm", "voxtral", ("en", "fr"), False, None, 4)
    assert encode(WyomingDialect(both), Done("x", 1.0, 1))[1].data == {"text": "x"}


@pytest.mark.parametrize(
    "event", [SessionCreated("s", 0), Committed(Utterance(), 0)], ids=["created", "committed"]
)
def test_what_wyoming_has_no_word_for_is_not_told(event: ServerEvent) -> None:
    assert not WyomingDialect().encode(event)


def test_describe() -> None:
    answer = reply(WyomingDialect(INFO), wire(Describe().event()))
    (program,) = Info.from_event(answer).asr
    (model,) = program.models
    assert program.supports_transcript_streaming
    assert answer.data["asr"][0]["requires_external_vad"]  # or nobody would say when a turn ends
    assert program.installed
    assert model.installed
    assert (model.name, model.languages) == ("moonshine", ["en"])


def test_describe_before_anything_is_known() -> None:
    with pytest.raises(ProtocolError) as caught:
        WyomingDialect().decode(wire(Describe().event()))
    assert caught.value.code == "engine_unavailable"


@pytest.mark.parametrize("text", [None, "hello", "\ud800"])
def test_a_ping_comes_back(text: str | None) -> None:
    message = raw({"type": "ping", "data": {"text": text}})
    assert Pong.from_event(reply(WyomingDialect(), message)).text == text


def test_unknown_events_are_left_alone() -> None:
    assert not WyomingDialect().decode(raw({"type": "select-program", "data": {"name": "x"}}))
    assert type_of(wire(Ping("x").event())) == "ping"
    assert type_of(b"nonsense") == ""


@pytest.mark.parametrize("code", ["invalid_json", "invalid_event", "invalid_audio"])
def test_an_error_about_one_event_leaves_the_connection(code: str) -> None:
    messages = WyomingDialect().encode(Failure(ProtocolError(code, "got x; expected y")))
    assert HANG_UP not in messages
    (event,) = read(*messages)
    assert Error.from_event(event) == Error("got x; expected y", code)


@pytest.mark.parametrize(
    "error", [EngineFailed("broke"), LimitError("too_many_utterances", "too many")], ids=str
)
def test_an_error_that_leaves_an_answer_out_hangs_up(error: Any) -> None:
    messages = WyomingDialect().encode(Failure(error))
    assert [event.type for event in read(*messages[:1])] == ["error"]
    assert list(messages[1:]) == [HANG_UP]


def test_a_format_that_changes_is_told_in_wyomings_own_names() -> None:
    dialect = WyomingDialect()
    list(dialect.decode(chunk(PCM)))
    with pytest.raises(ProtocolError, match="got a chunk of rate 16000, width 4, channels 1 in"):
        dialect.decode(chunk(PCM * 2, width=4))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_width_is_what_wyomings_own_converter_makes_of_it(width: int, channels: int) -> None:
    rng = np.random.default_rng(width)
    mono = rng.integers(0, 256, 1200 * width, dtype=np.uint8).reshape(-1, width)
    silent = np.full_like(mono, 0)
    if width == 1:
        silent += 128
    interleaved = np.stack([mono, silent] if channels == 2 else [mono], axis=1).tobytes()
    ours = sound_of(list(WyomingDialect().decode(chunk(interleaved, 16_000, width, channels))))
    theirs = AudioChunkConverter(16_000, 2, 1).convert(
        AudioChunk(16_000, width, channels, interleaved)
    )
    assert ours == pytest.approx(decoded(theirs.audio, "pcm_s16le"), abs=2 / 2**15)


def test_channels_of_opposite_phase_are_heard() -> None:
    mono = np.random.default_rng(0).integers(-9000, 9000, 16_000).astype("<i2")
    interleaved = np.stack([mono, -mono], axis=1).tobytes()
    dialect = WyomingDialect()
    first, second = (
        sound_of(list(dialect.decode(chunk(half, 16_000, 2, 2))))
        for half in (interleaved[:32_000], interleaved[32_000:])
    )
    assert np.concatenate([first, second]) == pytest.approx(mono / 2**15, abs=1e-6)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_any_rate_keeps_tone_and_length(rate_hz: int) -> None:
    """Chunks of odd sizes; one second of 440 Hz stays that."""
    tone = np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz) * 0.5
    dialect = WyomingDialect()
    events: list[ClientEvent] = []
    for part in np.array_split(tone, 37):
        stereo = np.repeat(np.rint(part * 2**15).astype("<i2"), 2).tobytes()
        events += dialect.decode(chunk(stereo, rate_hz, 2, 2))
    events += dialect.decode(wire(AudioStop().event()))
    samples = sound_of(events)
    assert len(samples) == pytest.approx(16_000, abs=2)
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 0.5
    inner = slice(800, 15_200)
    assert samples[inner] == pytest.approx(expected[inner], abs=0.01)


START = {"rate": 16_000, "width": 2, "channels": 1}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "invalid_json"),
        (b"GET / HTTP/1.1\r\n", "invalid_json"),
        (b"\xff\xfe\n", "invalid_json"),
        (b"[" * 50_000 + b"\n", "invalid_event"),
        (raw([1]), "invalid_event"),
        (raw({}), "invalid_event"),
        (raw({"type": 7}), "invalid_event"),
        (raw({"type": "ping", "data": 7}), "invalid_event"),
        (raw({"type": "ping", "data_length": -1}), "invalid_event"),
        (raw({"type": "ping", "data_length": True}), "invalid_event"),
        (raw({"type": "ping", "data_length": 2}, b"x"), "invalid_event"),
        (raw({"type": "ping", "data_length": 2}, b"[]"), "invalid_event"),
        (raw({"type": "ping", "data_length": 2}, b"{x"), "invalid_json"),
        (raw({"type": "transcribe", "data": {"name": 5}}), "invalid_event"),
        (raw({"type": "transcribe", "data": {"language": []}}), "invalid_event"),
        (raw({"type": "audio-start"}), "invalid_event"),
        (raw({"type": "audio-start", "data": START | {"rate": "16000"}}), "invalid_event"),
        (raw({"type": "audio-start", "data": START | {"width": 5}}), "invalid_event"),
        (raw({"type": "audio-start", "data": START | {"channels": 0}}), "invalid_event"),
        (raw({"type": "audio-start", "data": START | {"rate": 1}}), "invalid_audio"),
        (raw({"type": "audio-start", "data": START | {"rate": 16_000.5}}), "invalid_event"),
        (chunk(bytes(4_000 * 61), 4_000, 1, 1), "invalid_audio"),
    ],
)
def test_bad_events_have_a_code_and_say_what_is_expected(message: bytes, code: str) -> None:
    with pytest.raises(ProtocolError, match="expected") as caught:
        WyomingDialect(INFO).decode(message)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (wire(AudioStart(16_000, 2, 1).event()), "invalid_event"),
        (chunk(PCM, 48_000), "invalid_audio"),
    ],
)
def test_an_utterance_keeps_its_format(message: bytes, code: str) -> None:
    dialect = WyomingDialect(INFO)
    dialect.decode(wire(AudioStart(16_000, 2, 1).event()))
    with pytest.raises(ProtocolError, match="expected") as caught:
        dialect.decode(message)
    assert caught.value.code == code
    assert len(sound_of(list(dialect.decode(chunk(PCM))))) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
TYPES = st.sampled_from(
    ["describe", "ping", "transcribe", "audio-start", "audio-chunk", "audio-stop", "other"]
)
NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 8_000, 16_000, 48_000, 10**400]) | JSON
HEADERS = st.fixed_dictionaries(
    {"type": TYPES},
    optional={
        "data": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("rate", "width", "channels", "text", "name"), NUMBERS)
        )
        | JSON,
        "data_length": NUMBERS,
        "payload_length": NUMBERS,
    },
)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50) | st.text(max_size=50), max_size=3))
def test_no_bytes_raise_anything_else(messages: list[Message]) -> None:
    _decode_or_refuse(messages)


@settings(deadline=None)
@given(st.lists(st.tuples(HEADERS, st.binary(max_size=20)), min_size=1, max_size=6))
def test_no_event_raises_anything_else(events: list[tuple[dict[str, Any], bytes]]) -> None:
    messages: list[Message] = []
    for header, payload in events:
        messages.append(raw(header, payload))
        messages.append(raw(header | {"data_length": 0, "payload_length": len(payload)}, payload))
    _decode_or_refuse(messages)


def _decode_or_refuse(messages: list[Message]) -> None:
    dialect = WyomingDialect(INFO)
    for message in messages:
        try:
            for event in dialect.decode(message):
                assert not isinstance(event, AppendAudio) or event.samples.dtype == np.float32
        except ProtocolError as error:
            assert error.code in CODES
            assert len(error.public_message) < 2000


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_a_stream_cut_anywhere_is_the_same_events(payloads: list[bytes], data: Any) -> None:
    events = [wire(AudioChunk(16_000, 1, 1, payload).event()) for payload in payloads]
    stream = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    splitter, taken = EventSplitter(MAX_BYTES), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        splitter.feed(stream[start:stop])
        while (event := splitter.take()) is not None:
            taken.append(event)
    assert taken == events
    assert splitter.is_between_events


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_the_splitter_refuses_what_is_no_wyoming(stream: bytes) -> None:
    splitter = EventSplitter(MAX_BYTES)
    splitter.feed(stream)
    try:
        while splitter.take() is not None:
            pass
    except ProtocolError as error:
        assert error.code in {"invalid_json", "invalid_event", "message_too_large"}


@pytest.mark.parametrize(
    "stream",
    [
        b" " * MAX_HEADER_BYTES,
        raw({"type": "audio-chunk", "payload_length": MAX_BYTES}),
        raw({"type": "audio-chunk", "payload_length": 2**61, "data_length": 2**61}),
    ],
    ids=["a first line without an end", "a payload", "sizes that overflow"],
)
def test_too_much_is_refused_before_it_is_there(stream: bytes) -> None:
    splitter = EventSplitter(MAX_BYTES)
    splitter.feed(stream)
    with pytest.raises(ProtocolError, match="expected at most") as caught:
        splitter.take()
    assert caught.value.code == "message_too_large"


@pytest.mark.parametrize("place", ["first line", "data"])
def test_an_event_of_many_parts_is_refused(place: str) -> None:
    """The names of a large house are few enough."""
    for parts in (3900, 4001, 20_000):
        names = ["x"] * parts
        inside = json.dumps({"transcript_names": names}, separators=(",", ":")).encode()
        if place == "data":
            message = b'{"type":"transcribe","data_length":%d}\n%s' % (len(inside), inside)
        else:
            message = b'{"type":"transcribe","data":%s}\n' % inside
        if parts < 4000:
            assert type_of(message) == "transcribe"
            continue
        with pytest.raises(ProtocolError, match="parts"):
            WyomingDialect(INFO).decode(message)
