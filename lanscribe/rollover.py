"""When one engine session has to make way for the next, and from where the next listens.

Decisions only; a position is a time in seconds from the utterance's first sample.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from lanscribe.audio import Samples, duration_s, sample_count
from lanscribe.config import RolloverSettings
from lanscribe.engines.base import Token

FRAME_S = 0.05
FRAME_SAMPLES = sample_count(FRAME_S)
FLOOR_WINDOW_S = 20.0
SPEECH_OVER_FLOOR = 4.0
"""Speech is 12 dB above the quietest frame of the last seconds."""
QUIET_LEVEL = 0.003
"""Nothing below -50 dBFS (RMS) counts as speech."""
LOUD_LEVEL = 0.02
"""Nothing above -34 dBFS (RMS) counts as a pause."""
UNCERTAIN_S = 0.6
"""A word that ends this close to a cut in the middle of speech may be half a word."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where an engine session begins to listen."""

    at_s: float
    is_clean: bool
    """Whether everything before at_s was said and nothing after it: no stitching is needed."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where an engine session gets no more audio, and whether that is in a pause."""

    at_s: float
    is_in_pause: bool

    def is_uncertain(self, token: Token) -> bool:
        """Whether the word may be half a word, because it ends at a cut through speech."""
        return not self.is_in_pause and token.end_s > self.at_s - UNCERTAIN_S


def within(settings: RolloverSettings, max_session_s: float | None) -> RolloverSettings:
    """The settings, with lengths that an engine with such a limit can keep."""
    limit_s = min(settings.limit_s, 0.9 * (max_session_s or settings.limit_s))
    update = {
        "limit_s": limit_s,
        "target_s": min(settings.target_s, 0.8 * limit_s),
        "overlap_s": min(settings.overlap_s, limit_s / 6),  # each one has to get further
    }
    return settings.model_copy(update=update)


class Loudness:
    """Tells speech from pauses by level, frame by frame."""

    def __init__(self, start_s: float, kept_s: float) -> None:
        self._next_s = start_s
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._levels: deque[float] = deque(maxlen=round(FLOOR_WINDOW_S / FRAME_S))
        self._speech: deque[tuple[float, bool]] = deque(maxlen=round(kept_s / FRAME_S))

    def add(self, samples: Samples) -> None:
        """Take the next samples, shape (n,)."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = samples[whole:]
        frames = samples[:whole].reshape(-1, FRAME_SAMPLES)
        for level in np.sqrt(np.mean(np.square(frames), axis=1)):
            self._levels.append(float(level))
            over_floor = min(self._levels) * SPEECH_OVER_FLOOR
            threshold = min(max(over_floor, QUIET_LEVEL), LOUD_LEVEL)
            self._speech.append((self._next_s, bool(level > threshold)))
            self._next_s += FRAME_S

    @property
    def is_between_frames(self) -> bool:
        """Whether everything added is in whole frames."""
        return not len(self._rest)

    def pause_s(self) -> float:
        """How long it has been quiet, up to now."""
        quiet = 0
        for _, is_speech in reversed(self._speech):
            if is_speech:
                break
            quiet += 1
        return quiet * FRAME_S

    def speech_s(self, start_s: float, end_s: float) -> float:
        """How much speech there was from start_s to end_s; costs only what lies after start_s."""
        frames = 0
        for at_s, is_speech in reversed(self._speech):
            if at_s < start_s:
                break
            frames += is_speech and at_s < end_s
        return frames * FRAME_S

    def last_pause(self, start_s: float, end_s: float, length_s: float) -> float | None:
        """The middle of the last pause of length_s within the span; None if there is none."""
        run: list[float] = []
        for at_s, is_speech in reversed(self._speech):
            if is_speech or at_s < start_s:
                run = []
            elif at_s + FRAME_S <= end_s:
                run.append(at_s)
                if len(run) * FRAME_S >= length_s:
                    return at_s + length_s / 2
        return None


class Rollover:
    """Follows one engine session from where it starts to its end."""

    def __init__(self, settings: RolloverSettings, start: Start) -> None:
        self._settings = settings
        self._start_s = start.at_s
        self.fed_s = start.at_s
        """How far the engine session was given audio."""
        self._last_word_s = start.at_s
        kept_s = settings.limit_s + settings.rut_s + settings.overlap_s
        self._loudness = Loudness(start.at_s, kept_s)

    def fed(self, samples: Samples) -> Cut | None:
        """The engine session is given samples; whether to end it after them.

        Only at the end of a frame, so that a cut in a pause is one.
        """
        self._loudness.add(samples)
        self.fed_s += duration_s(len(samples))
        if not self._loudness.is_between_frames:
            return None
        age_s = self.fed_s - self._start_s
        if age_s >= self._settings.target_s and self._loudness.pause_s() >= self._settings.pause_s:
            return Cut(self.fed_s, is_in_pause=True)
        if age_s >= self._settings.limit_s:
            return Cut(self.fed_s, is_in_pause=False)
        return None

    def heard(self, token: Token) -> bool:
        """The engine session emitted a token; whether it is in a rut and has to be given up."""
        if token.text:
            self._last_word_s = token.end_s
            return False
        wordless_s = self._loudness.speech_s(self._last_word_s, token.end_s)
        return wordless_s >= self._settings.rut_s

    def after_cut(self, cut: Cut, said_s: float, oldest_s: float) -> Start:
        """Where the successor of a session that ended as planned begins."""
        if cut.is_in_pause:
            return Start(cut.at_s - self._settings.pause_s / 2, is_clean=True)
        return self.after_failure(said_s, oldest_s)

    def after_failure(self, said_s: float, oldest_s: float) -> Start:
        """Where the successor of a session begins whose last words were said at said_s.

        At the last pause before that, or overlap_s before it; not before oldest_s, the oldest
        audio there is.
        """
        earliest_s = max(oldest_s, said_s - 2 * self._settings.overlap_s)
        pause_s = self._loudness.last_pause(earliest_s, said_s, self._settings.pause_s)
        if pause_s is None:
            pause_s = said_s - self._settings.overlap_s
        return Start(max(oldest_s, pause_s), is_clean=False)

    def after_second_rut(self, heard_s: float, oldest_s: float) -> Start:
        """Where to go on when hearing it again brought no words: just before heard_s."""
        return Start(max(oldest_s, heard_s - self._settings.overlap_s), is_clean=False)
