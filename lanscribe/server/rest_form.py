"""The request of a client that uploads a file, and the answers to it."""

import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Literal, get_args

from starlette.datastructures import FormData, UploadFile
from starlette.responses import PlainTextResponse, Response

from lanscribe.dialects.extras import lost_field, no_speech_field
from lanscribe.engines.base import EngineInfo
from lanscribe.media.missing import MissingParts, missing_field, track_field
from lanscribe.media.pieces import About, Missing, Piece
from lanscribe.server.http_errors import FieldError, JsonResponse
from lanscribe.server.missing import missing_header, track_header
from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.captions import caption_file, verbose
from lanscribe.speech.silence import Listener, NoSpeech
from lanscribe.speech.spans import Span, Spans
from lanscribe.speech.timeline import Timeline
from lanscribe.speech.transcript import Token, Transcript
from lanscribe.voxtral.steps import steps_of

LOST_HEADER = "Lanscribe-Lost"
NO_SPEECH_HEADER = "Lanscribe-No-Speech"
_INSIDE = ("damaged", "gap")
"""Parts that are missing in the middle of a recording."""
_TRACK = re.compile(r"|[A-Za-z0-9][A-Za-z0-9_-]{0,34}", re.ASCII)
"""No language tag is longer (RFC 5646, 4.4.1)."""
Format = Literal["json", "text", "srt", "vtt", "verbose_json"]
_OF_WHISPER = {
    "seek": 0,
    "tokens": [],
    "temperature": 0.0,
    "avg_logprob": 0.0,
    "compression_ratio": 1.0,
    "no_speech_prob": 0.0,
}
"""Fields of a segment that typed clients require and no engine here can fill."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The request in a form."""

    file: BinaryIO
    track: str
    format: Format
    language: str
    granularities: frozenset[str]
    is_streamed: bool
    tells_progress: bool

    @classmethod
    def of(cls, form: FormData) -> "Wanted":
        """Read the form. Raises ProtocolError naming the field and what is allowed in it.

        model and prompt are ignored: one model is served, and it takes no prompt.
        """
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise FieldError("file", "missing; send the sound as a file with a file name")
        _check_temperature(_text(form, "temperature", "0"))
        wanted = _text(form, "response_format", "json")
        is_streamed = _boolean(form, "stream")
        allowed = ("json", "text") if is_streamed else get_args(Format)
        names = [*form.getlist("timestamp_granularities[]")]
        names += form.getlist("timestamp_granularities")
        for name in names:
            _one_of("timestamp_granularities[]", name, ("word", "segment"))
        return cls(
            file.file,
            _track(_text(form, "track", "")),
            _one_of("response_format", wanted, allowed),
            _text(form, "language", ""),
            frozenset(map(str, names)) or frozenset({"segment"}),
            is_streamed,
            _boolean(form, "progress"),
        )


@dataclass(slots=True)
class FileTranscript:
    """The growing text of a file, and the parts of the file that it does not cover."""

    transcript: Transcript = field(default_factory=Transcript)
    lost: Spans = field(default_factory=Spans)
    about: About = field(default_factory=About)
    missing: MissingParts = field(default_factory=MissingParts)
    sound: Listener = field(default_factory=Listener)
    timeline: Timeline = field(default_factory=Timeline)

    @property
    def audio_s(self) -> float:
        """How long the file is, the parts included that its samples leave out."""
        return round(duration_s(self.sound.samples) + self.timeline.skipped_s, 3)

    async def counted(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[Samples]:
        """Yield the sound of a file, and count its pieces."""
        async for piece in pieces:
            match piece:
                case About():
                    self.about = piece
                case Missing():
                    self._miss(piece)
                case _:
                    self.sound.add(piece)
                    yield piece

    def _miss(self, part: Missing) -> None:
        self.missing.add(part)
        if part.skipped_s:
            self.timeline.skip(duration_s(self.sound.samples), part.skipped_s)
        if part.end_s is not None and part.code in _INSIDE:
            self.lost.add(Span(part.start_s, part.end_s))

    def hear(self, token: Token) -> Token:
        """Add a token of the engine; return it with the times of the whole file."""
        if token.text:
            start_s, end_s = self.timeline.placed(token.start_s, token.end_s)
            placed = replace(token, start_s=start_s, end_s=end_s)
            self.transcript.append(placed)
            return placed
        end_s = self.timeline.whole_s(token.end_s)
        if token.is_lost and token.start_s is not None:
            self.lost.add(Span(self.timeline.whole_s(token.start_s), end_s))
        return replace(token, end_s=end_s)

    @property
    def no_speech(self) -> NoSpeech | None:
        """Why there is no text; None if there is text, or if audio was lost."""
        return None if self.lost or self.transcript.text.strip() else self.sound.no_speech()

    @property
    def _told(self) -> dict[str, Any]:
        """Fields that OpenAI does not have: what was not heard and why, and the track."""
        told = missing_field(self.missing) | track_field(self.about)
        return lost_field(self.lost) | no_speech_field(self.no_speech) | told

    @property
    def so_far(self) -> dict[str, Any]:
        """The fields that an error reports of the work done before it."""
        if not self.sound.samples:
            return {}
        told = lost_field(self.lost) | missing_field(self.missing) | track_field(self.about)
        return {"text": self.transcript.text, "duration": self.audio_s, **told}

    def answer(self, wanted: Wanted, info: EngineInfo) -> Response:
        """The transcript in the format that was asked for."""
        words, headers = self.transcript.words, self._headers
        match wanted.format:
            case "text":
                return PlainTextResponse(self.transcript.text + "\n", headers=headers)
            case "srt":
                return Response(
                    caption_file(words, "srt"), 200, headers, "application/x-subrip; charset=utf-8"
                )
            case "vtt":
                return Response(caption_file(words, "vtt"), 200, headers, "text/vtt; charset=utf-8")
            case "json":
                content = {"text": self.transcript.text, "usage": self._usage}
                return JsonResponse(content | self._told)
        details = verbose(words, self.audio_s)
        segments = [segment | _OF_WHISPER for segment in details.pop("segments")]
        if "segment" in wanted.granularities:
            details["segments"] = segments
        if "word" not in wanted.granularities:
            del details["words"]
        language = _language(wanted.language, info.languages)
        head = {"task": "transcribe", "language": language}
        return JsonResponse(head | details | {"usage": self._usage} | self._told)

    def done(self) -> dict[str, Any]:
        """The last event of a stream; it counts vLLM's tokens, by OpenAI's and by vLLM's names."""
        input_tokens = steps_of(self.audio_s)
        output_tokens = self.transcript.token_count
        return {
            "type": "transcript.text.done",
            "text": self.transcript.text,
            "usage": {
                "type": "tokens",
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "total_tokens": input_tokens + output_tokens,
                "prompt_tokens": input_tokens,
                "completion_tokens": output_tokens,
            },
            **self._told,
        }

    @property
    def _headers(self) -> dict[str, str]:
        """The facts of _told as headers, for bodies without a place for them."""
        headers = {}
        if self.lost:
            spans = ("-".join(f"{time_s:.3f}" for time_s in span.rounded) for span in self.lost)
            headers[LOST_HEADER] = ", ".join(spans)
        if no_speech := self.no_speech:
            level = f"; level_dbfs={no_speech.level_dbfs}" if no_speech.level_dbfs else ""
            headers[NO_SPEECH_HEADER] = no_speech.cause + level
        return headers | missing_header(self.missing) | track_header(self.about)

    @property
    def _usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": self.audio_s}


def _text(form: FormData, name: str, default: str) -> str:
    value = form.get(name, default)
    if not isinstance(value, str):
        raise FieldError(name, "got a file; expected text")
    return value.strip() or default


def _boolean(form: FormData, name: str) -> bool:
    text = _text(form, name, "false").lower()
    return _one_of(name, text, ("true", "false", "1", "0")) in {"true", "1"}


def _check_temperature(text: str) -> None:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise FieldError("temperature", f"got {text[:100]!r}; expected a number from 0 to 1")


def _track(text: str) -> str:
    if not _TRACK.fullmatch(text):
        raise FieldError(
            "track",
            f"got {text[:100]!r}; expected a number from 1, a language such as en, default or all",
        )
    return text


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        got = repr(value)[:100] if isinstance(value, str) else "a file"
        raise FieldError(name, f"got {got}; expected one of {', '.join(allowed)}")
    return value


def _language(asked: str, known: tuple[str, ...]) -> str:
    """The requested language if the engine knows it, else its only one, else "und"."""
    primary = asked.lower().partition("-")[0]
    if primary in known:
        return primary
    return known[0] if len(known) == 1 else "und"
