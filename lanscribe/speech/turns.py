"""Where a speaker's turns begin and end in a stream of sound.

Decisions only, by how likely each block of 32 ms is speech. Positions count samples from the
first of the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lanscribe.speech.audio import Samples, sample_count
from lanscribe.speech.detection import BLOCK_SAMPLES, SpeechStream

ONSET_BLOCKS = 3
"""This many consecutive blocks of speech begin a turn; fewer are a click."""
COMMAND_ONSET_BLOCKS = 10
"""This many are the speech of a command; fewer may be the end of a wake word."""
NEUTRAL_THRESHOLD = 0.5
_LOWEST_THRESHOLD, _HIGHEST_THRESHOLD = 0.05, 0.95
"""Beyond them everything, or nothing, would be speech."""
_HYSTERESIS = 0.15
"""A turn goes on while speech is less likely by at most this than the threshold to begin one."""
_LEAST_LIKELY = 0.01


@dataclass(frozen=True, slots=True)
class PauseSettings:
    """The conditions of a pause in a turn, which may be its end.

    threshold: 0 to 1; a block that is less likely speech belongs to a pause.
    silence_s: the length at which a pause is reported; whole blocks, rounded up.
    timeout_s: the length at which a pause ends the turn, even if it is not silent; None for none.
    """

    threshold: float
    silence_s: float
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The conditions of a turn.

    threshold: 0 to 1; how likely a block must be speech to begin a turn.
    prefix_padding_s: how much sound before the speech belongs to the turn.
    silence_s: the length of the silence that ends a turn; whole blocks, rounded up.
    end_threshold: 0 to 1; a block that is less likely speech is silent; None: 0.15 below threshold.
    pause: when pauses are reported; None for never.
    is_command: all sound is one turn; the silence after its speech ends it, and what follows is
        no part of any turn.
    """

    threshold: float = NEUTRAL_THRESHOLD
    prefix_padding_s: float = 0.3
    silence_s: float = 0.5
    end_threshold: float | None = None
    pause: PauseSettings | None = None
    is_command: bool = False


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """The sound that follows belongs to a turn; its first sample is number `at`.

    has_speech: whether speech began it.
    """

    at: int
    has_speech: bool = True


@dataclass(frozen=True, slots=True)
class TurnPaused:
    """The turn may have ended before sample number `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class TurnResumed:
    """The pause has ended before sample number `at`, and the turn goes on."""

    at: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn's last sample is the one before number `at`.

    is_timeout: it was not silent; its pause was too long.
    """

    at: int
    is_timeout: bool = False


TurnMark = TurnBegan | TurnPaused | TurnResumed | TurnEnded
TurnPiece = TurnMark | Samples
"""A turn is a TurnBegan, then samples, then a TurnEnded; each pause is a TurnPaused, then a
TurnResumed unless the turn ends."""


class Turns:
    """Extracts the turns of a stream, and holds back sound that may be the padding of the next.

    speech: judges the stream.
    start: the number of the first sample to come.
    is_speaking: whether a turn has begun before it.
    """

    def __init__(
        self,
        settings: TurnSettings,
        speech: SpeechStream,
        start: int,
        *,
        is_speaking: bool = False,
    ) -> None:
        self._settings = settings
        self._speech = speech
        self.is_speaking = is_speaking
        """Whether a turn has begun and not ended."""
        self._begins_at = _bounded(settings.threshold)
        self._lasts_at = _lasts_at(settings)
        self._held: Samples = np.empty(0, dtype=np.float32)
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._position = start
        self._released_samples = 0  # of the block not judged yet
        self._speech_blocks = 0
        self._quiet_samples = 0
        self._pause = _Pause(settings.pause, self._lasts_at) if settings.pause else None
        self._command = _Command(self._begins_at) if settings.is_command else None

    def add(self, samples: Samples) -> list[TurnPiece]:
        """Take the next samples, shape (n,); returns the pieces of turns that they complete."""
        judged = self._speech.add(samples)
        sound = np.concatenate([self._rest, samples])
        pieces: list[TurnPiece] = []
        if self._command and not self._command.has_begun:
            self._command.has_begun = self.is_speaking = True
            pieces.append(TurnBegan(self._position, has_speech=False))
        start = 0
        for likelihood in judged:
            stop = start + BLOCK_SAMPLES - self._released_samples
            self._released_samples = 0
            pieces += self._hear(sound[start:stop], likelihood.best)
            start = stop
        self._rest = sound[start:]
        return pieces

    def release(self) -> Samples:
        """Abandon the turn, if any; returns the samples held back, shape (n,)."""
        is_past = self._command and self._command.has_begun and not self.is_speaking
        released = np.concatenate([self._held, self._rest])[: 0 if is_past else None]
        self._position += len(self._rest)
        self._released_samples += len(self._rest)
        self._held = self._rest = np.empty(0, dtype=np.float32)
        self._end()
        return released

    def _hear(self, block: Samples, likelihood: float) -> Sequence[TurnPiece]:
        self._position += len(block)
        if self.is_speaking:
            return self._go_on(block, likelihood)
        if self._command:
            return []
        self._speech_blocks = self._speech_blocks + 1 if likelihood >= self._begins_at else 0
        self._hold(block)
        if self._speech_blocks < ONSET_BLOCKS:
            return []
        began, self._held = self._held, np.empty(0, dtype=np.float32)
        self.is_speaking = True
        return [TurnBegan(self._position - len(began)), began]

    def _go_on(self, block: Samples, likelihood: float) -> Sequence[TurnPiece]:
        if self._command and not self._command.has_speech(likelihood):
            return [block]
        is_quiet = likelihood < self._lasts_at
        self._quiet_samples = self._quiet_samples + len(block) if is_quiet else 0
        marks = self._pause.marks(len(block), likelihood, self._position) if self._pause else []
        if is_quiet and self._quiet_samples >= sample_count(self._settings.silence_s):
            marks.append(TurnEnded(self._position))
        elif self._pause and self._pause.is_too_long:
            marks.append(TurnEnded(self._position, is_timeout=True))
        if marks and isinstance(marks[-1], TurnEnded):
            self._end()
        return [block, *marks]

    def _end(self) -> None:
        self.is_speaking = False
        self._speech_blocks = self._quiet_samples = 0
        if self._pause:
            self._pause.forget()

    def _hold(self, block: Samples) -> None:
        kept = sample_count(self._settings.prefix_padding_s) + ONSET_BLOCKS * BLOCK_SAMPLES
        self._held = np.concatenate([self._held, block])[-kept:]


class _Pause:
    """The pause that a turn is in, if any."""

    def __init__(self, settings: PauseSettings, lasts_at: float) -> None:
        self._settings = settings
        self._speaks_at = max(_bounded(settings.threshold), lasts_at)
        self._samples = 0
        self._is_reported = False

    def marks(self, samples: int, likelihood: float, position: int) -> list[TurnMark]:
        """Take a block that ends at `position`; returns what is to be reported."""
        if likelihood >= self._speaks_at:
            was_reported = self._is_reported
            self.forget()
            return [TurnResumed(position)] if was_reported else []
        self._samples += samples
        if self._is_reported or self._samples < sample_count(self._settings.silence_s):
            return []
        self._is_reported = True
        return [TurnPaused(position)]

    @property
    def is_too_long(self) -> bool:
        """Whether the pause ends the turn."""
        timeout_s = self._settings.timeout_s
        return timeout_s is not None and self._samples >= max(1, sample_count(timeout_s))

    def forget(self) -> None:
        """The pause is over."""
        self._samples, self._is_reported = 0, False


class _Command:
    """How far a command has come."""

    def __init__(self, begins_at: float) -> None:
        self._begins_at = begins_at
        self._speech_blocks = 0
        self.has_begun = False
        """Whether any sound has come."""

    def has_speech(self, likelihood: float) -> bool:
        """Take a block; whether somebody has spoken by now."""
        if self._speech_blocks < COMMAND_ONSET_BLOCKS:
            is_speech = likelihood >= self._begins_at
            self._speech_blocks = self._speech_blocks + 1 if is_speech else 0
        return self._speech_blocks >= COMMAND_ONSET_BLOCKS


def _bounded(threshold: float) -> float:
    return min(max(threshold, _LOWEST_THRESHOLD), _HIGHEST_THRESHOLD)


def _lasts_at(settings: TurnSettings) -> float:
    """How likely speech must be for a turn to go on."""
    if settings.end_threshold is None:
        return max(_bounded(settings.threshold) - _HYSTERESIS, _LEAST_LIKELY)
    return min(max(settings.end_threshold, _LEAST_LIKELY), _HIGHEST_THRESHOLD)
