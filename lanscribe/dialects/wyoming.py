"""Wyoming, the protocol of Home Assistant's voice services (wyoming 1.10), over TCP.

An event is a line of JSON with its type, then data_length bytes of JSON, then payload_length
bytes of sound. `EventSplitter` cuts a stream into whole events; each one is a message to
`WyomingDialect`. docs/protocol.md describes the events.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lanscribe.dialects import model_names
from lanscribe.dialects.events import (
    AppendAudio,
    ClientEvent,
    Commit,
    Delta,
    DetectTurns,
    Done,
    Failure,
    Message,
    Reply,
    ServerEvent,
    SpeechStopped,
)
from lanscribe.dialects.extras import extras
from lanscribe.dialects.fields import parsed, whole_number
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.wyoming_options import WyomingOptions, asr_program
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import ProtocolError
from lanscribe.speech.audio import Samples, in_pieces
from lanscribe.speech.mixing import Mixer
from lanscribe.speech.pcm import WholeFrames, bounded, checked_rate_hz, decoded
from lanscribe.speech.plain import PlainText, plain
from lanscribe.speech.resampler import Resampler

HANG_UP: Message = b""
"""Not an event: this message in the sequence means that the connection is to be closed."""
MAX_HEADER_BYTES = 2**16
MAX_DATA_BYTES = 2**16
"""JSON is parsed in one go, and nobody else is served meanwhile."""
MAX_CHANNELS = 32
MAX_CHUNK_S = 60
"""More would take long to resample, and nobody else is served meanwhile."""
_ENCODINGS = {1: "pcm_u8", 2: "pcm_s16le", 3: "pcm_s24le", 4: "pcm_s32le"}
"""The encodings by the bytes of a sample."""
_MAX_PARTS = 4000
"""Of an event, without its sound; `transcribe` may hold the names of a large house."""
_ADVICE = "Leave the name out of transcribe, or choose that one"
_DOMAINS = ("asr", "tts", "handle", "intent", "wake", "mic", "snd")


class EventSplitter:
    """Cuts a stream of bytes into whole events."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        """The largest event; one that announces a larger size is refused before it is read."""
        self._waiting = bytearray()
        self._searched = 0
        self._size: int | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._waiting += data

    @property
    def is_between_events(self) -> bool:
        """Whether the stream may end here."""
        return not self._waiting

    def take(self) -> bytes | None:
        """The next whole event; None if it needs more bytes.

        Raises ProtocolError if the stream is not Wyoming or an event is too large: the start of
        the next event is then unknown.
        """
        if self._size is None:
            self._size = self._announced_size()
        if self._size is None or len(self._waiting) < self._size:
            return None
        event = bytes(self._waiting[: self._size])
        del self._waiting[: self._size]
        self._size, self._searched = None, 0
        return event

    def _announced_size(self) -> int | None:
        most = min(MAX_HEADER_BYTES, self.max_bytes)
        end = self._waiting.find(b"\n", self._searched, most)
        self._searched = len(self._waiting)
        if end < 0:
            if len(self._waiting) >= most:
                raise _too_large("a first line", len(self._waiting), most)
            return None
        data_bytes, payload_bytes = _lengths(_json_object(self._waiting[:end], "the first line"))
        if data_bytes > MAX_DATA_BYTES:
            raise _too_large("data", data_bytes, MAX_DATA_BYTES)
        size = end + 1 + data_bytes + payload_bytes
        if size > self.max_bytes:
            raise _too_large("an event", size, self.max_bytes)
        return size


class _Event(NamedTuple):
    type: str
    data: dict[str, Any]
    payload: bytes


class _Format(NamedTuple):
    rate: int
    """In hertz."""
    width: int
    """Bytes of a sample, a key of _ENCODINGS."""
    channels: int

    def __str__(self) -> str:
        return f"rate {self.rate}, width {self.width}, channels {self.channels}"


class _Sound:
    """The sound of one utterance, as 16 kHz mono."""

    def __init__(self, form: _Format) -> None:
        self.form = form
        self._whole = WholeFrames(form.width * form.channels)
        self._mixer = Mixer(form.rate)
        self._resampler = Resampler(checked_rate_hz(form.rate))

    def feed(self, payload: bytes) -> Samples:
        """Decode a chunk, to shape (n,). Raises ValueError if it is too long."""
        chunk_s = len(payload) / (self.form.width * self.form.channels * self.form.rate)
        if chunk_s > MAX_CHUNK_S:
            raise ValueError(f"got a chunk of {chunk_s:.0f} s, above the limit of {MAX_CHUNK_S} s")
        frames = self._whole.take(payload)
        channels = decoded(frames, _ENCODINGS[self.form.width]).reshape(-1, self.form.channels)
        return self._resampler.feed(bounded(self._mixer.feed(channels.T)))

    def flush(self) -> Samples:
        """The samples that the resampler holds back, shape (n,)."""
        return self._resampler.flush()


class WyomingDialect:
    """The codec of Wyoming's speech to text: an utterance is audio-start to audio-stop.

    Where the server ends commands, what comes between the end and audio-stop is ignored.
    """

    name = "wyoming"
    refusal = None

    def __init__(
        self, info: EngineInfo | None = None, options: WyomingOptions | None = None
    ) -> None:
        self._info = info
        self._options = options or WyomingOptions()
        self._model = info.model if info else ""
        self._sound: _Sound | None = None
        self._is_past = False
        """Whether the server has ended the utterance whose audio-stop is still to come."""
        self._has_begun_text = False
        self._plain = PlainText()
        self._readers: Mapping[str, Callable[[_Event], list[ClientEvent]]] = {
            "describe": self._describe,
            "ping": self._pong,
            "transcribe": self._choose,
            "audio-start": self._start,
            "audio-chunk": self._append,
            "audio-stop": self._stop,
        }

    def decode(self, message: Message) -> Sequence[ClientEvent]:
        """Decode one whole event; none if it does not belong to speech to text."""
        event = _parsed(message)
        read = self._readers.get(event.type)
        return read(event) if read else []

    def encode(self, event: ServerEvent) -> Sequence[Message]:
        """The events that report it, and HANG_UP after an error that replaces an answer."""
        match event:
            case SpeechStopped():
                self._is_past = self._sound is not None
                return []
            case Delta():
                text = self._plain.feed(event.text) if self._options.is_plain else event.text
                chunk = {"text": text, **extras(event)}
                if chunk == {"text": ""}:
                    return []
                return [*self._begin_text(), _message("transcript-chunk", chunk)]
            case Done():
                begin = self._begin_text()
                self._has_begun_text, self._plain = False, PlainText()
                text = plain(event.text) if self._options.is_plain else event.text
                data = {"text": text, **self._language, **extras(event)}
                whole = _message("transcript", data)
                return [*begin, whole, _message("transcript-stop")]
            case Failure():
                error = event.error
                told = _message("error", {"text": error.public_message, "code": error.code})
                # After most errors an answer is missing, and a client that knows no error event
                # would wait for it for ever.
                goes_on = error.kind.is_of_message or error.close_code is not None
                return [told] if goes_on else [told, HANG_UP]
            case _:
                return []

    def _choose(self, event: _Event) -> list[ClientEvent]:
        """Take the model; the engine decides on the language, which the text's events name."""
        _optional_text(event, "language")
        model_names.check(_optional_text(event, "name"), self._model, _ADVICE)
        return []

    def _start(self, event: _Event) -> list[ClientEvent]:
        if self._sound is not None and not self._is_past:
            raise ProtocolError(
                "invalid_event",
                "got audio-start in an utterance; expected audio-stop before the next one",
            )
        self._sound, self._is_past = _sound(_format(event)), False
        command = self._options.command
        return [DetectTurns(command)] if command else [Commit(is_final=False)]

    def _append(self, event: _Event) -> list[ClientEvent]:
        if self._is_past:
            return []
        begin = self._start(event) if self._sound is None else []
        assert self._sound is not None
        form = _format(event, self._sound.form)
        if form != self._sound.form:
            raise ProtocolError(
                "invalid_audio",
                f"got a chunk of {form} in an utterance of {self._sound.form}; expected the same"
                " until audio-stop",
            )
        try:
            samples = self._sound.feed(event.payload)
        except ValueError as error:
            raise ProtocolError(
                "invalid_audio", f"{error}; expected chunks of about 0.1 s"
            ) from error
        parts = in_pieces(samples) if self._options.command else [samples]
        return [*begin, *(AppendAudio(part) for part in parts if len(part))]

    def _stop(self, _event: _Event) -> list[ClientEvent]:
        """End the utterance; one that had no start has no audio and an empty transcript."""
        sound, was_past = self._sound, self._is_past
        self._sound, self._is_past = None, False
        if was_past:
            return []
        rest = [sound.flush()] if sound else []
        return [*(AppendAudio(samples) for samples in rest if len(samples)), Commit(is_final=True)]

    @property
    def _language(self) -> dict[str, str]:
        """The language of the text, if the engine knows only one."""
        languages = self._info.languages if self._info else ()
        return {"language": languages[0]} if len(languages) == 1 else {}

    def _begin_text(self) -> list[Message]:
        if self._has_begun_text:
            return []
        self._has_begun_text = True
        return [_message("transcript-start", self._language)]

    def _pong(self, event: _Event) -> list[ClientEvent]:
        text = event.data.get("text")
        return [Reply((_message("pong", {"text": text if isinstance(text, str) else None}),))]

    def _describe(self, _event: _Event) -> list[ClientEvent]:
        """Answer with what is served. Raises ProtocolError while that is not known yet.

        An answer without languages would be worse than none: without an answer Home Assistant
        asks again, but it keeps an answer until it is restarted.
        """
        if self._info is None:
            raise ProtocolError(
                "engine_unavailable", "the engine is loading; ask again in a few seconds"
            )
        programs: dict[str, Any] = {domain: [] for domain in _DOMAINS} | {
            "asr": [asr_program(self._info, ends_commands=self._options.command is not None)]
        }
        return [Reply((_message("info", programs),))]


def type_of(message: Message) -> str:
    """The type of an event; "" if it has none."""
    try:
        return _parsed(message).type
    except ProtocolError:
        return ""


def _message(kind: str, data: Mapping[str, Any] | None = None) -> bytes:
    """One whole event without a payload."""
    header: dict[str, Any] = {"type": kind}
    if not data:
        return to_json(header).encode() + b"\n"
    body = to_json(data).encode()
    return to_json(header | {"data_length": len(body)}).encode() + b"\n" + body


def _parsed(message: Message) -> _Event:
    """Read one whole event. Raises ProtocolError."""
    data = message.encode(errors="replace") if isinstance(message, str) else message
    line, _, rest = data.partition(b"\n")
    header = _json_object(line, "the first line")
    data_bytes, payload_bytes = _lengths(header)
    if len(rest) != data_bytes + payload_bytes:
        raise ProtocolError(
            "invalid_event",
            f"got {len(rest)} bytes after the first line; expected {data_bytes + payload_bytes}",
        )
    kind, inline = header.get("type"), header.get("data") or {}
    if not isinstance(kind, str) or not isinstance(inline, dict):
        raise ProtocolError("invalid_event", 'expected a "type", a string, and "data", an object')
    more = _json_object(rest[:data_bytes], "the data") if data_bytes else {}
    return _Event(kind, inline | more, rest[data_bytes:])


def _json_object(data: bytes | bytearray, what: str) -> dict[str, Any]:
    try:
        value = parsed(bytes(data), _MAX_PARTS)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            "invalid_json", f"{what} of an event is not JSON: {error}; expected an object"
        ) from error
    if not isinstance(value, dict):
        raise ProtocolError("invalid_event", f"{what} of an event is not an object; expected one")
    return value


def _lengths(header: Mapping[str, Any]) -> tuple[int, int]:
    """How many bytes of data and of payload follow the first line."""
    data_bytes, payload_bytes = (
        _whole_number(header, key, default=0, most=2**62)
        for key in ("data_length", "payload_length")
    )
    return data_bytes, payload_bytes


def _format(event: _Event, default: _Format | None = None) -> _Format:
    """The format of the audio, as an event states it."""
    rate, width, channels = default or (None, None, None)
    return _Format(
        _whole_number(event.data, "rate", default=rate, most=10**6),
        _whole_number(event.data, "width", default=width, least=1, most=4),
        _whole_number(event.data, "channels", default=channels, least=1, most=MAX_CHANNELS),
    )


def _sound(form: _Format) -> _Sound:
    try:
        return _Sound(form)
    except ValueError as error:
        raise ProtocolError("invalid_audio", str(error)) from error


def _whole_number(
    data: Mapping[str, Any], key: str, *, default: int | None, least: int = 0, most: int
) -> int:
    got = default if data.get(key) is None else data[key]
    value = whole_number(got)
    if value is None or not least <= value <= most:
        raise ProtocolError(
            "invalid_event",
            f"got {got!r:.100} as {key!r}; expected a whole number from {least} to {most}",
        )
    return value


def _optional_text(event: _Event, key: str) -> str:
    value = event.data.get(key)
    if value is not None and not isinstance(value, str):
        raise ProtocolError(
            "invalid_event", f"got {value!r:.100} as {key!r} of {event.type}; expected a string"
        )
    return value or ""


def _too_large(what: str, size: int, most: int) -> ProtocolError:
    return ProtocolError(
        "message_too_large",
        f"got {what} of {size:.6g} bytes; expected at most {most}: send audio in smaller chunks",
    )
