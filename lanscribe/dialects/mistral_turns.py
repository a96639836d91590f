"""Turn detection in Mistral's realtime transcription: its settings, its events, and the whole text.

Mistral's model judges by what is said whether a turn is over. Here silence decides, so the
thresholds are compared with the likelihood of speech; docs/protocol.md says how.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lanscribe.dialects.events import (
    MAX_LISTED_WORDS,
    Committed,
    Delta,
    Done,
    Failure,
    ServerEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    Utterance,
)
from lanscribe.dialects.extras import extras
from lanscribe.dialects.fields import Fields, any_number
from lanscribe.dialects.vllm import usage
from lanscribe.errors import ProtocolError
from lanscribe.speech.turns import PauseSettings, TurnSettings

_MAX_SILENCE_MS = 10_000
_MAX_TIMEOUT_MS = 60_000
_LONGEST_MS = 1e12
_MOST_TEXTS = 256
"""How many are kept apart: a string for each token takes ten times the memory of its letters."""
_EAGER_SHARE = 0.5
"""Of min_silence_ms: without a model of meaning, the time itself makes an end more certain."""

Payload = dict[str, Any]
"""A message before it is written as JSON."""


@dataclass(frozen=True, slots=True)
class MistralTurns:
    """The turn_detection of a session, at Mistral's own defaults (mistralai 3.7.0)."""

    start_threshold: float = 0.5
    eager_end_threshold: float = 0.5
    end_threshold: float = 0.33
    min_silence_ms: float = 500
    end_timeout_ms: float | None = 3000

    @property
    def fields(self) -> Payload:
        """The object that reports it."""
        timeout_ms = self.end_timeout_ms
        return {
            "start_threshold": self.start_threshold,
            "eager_end_threshold": self.eager_end_threshold,
            "end_threshold": self.end_threshold,
            "min_silence_ms": round(self.min_silence_ms),
            "end_timeout_ms": None if timeout_ms is None else round(timeout_ms),
        }

    @property
    def settings(self) -> TurnSettings:
        """What it means to the finder of turns."""
        silence_s = self.min_silence_ms / 1000
        timeout_s = None if self.end_timeout_ms is None else self.end_timeout_ms / 1000
        return TurnSettings(
            threshold=self.start_threshold,
            silence_s=silence_s,
            end_threshold=self.end_threshold,
            pause=PauseSettings(self.eager_end_threshold, _EAGER_SHARE * silence_s, timeout_s),
        )


def wished(turns: Fields) -> MistralTurns:
    """The settings of a turn_detection object; an absent field has its default.

    Raises ProtocolError for values that Mistral refuses.
    """
    default = MistralTurns()
    result = MistralTurns(
        start_threshold=_likelihood(turns, "start_threshold", default.start_threshold),
        eager_end_threshold=_likelihood(turns, "eager_end_threshold", default.eager_end_threshold),
        end_threshold=_likelihood(turns, "end_threshold", default.end_threshold),
        min_silence_ms=_milliseconds(turns, "min_silence_ms", default.min_silence_ms),
        end_timeout_ms=_timeout_ms(turns, default.end_timeout_ms),
    )
    _check_order(result)
    timeout_ms = result.end_timeout_ms
    return replace(
        result,
        min_silence_ms=min(result.min_silence_ms, _MAX_SILENCE_MS),
        end_timeout_ms=None if timeout_ms is None else min(timeout_ms, _MAX_TIMEOUT_MS),
    )


class Spoken:
    """What was said since the last transcription.done, which may be several turns.

    Mistral's own client and others end at the first transcription.done, so it is sent for a flush
    or an end only. Its text is that of all deltas since the last one.
    """

    def __init__(self) -> None:
        self._number = 0
        """Of the utterance of the last text."""
        self._forget()

    def _forget(self) -> None:
        self._texts: list[str] = []
        self._segments: list[Payload] = []
        self._usage: dict[str, int] = {}
        self._audio_s = 0.0
        self._extras: Payload = {}

    def delta(self, delta: Delta) -> str:
        """The text to send; a space keeps it apart from that of the turn before."""
        if not delta.text:
            return ""
        is_new, self._number = delta.of.number != self._number, delta.of.number
        is_apart = is_new and self._texts and not delta.text[0].isspace()
        text = f" {delta.text}" if is_apart else delta.text
        self._texts.append(text)
        if len(self._texts) == _MOST_TEXTS:
            self._texts = ["".join(self._texts)]
        return text

    def end(self, done: Done) -> list[Payload]:
        """An utterance's text is complete; its segments."""
        segments = [
            {
                "text": word.text,
                "start": round(done.of.offset_s + word.start_s, 3),
                "end": round(done.of.offset_s + word.end_s, 3),
            }
            for word in done.words
        ]
        self._segments += segments[: MAX_LISTED_WORDS + 1 - len(self._segments)]
        self._usage = _sum(self._usage, usage(done))
        self._audio_s += done.audio_s
        more = extras(done, offset_s=done.of.offset_s)
        lost = [*self._extras.get("lost", []), *more.get("lost", [])]
        self._extras = more | ({"lost": lost} if lost else {})
        return segments

    def take(self) -> Payload:
        """The fields of the transcription.done, which begins the next."""
        listed = self._segments if len(self._segments) <= MAX_LISTED_WORDS else []
        text = "".join(self._texts)
        if text:
            self._extras.pop("no_speech", None)
        whole = {
            "text": text,
            "segments": [{"type": "transcription_segment", **segment} for segment in listed],
            "usage": {**self._usage, "prompt_audio_seconds": round(self._audio_s)},
            **self._extras,
        }
        self._forget()
        return whole


class TurnEvents:
    """The turn events of a session, in the order in which a client can use them.

    The speaker's next turn may begin while the text of the last one is still being written. Then
    its events wait, so that all text between a turn.start and its turn.end belongs to that turn.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Payload | None]] = deque()
        """Messages, each with the utterance whose text must be complete before; 0 for none."""
        self._is_open = False
        """Whether a turn.start was sent and its turn.end was not."""

    def take(self, event: ServerEvent) -> Iterator[Payload]:
        """Take in an event about a turn or an utterance; the messages that can be sent now."""
        match event:
            case SpeechStarted():
                self._waiting.append((0, _message("turn.start", event.at_s)))
            case SpeechPaused():
                self._waiting.append((0, _message("turn.eager_end", event.at_s)))
            case SpeechResumed():
                self._waiting.append((0, _message("turn.resume", event.at_s)))
            case SpeechStopped():
                reason = "timeout" if event.is_forced else "threshold"
                self._waiting.append((event.of.number, _turn_end(event.at_s, reason)))
            case Committed() if not (self._waiting and self._waiting[-1][0] == event.of.number):
                self._waiting.append((event.of.number, None))
        yield from self._released()

    def is_unannounced(self, done: Done) -> bool:
        """Whether the end of the session has ended the utterance, not the client or silence."""
        return not (self._waiting and self._waiting[0][0] == done.of.number)

    def before(self, end: Done | Failure) -> Iterator[Payload]:
        """The turn.end that belongs before the end of an utterance's text."""
        of = end.of or Utterance()
        if self._waiting and self._waiting[0][0] == of.number:
            _, message = self._waiting.popleft()
        elif self._is_open and isinstance(end, Done):
            message = _turn_end(of.offset_s + end.audio_s, "timeout")
        else:
            message = None
        if message:
            self._is_open = False
            yield message

    def after(self) -> Iterator[Payload]:
        """The messages that waited for the end of an utterance's text."""
        yield from self._released()

    def _released(self) -> Iterator[Payload]:
        while self._waiting and not self._waiting[0][0]:
            _, message = self._waiting.popleft()
            assert message is not None
            self._is_open = True
            yield message


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + number for name, number in other.items()}


def _message(kind: str, at_s: float) -> Payload:
    return {"type": kind, "time_s": round(at_s, 3)}


def _turn_end(at_s: float, reason: str) -> Payload:
    return _message("turn.end", at_s) | {"end_reason": reason}


def _check_order(turns: MistralTurns) -> None:
    """Raise ProtocolError for values that contradict each other."""
    if not turns.start_threshold >= turns.eager_end_threshold > turns.end_threshold:
        raise ProtocolError(
            "invalid_event",
            f"got start_threshold {turns.start_threshold:g}, eager_end_threshold"
            f" {turns.eager_end_threshold:g} and end_threshold {turns.end_threshold:g} in"
            " turn_detection, with the defaults of absent ones; expected start_threshold >="
            " eager_end_threshold > end_threshold",
        )
    if turns.end_timeout_ms is not None and turns.end_timeout_ms < turns.min_silence_ms:
        raise ProtocolError(
            "invalid_event",
            f"got end_timeout_ms {turns.end_timeout_ms:g} and min_silence_ms"
            f" {turns.min_silence_ms:g} in turn_detection; expected end_timeout_ms to be at least"
            " min_silence_ms",
        )


def _likelihood(turns: Fields, name: str, default: float) -> float:
    return _number(turns, name, default, most=1, expected="a number from 0 to 1")


def _milliseconds(turns: Fields, name: str, default: float) -> float:
    return _number(
        turns, name, default, most=_LONGEST_MS, expected=f"milliseconds from 0 to {_LONGEST_MS:.0f}"
    )


def _timeout_ms(turns: Fields, default: float | None) -> float | None:
    """The timeout; null means none."""
    if turns.get("end_timeout_ms", default) is None:
        return None
    return _milliseconds(turns, "end_timeout_ms", default or 0.0)


def _number(turns: Fields, name: str, default: float, *, most: float, expected: str) -> float:
    value = turns.get(name)
    if value is None:
        return default
    found = any_number(value)
    if found is None or not 0 <= found <= most:
        raise ProtocolError(
            "invalid_event", f"got {value!r:.50} as turn_detection.{name}; expected {expected}"
        )
    return float(found)
