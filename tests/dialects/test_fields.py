"""The fields of a message, each as what it must be or refused, and what a message may cost."""

import base64
import json
import random
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest

from lanscribe.dialects import WEBSOCKET_PATHS
from lanscribe.dialects.events import AppendAudio
from lanscribe.dialects.fields import (
    Fields,
    base64_bytes,
    decode_object,
    flag,
    inner,
    integer,
    kind,
    not_empty,
    parsed,
    pcm16_decoder,
    text,
    unknown,
    whole_number,
)
from lanscribe.dialects.negotiation import NegotiatingDialect
from lanscribe.dialects.openai import OpenAiDialect
from lanscribe.errors import ProtocolError
from lanscribe.speech.audio import PIECE_S, sample_count
from lanscribe.speech.pcm import PcmDecoder

MOST_PARTS = 1000
SEEDS = range(50)
KINDS: list[tuple[Any, str]] = [
    *((None, "null"), ({}, "an object"), ({"a": 1}, "an object"), ([], "an array")),
    *(([1], "an array"), ("", "a string"), ("word", "a string"), (True, "a boolean")),
    *((False, "a boolean"), (0, "a number"), (1, "a number"), (0.5, "a number")),
]
"""JSON values, and what they are in words."""


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


@pytest.mark.parametrize("head", ["", "data:audio/pcm;rate=16000;base64,", "DATA:;BASE64,"])
@pytest.mark.parametrize("alphabet", ["+/", "-_"])
@pytest.mark.parametrize("is_padded", [True, False])
def test_base64_has_many_forms(head: str, alphabet: str, is_padded: bool) -> None:
    for length in range(100):
        data = bytes(255 - byte % 7 for byte in range(length))
        text = base64.b64encode(data, alphabet.encode()).decode()
        assert base64_bytes(head + (text if is_padded else text.rstrip("="))) == data


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


def refusal(read: Callable[[Fields, str], object], fields: Fields) -> str | None:
    """What is said of the field "x"; None if it is taken."""
    try:
        read(fields, "x")
    except ProtocolError as error:
        assert error.code == "invalid_event"
        return error.public_message
    return None


@pytest.mark.parametrize(("value", "words"), KINDS)
def test_a_value_has_a_kind_in_words(value: object, words: str) -> None:
    assert kind(value) == words


@pytest.mark.parametrize(
    ("read", "kinds", "expected"),
    [
        (text, {"a string"}, "a string"),
        (flag, {"a boolean", "null"}, "true or false"),
        (inner, {"an object", "null"}, "an object"),
        (integer, {"a number"}, "a whole number"),
    ],
)
def test_a_field_of_another_kind_is_refused_with_what_it_is(
    read: Callable[[Fields, str], object], kinds: set[str], expected: str
) -> None:
    for value, words in KINDS:
        told = refusal(read, {"y": 1, "x": value})
        if words in kinds and value != 0.5:
            assert told is None, value
        else:
            assert told == f"got {words} as 'x'; expected {expected}", value
    is_needed = "null" not in kinds
    absent = f"the field 'x' is missing; expected {expected}" if is_needed else None
    assert refusal(read, {"y": 1}) == absent


def test_a_field_is_what_was_sent() -> None:
    fields = decode_object('{"text": " a", "yes": true, "no": false, "n": -7, "in": {"a": 1}}', "")
    assert text(fields, "text") == " a"
    assert (flag(fields, "yes"), flag(fields, "no"), flag(fields, "other")) == (True, False, False)
    assert integer(fields, "n") == -7
    assert (inner(fields, "in"), inner(fields, "other")) == ({"a": 1}, {})


@pytest.mark.parametrize("default", ["", "en"])
def test_a_default_stands_for_text_that_is_not_there_and_for_nothing_else(default: str) -> None:
    assert text({}, "x", default) == default
    assert text({"x": None}, "x", default) == default
    assert text({"x": "said"}, "x", default) == "said"
    for value, words in KINDS:
        if words not in ("a string", "null"):
            with pytest.raises(ProtocolError, match="expected a string"):
                text({"x": value}, "x", default)


@pytest.mark.parametrize("length", [0, 1, 39, 40, 41, 100_000])
def test_text_has_no_more_letters_than_it_may(length: int) -> None:
    fields = {"x": length * "\u00e9"}
    assert text(fields, "x") == fields["x"]
    if length <= 40:
        assert text(fields, "x", longest=40) == fields["x"]
        return
    with pytest.raises(ProtocolError, match=f"^got {length} characters in .*'x'; expected 40 or"):
        text(fields, "x", longest=40)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_whole_number_is_one_that_every_json_library_can_hold(sign: int) -> None:
    assert integer({"x": sign * (2**53 - 1)}, "x") == sign * (2**53 - 1)
    for value in (2**53, 2**53 + 1, 10**30):
        told = refusal(integer, {"x": sign * value})
        assert told == "got a number as 'x'; expected one below 2^53"


@pytest.mark.parametrize(
    ("message", "code", "got"),
    [
        (b"{}", "invalid_event", "got a binary frame"),
        ("", "invalid_json", "not JSON: Expecting value"),
        ("{", "invalid_json", "not JSON: Expecting property name"),
        ("[]", "invalid_event", "got an array"),
        ("null", "invalid_event", "got null"),
        ("7", "invalid_event", "got a number"),
    ],
)
def test_a_message_that_is_not_an_object_is_refused_with_an_example(
    message: str | bytes, code: str, got: str
) -> None:
    with pytest.raises(ProtocolError, match=got) as caught:
        decode_object(message, '{"type":"hello"}')
    assert caught.value.code == code
    assert caught.value.public_message.endswith('{"type":"hello"}')


def test_an_object_that_is_nested_too_deeply_for_python_is_not_json_either() -> None:
    """How deep that is depends on Python and on the stack so far."""
    for depth in [1, 10, 100, MOST_PARTS - 1]:
        message = '{"x":' + depth * "[" + depth * "]" + "}"
        try:
            said = decode_object(message, "{}")
        except ProtocolError as error:
            assert (error.code, depth > 100) == ("invalid_json", True)
        else:
            assert set(said) == {"x"}


@pytest.mark.parametrize("most_parts", [0, 1, 7])
def test_parts_are_counted_alike_in_text_and_in_bytes(most_parts: int) -> None:
    enough, too_much = json.dumps(most_parts * [0]), json.dumps((most_parts + 1) * [0])
    for message in (enough, enough.encode()) if most_parts else ("0", b"0"):
        assert parsed(message, most_parts) == json.loads(message)
    for message in (too_much, too_much.encode()):
        with pytest.raises(ProtocolError, match=f"{most_parts} or fewer"):
            parsed(message, most_parts)


def test_the_name_of_an_unknown_message_is_told_but_not_at_length() -> None:
    error = unknown("session.close", "session.update")
    assert error.code == "unknown_event"
    assert error.public_message == (
        "got a message of type 'session.close'; expected session.update"
    )
    assert len(unknown(10**6 * "x", "session.update").public_message) < 300


@pytest.mark.parametrize(
    "text",
    [
        "?",
        "AAAAA",
        "AA=A",
        "A A=A",
        "\u00e9" * 4,
        "====",
        "A",
        "data:audio/wav,AAAA",
        "data:;base64",
    ],
)
def test_text_that_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="the audio is not base64: ") as caught:
        base64_bytes(text)
    assert caught.value.code == "invalid_audio"


def test_pcm16_becomes_samples() -> None:
    pcm = np.array([1, -2, 3, -32768], dtype="<i2").tobytes()
    assert pcm16_decoder().feed(pcm).tolist() == [1 / 32768, -2 / 32768, 3 / 32768, -1]


def test_a_message_without_audio_is_refused() -> None:
    assert not_empty(b"a") == b"a"
    with pytest.raises(ProtocolError, match="got no audio bytes") as caught:
        not_empty(b"")
    assert caught.value.code == "invalid_audio"


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), (16_000.0, 16_000), (-0.0, 0), (1e300, int(1e300)), (0.5, None), (True, None)]
    + [(value, None) for value in (float("nan"), float("inf"), "7", None, [7])],
)
def test_a_whole_number_may_be_written_with_a_point(value: object, number: int | None) -> None:
    assert whole_number(value) == number
