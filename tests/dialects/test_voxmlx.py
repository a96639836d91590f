import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanscribe.dialects.events import (
    AppendAudio,
    Cancel,
    Cancelled,
    Commit,
    Committed,
    Delta,
    Done,
    Failure,
    Reply,
    ServerEvent,
    SessionCreated,
    Utterance,
)
from lanscribe.dialects.voxmlx import VoxmlxDialect
from lanscribe.errors import CODES, ProtocolError

DIALECT = VoxmlxDialect()


@pytest.mark.parametrize(
    ("message", "events"),
    [
        (
            '{"type":"session.update","session":7}',
            [Reply(('{"type":"session.updated"}',))],
        ),
        ('{"type":"input_audio_buffer.commit"}', []),
        ('{"type":"input_audio_buffer.commit","final":false}', []),
        ('{"type":"input_audio_buffer.commit","final":true}', [Commit(is_final=True)]),
        ('{"type":"input_audio_buffer.clear"}', [Cancel()]),
        ('{"type":"input_audio_buffer.append","audio":""}', []),
    ],
)
def test_client_events(message: str, events: list[object]) -> None:
    assert list(DIALECT.decode(message)) == events


def test_audio_starts_the_utterance() -> None:
    audio = base64.b64encode(b"\x00\x40\x00\xc0").decode()
    start, append = DIALECT.decode(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')
    assert start == Commit(is_final=False)
    assert isinstance(append, AppendAudio)
    assert append.samples.tolist() == [0.5, -0.5]


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (SessionCreated("s", 1), {"type": "session.created"}),
        (Delta(" a", 1.0), {"type": "response.audio_transcript.delta", "delta": " a"}),
        (Delta("", 1.0), None),
        (Done("a", 1.0, 1), {"type": "response.audio_transcript.done", "text": "a"}),
        (Cancelled(Utterance()), {"type": "input_audio_buffer.cleared"}),
        (Committed(Utterance(), 0), None),
        (
            Failure(ProtocolError("invalid_json", "bad")),
            {"type": "error", "message": "bad", "code": "invalid_json"},
        ),
    ],
)
def test_server_events(event: ServerEvent, payload: object) -> None:
    assert [json.loads(message) for message in DIALECT.encode(event)] == [payload] * bool(payload)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\x00", "invalid_event"),
        ("{", "invalid_json"),
        ('{"type":"response.create"}', "unknown_event"),
        ('{"type":"input_audio_buffer.commit","final":1}', "invalid_event"),
        ('{"type":"input_audio_buffer.append"}', "invalid_event"),
        ('{"type":"input_audio_buffer.append","audio":"?"}', "invalid_audio"),
    ],
)
def test_bad_messages_have_a_code(message: str | bytes, code: str) -> None:
    with pytest.raises(ProtocolError, match="expected") as caught:
        DIALECT.decode(message)
    assert caught.value.code == code


JSON = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
TYPES = ["session.update", *(f"input_audio_buffer.{kind}" for kind in ("append", "commit", "x"))]


@settings(deadline=None)
@given(
    st.binary()
    | st.text()
    | st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES) | JSON}, optional={"audio": JSON, "final": JSON}
    ).map(json.dumps)
)
def test_no_message_raises_anything_else(message: str | bytes) -> None:
    try:
        DIALECT.decode(message)
    except ProtocolError as error:
        assert error.code in CODES
