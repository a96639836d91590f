"""When one engine session has to make way for the next, and from where the next listens.

Also when nobody speaks and none is needed, and how often one may break.

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
"""Nothing above -34 dBFS (RMS) counts as a pause, or as silence."""
SOUND_OVER_FLOOR = 1.8
"""A sound is 5 dB above the quietest frame of the last seconds. Steady noise stays below (white
at most 1.5 dB, pink 4.2 dB in ten minutes); speech as loud as noise is above within 0.7 s."""
FAINTEST_LEVEL = 0.0003
"""Nothing below -70 dBFS (RMS) is a sound; speech of usual level is still one 40 dB down."""
SOUND_WINDOW_S = 0.3
SOUND_FRAMES = 2
"""So many frames in the window make a sound; one alone is a click."""
GRID_S = 0.08
"""Engine sessions start at multiples of a step of Voxtral: a successor hears the same steps."""
UNCERTAIN_S = 0.6
"""A word that ends this close to a cut in the middle of speech may be half a word."""
MAX_FAILURES = 3
"""How often engine sessions may break with no progress between before the client is told."""
PROGRESS_S = 1.0
"""Progress is to hear so much further than at the last failure that counted."""
BACKOFF_S = (0.0, 0.5, 1.0, 2.0)
"""The waits before one attempt after the other."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where an engine session begins to listen."""

    at_s: float
    is_clean: bool
    """Whether everything before at_s was said and nothing after it: no stitching is needed."""
    is_quiet: bool = False
    """Whether nobody speaks there, so that an engine session is needed only at the next sound."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where an engine session gets no more audio, and whether that is in a pause."""

    at_s: float
    is_in_pause: bool
    is_idle: bool = False
    """Whether the pause is so long that nobody seems to speak any more."""

    def is_uncertain(self, token: Token) -> bool:
        """Whether the word may be half a word, because it ends at a cut through speech."""
        return not self.is_in_pause and token.end_s > self.at_s - UNCERTAIN_S


def within(settings: RolloverSettings, max_session_s: float | None) -> RolloverSettings:
    """The settings, with lengths that an engine with such a limit can keep."""
    limit_s = settings.limit_s
    if max_session_s is not None:
        limit_s = min(limit_s, 0.9 * max_session_s)
    idle_s = min(settings.idle_s, limit_s / 2)  # or it would never be long enough
    update = {
        "limit_s": limit_s,
        "target_s": min(settings.target_s, 0.8 * limit_s),
        "overlap_s": min(settings.overlap_s, limit_s / 6),  # each one has to get further
        "idle_s": idle_s,
        "pre_roll_s": min(settings.pre_roll_s, idle_s / 2),  # or it would reach back to words
    }
    return settings.model_copy(update=update)


class NoiseFloor:
    """How quiet the quietest frame of the last seconds was; outlives engine sessions."""

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=round(FLOOR_WINDOW_S / FRAME_S))

    def after(self, level: float) -> float:
        """The floor once a frame of this level has come."""
        self._levels.append(level)
        return min(self._levels)


class Loudness:
    """Tells speech from pauses, and sound from silence, by level, frame by frame."""

    def __init__(self, start_s: float, kept_s: float, floor: NoiseFloor) -> None:
        self._next_s = start_s
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._floor = floor
        self._speech: deque[tuple[float, bool]] = deque(maxlen=round(kept_s / FRAME_S))
        self._sound: deque[bool] = deque(maxlen=round(SOUND_WINDOW_S / FRAME_S))
        self._sound_level = FAINTEST_LEVEL
        self.sound_end_s = start_s
        """Where the last sound ended; a sound that goes on has not."""

    def add(self, samples: Samples) -> None:
        """Take the next samples, shape (n,)."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = samples[whole:]
        frames = samples[:whole].reshape(-1, FRAME_SAMPLES)
        for level in _levels(frames):
            floor = self._floor.after(level)
            threshold = min(max(floor * SPEECH_OVER_FLOOR, QUIET_LEVEL), LOUD_LEVEL)
            self._speech.append((self._next_s, level > threshold))
            self._sound_level = min(max(floor * SOUND_OVER_FLOOR, FAINTEST_LEVEL), LOUD_LEVEL)
            self._sound.append(level > self._sound_level)
            self._next_s += FRAME_S
            if self.is_sound:
                self.sound_end_s = self._next_s

    @property
    def is_sound(self) -> bool:
        """Whether there is a sound at the end of what was added."""
        return sum(self._sound) >= SOUND_FRAMES

    @property
    def may_be_sound(self) -> bool:
        """Whether a sound may just have begun, counting what is not a whole frame."""
        levels = _levels(self._rest.reshape(1, -1)) if len(self._rest) else []
        return any(self._sound) or any(level > self._sound_level for level in levels)

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

    def __init__(self, settings: RolloverSettings, start: Start, floor: NoiseFloor) -> None:
        self._settings = settings
        self._start = start
        self.fed_s = start.at_s
        """How far the engine session was given audio."""
        self._heard_s = start.at_s
        self._last_word_s = start.at_s
        self._has_spoken = False
        kept_s = settings.limit_s + settings.rut_s + settings.overlap_s
        self._loudness = Loudness(start.at_s, kept_s, floor)

    def fed(self, samples: Samples) -> Cut | None:
        """The engine session is given samples; whether to end it after them.

        Only at the end of a frame, so that a cut in a pause is one.
        """
        self._loudness.add(samples)
        self.fed_s += duration_s(len(samples))
        if not self._loudness.is_between_frames:
            return None
        age_s = self.fed_s - self._start.at_s
        if age_s >= self._settings.target_s and self._loudness.pause_s() >= self._settings.pause_s:
            return Cut(self.fed_s, is_in_pause=True)
        if age_s >= self._settings.limit_s:
            return Cut(self.fed_s, is_in_pause=False)
        return None

    @property
    def is_silent(self) -> bool:
        """Whether there was no sound for idle_s; words there may be."""
        return self.fed_s - self._loudness.sound_end_s >= self._settings.idle_s

    @property
    def is_close(self) -> bool:
        """Whether the engine session has heard nearly all that it was given."""
        return self.fed_s - self._heard_s <= self._settings.idle_s / 2

    def idle(self) -> Cut | None:
        """Whether to let the engine go after what it was given: nobody speaks.

        To be asked when `is_silent` and `is_close`.
        """
        has_words = self._last_word_s > self.fed_s - self._settings.idle_s
        return None if has_words else Cut(self.fed_s, is_in_pause=True, is_idle=True)

    def heard(self, token: Token) -> bool:
        """The engine session emitted a token; whether it is in a rut and has to be given up."""
        self._heard_s = max(self._heard_s, token.end_s)
        if token.text:
            self._has_spoken = True
            self._last_word_s = token.end_s
            return False
        wordless_s = self._loudness.speech_s(self._last_word_s, token.end_s)
        return wordless_s >= self._settings.rut_s

    def after_cut(self, cut: Cut, said_s: float, oldest_s: float) -> Start:
        """Where the successor of a session that ended as planned begins."""
        if cut.is_idle and self._last_word_s <= cut.at_s - self._settings.idle_s:
            return Start(cut.at_s, is_clean=True, is_quiet=True)
        if cut.is_in_pause and not cut.is_idle:
            return Start(on_grid(cut.at_s - self._settings.pause_s / 2), is_clean=True)
        return self._again_from(max(said_s, cut.at_s - self._settings.overlap_s), oldest_s)

    def after_failure(self, said_s: float, oldest_s: float) -> Start:
        """Where the successor of a session begins whose last words were said at said_s.

        Where the session began, if it said nothing and nothing later was said before.
        """
        start = self._start
        is_all_new = start.is_clean or start.at_s >= said_s
        if is_all_new and not self._has_spoken and start.at_s >= oldest_s:
            return start
        return self._again_from(said_s, oldest_s)

    def _again_from(self, known_s: float, oldest_s: float) -> Start:
        """At the last pause before known_s, or overlap_s before it.

        Not before oldest_s, the oldest audio there is.
        """
        earliest_s = max(oldest_s, known_s - 2 * self._settings.overlap_s)
        pause_s = self._loudness.last_pause(earliest_s, known_s, self._settings.pause_s)
        if pause_s is None:
            pause_s = known_s - self._settings.overlap_s
        return Start(max(oldest_s, on_grid(pause_s)), is_clean=False)

    def after_second_rut(self, heard_s: float, oldest_s: float) -> Start:
        """Where to go on when hearing it again brought no words: just before heard_s."""
        again_s = on_grid(heard_s - self._settings.overlap_s)
        return Start(max(oldest_s, again_s), is_clean=False)


class Rest:
    """Listens for a sound while there is no engine session."""

    def __init__(self, settings: RolloverSettings, start_s: float, floor: NoiseFloor) -> None:
        self._before_s = settings.pre_roll_s + SOUND_WINDOW_S
        self._position_s = start_s
        self._loudness = Loudness(start_s, SOUND_WINDOW_S, floor)

    def listened(self, samples: Samples, *, is_end: bool) -> Start | None:
        """Where an engine session has to begin because of these samples; None while it is quiet.

        is_end: whether they are the last ones, so that even the beginning of a sound counts.
        """
        for piece in np.split(samples, range(FRAME_SAMPLES, len(samples), FRAME_SAMPLES)):
            self._loudness.add(piece)
            self._position_s += duration_s(len(piece))
            if self._loudness.is_sound or (is_end and self._loudness.may_be_sound):
                return Start(on_grid(max(0.0, self._position_s - self._before_s)), is_clean=True)
        return None


class Patience:
    """How long to bear with an engine that breaks or is away. Time is an argument."""

    def __init__(self, retry_s: float) -> None:
        self._retry_s = retry_s
        self._heard_s = 0.0
        self._away_since_s: float | None = None
        self._failures = 0
        self._attempts = 0

    def progressed(self) -> None:
        """An engine session came to its end: what was before is forgiven."""
        self._away_since_s = None
        self._failures = self._attempts = 0

    def failed(self, now_s: float, heard_s: float, *, is_away: bool) -> float | None:
        """How long to wait before the next attempt; None when it was one too many.

        heard_s: how far the audio was heard by now; getting further is progress.
        is_away: whether the engine cannot be reached, rather than broken at work.
        """
        if heard_s > self._heard_s + PROGRESS_S:
            self._heard_s = heard_s
            self.progressed()
        self._attempts += 1
        if is_away:
            self._away_since_s = now_s if self._away_since_s is None else self._away_since_s
            is_too_much = now_s - self._away_since_s >= self._retry_s
        else:
            self._failures += 1
            is_too_much = self._failures > MAX_FAILURES
        return None if is_too_much else BACKOFF_S[min(self._attempts, len(BACKOFF_S)) - 1]


def _levels(frames: Samples) -> list[float]:
    """The level (RMS) of each frame, shape (frames, samples)."""
    levels: list[float] = np.sqrt(np.mean(np.square(frames), axis=1)).tolist()
    return levels


def on_grid(at_s: float) -> float:
    """The nearest time at which an engine session may begin."""
    return round(at_s / GRID_S) * GRID_S
