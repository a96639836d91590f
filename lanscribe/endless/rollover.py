"""Decides when one engine session is replaced by the next, and where the next starts to listen.

It also decides when nobody speaks and no session is needed, and how often one may fail.

Decisions only; a position is a time in seconds from the utterance's first sample. `SpeechMap`
tells where there is speech; the engine's tokens tell what was heard and what is written.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

from lanscribe.backoff import Backoff
from lanscribe.config import RolloverSettings
from lanscribe.speech.detection import SpeechMap
from lanscribe.speech.transcript import Token
from lanscribe.voxtral.steps import STEP_S

UNCERTAIN_S = 0.6
"""A word that ends this close to a cut in the middle of speech may be half a word."""
SPOKEN_IN_PAUSE_S = 0.1
"""A word that ends this close to a cut in a pause, or after it, proves speech there. Voxtral
stamps a word that ended before the pause at least 0.18 s before the cut."""
TWO_WITNESSES_S = 30.0
"""For this long after target_s, the level must confirm a pause. In uneven noise the level finds
none, so after that the detector decides alone."""
OWED_S = 2.0
"""An ended engine session owes words if more clear speech than this follows its last word."""
MOST_DEAF = 8
"""While an engine stays deaf, ever more speech is needed to call it deaf again, up to this many
times rut_s: it may not understand the speech, such as that of a television."""
MAX_FAILURES = 3
"""How often engine sessions may fail without progress before the client is told."""
PROGRESS_S = 1.0
"""Progress means to hear this much further than at the last failure that counted."""
BACKOFF = Backoff(first_s=0.5, longest_s=2.0)
"""The pauses between attempts; the first attempt is made at once."""
_EPSILON_S = 1e-6
_DEFAULTS = RolloverSettings()


@dataclass(frozen=True, slots=True)
class Timing:
    """When engine sessions follow each other: the settings, and what nobody needs to change."""

    target_s: float = _DEFAULTS.target_s
    limit_s: float = _DEFAULTS.limit_s
    retry_s: float = _DEFAULTS.retry_s
    pause_s: float = 0.5
    """How long a silence must last to be a pause."""
    overlap_s: float = 4.0
    """Audio that is heard again after a cut without a pause; repeated words are left out."""
    idle_s: float = 10.0
    """How long a silence may last before the engine is released."""
    pre_roll_s: float = 1.0
    """How much audio before the next speech the engine hears too."""
    rut_s: float = 16.0
    """Voxtral's session counts as deaf after this much clear speech without a word."""
    stall_s: float = 30.0
    """How long an engine that has audio may emit nothing before it is abandoned. A session without
    audio is released sooner (STARVED_S), so one that is silent for this long has owed all along."""

    @classmethod
    def of(cls, settings: RolloverSettings) -> Self:
        """The timing that the settings ask for."""
        return cls(settings.target_s, settings.limit_s, settings.retry_s)


@dataclass(frozen=True, slots=True)
class Start:
    """Where an engine session begins to listen."""

    at_s: float
    is_clean: bool
    """Whether all words before at_s were emitted and none after it: no stitching is needed."""
    is_quiet: bool = False
    """Whether nobody speaks there: an engine session is needed only at the next sound."""
    not_before_s: float = 0.0
    """An engine session is needed only when audio after this has come, or no more will come."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the audio of an engine session ends, and whether that is in a pause."""

    at_s: float
    is_in_pause: bool
    is_idle: bool = False
    """Whether the pause is long enough that nobody seems to speak any more."""
    is_starved: bool = False
    """Whether there is no more audio for now."""

    @property
    def certain_s(self) -> float:
        """Words that end later may be half words, or words in what should be a pause."""
        return self.at_s - (SPOKEN_IN_PAUSE_S if self.is_in_pause else UNCERTAIN_S)

    def is_uncertain(self, token: Token) -> bool:
        """Whether the word is left to the next engine session, which hears it whole."""
        return token.end_s > self.certain_s


def within(timing: Timing, max_session_s: float | None) -> Timing:
    """The timing, shortened to what an engine with this limit can keep."""
    limit_s = timing.limit_s
    if max_session_s is not None:
        limit_s = min(limit_s, 0.9 * max_session_s)
    idle_s = min(timing.idle_s, limit_s / 2)  # a longer silence would never fit
    return replace(
        timing,
        limit_s=limit_s,
        target_s=min(timing.target_s, 0.8 * limit_s),
        overlap_s=min(timing.overlap_s, limit_s / 6),  # each session must get further
        idle_s=idle_s,
        pre_roll_s=min(timing.pre_roll_s, idle_s / 2),  # a longer one would reach back to words
    )


class Rollover:
    """Follows one engine session from where it starts to its end."""

    def __init__(self, timing: Timing, start: Start, speech: SpeechMap) -> None:
        self._timing = timing
        self._start = start
        self._speech = speech
        self.fed_s = start.at_s
        """How far the engine session was fed."""
        self.heard_s = start.at_s
        """How far the engine session has listened."""
        self._last_word_s = start.at_s
        self._has_spoken = False
        self._withheld_s = math.inf
        """The start of the first word that was left to the next engine session."""

    def cut_by(self, end_s: float) -> Cut | None:
        """The first cut between the audio already fed and end_s.

        Cuts are at ends of the speech map's blocks only, so a cut in a pause really is in one.
        """
        cuts = map(self._cut_at, self._speech.ends_within(self.fed_s, end_s))
        return next(filter(None, cuts), None)

    def _cut_at(self, at_s: float) -> Cut | None:
        age_s = at_s - self._start.at_s + _EPSILON_S
        if age_s >= self._timing.target_s and self._is_pause(at_s, age_s):
            return Cut(at_s, is_in_pause=True)
        if age_s >= self._timing.limit_s:
            return Cut(at_s, is_in_pause=False)
        if min(age_s, self._speech.quiet_s(at_s)) >= self._timing.idle_s - _EPSILON_S:
            return Cut(at_s, is_in_pause=True, is_idle=True)
        return None

    def _is_pause(self, at_s: float, age_s: float) -> bool:
        pause_s = self._timing.pause_s
        if self._speech.quiet_s(at_s) < pause_s - _EPSILON_S:
            return False
        needs_two = age_s < self._timing.target_s + TWO_WITNESSES_S
        return not needs_two or self._speech.silent_s(at_s) >= pause_s - _EPSILON_S

    @property
    def unheard_s(self) -> float:
        """How much audio the engine session was given and has not listened to."""
        return self.fed_s - self.heard_s

    @property
    def is_close(self) -> bool:
        """Whether the engine session has heard nearly all that it was fed."""
        return self.unheard_s <= self._timing.idle_s / 2

    def confirms(self, cut: Cut) -> bool:
        """Whether the engine, too, found no word in the silence before an idle cut.

        Ask only when `is_close`.
        """
        return self._last_word_s <= cut.at_s - self._timing.idle_s

    def starved(self) -> Cut:
        """The cut when no audio comes for now: the engine is released, even within speech."""
        is_in_pause = self._speech.quiet_s(self.fed_s) >= self._timing.pause_s
        return Cut(self.fed_s, is_in_pause, is_starved=True)

    def listened(self, at_s: float) -> None:
        """The engine session has listened so far, whatever becomes of what it wrote."""
        self.heard_s = max(self.heard_s, at_s)

    def heard(self, token: Token) -> None:
        """The engine session emitted a token that counts; its times are in the utterance."""
        self.listened(token.end_s)
        if token.text:
            self._has_spoken = True
            self._last_word_s = token.end_s

    def withheld(self, start_s: float) -> None:
        """An uncertain word that begins at start_s was left to the next engine session."""
        self._withheld_s = min(self._withheld_s, start_s)

    def after_cut(self, cut: Cut, said_s: float, oldest_s: float) -> Start:
        """Where the next engine session begins after a planned end.

        said_s: where the last word ended. oldest_s: where the oldest audio kept begins.
        """
        is_pause = cut.is_in_pause and self._withheld_s == math.inf
        if cut.is_idle and is_pause and self._last_word_s <= cut.at_s - self._timing.idle_s:
            return Start(cut.at_s, is_clean=True, is_quiet=True)
        not_before_s = cut.at_s if cut.is_starved else 0.0
        overlap_s = self._timing.overlap_s
        at_s = on_grid(cut.at_s - self._timing.pause_s / 2)
        if is_pause and not cut.is_idle and said_s <= at_s:
            return Start(at_s, is_clean=True, not_before_s=not_before_s)
        if is_pause and not cut.is_idle:  # one word alone would not be recognised again
            again_s = max(oldest_s, on_grid(said_s - overlap_s))
        else:
            new_s = min(cut.at_s - overlap_s, max(self._withheld_s, cut.at_s - 2 * overlap_s))
            again_s = self._again_from(max(said_s, new_s), oldest_s)
        return Start(again_s, is_clean=False, not_before_s=not_before_s)

    def after_failure(self, known_s: float, oldest_s: float) -> Start:
        """Where the next engine session begins after a failure; text is complete up to known_s.

        It begins where the failed one did if that emitted no word and got little further.
        """
        start = self._start
        is_all_new = start.is_clean or start.at_s >= known_s
        is_near = known_s <= start.at_s + 2 * self._timing.overlap_s
        if is_all_new and is_near and not self._has_spoken and start.at_s >= oldest_s:
            return start
        return Start(self._again_from(known_s, oldest_s), is_clean=False)

    def _again_from(self, known_s: float, oldest_s: float) -> float:
        """The last pause before known_s, or overlap_s before known_s if there is none.

        Never before oldest_s, where the oldest audio kept begins.
        """
        earliest_s = max(oldest_s, known_s - 2 * self._timing.overlap_s)
        pause_s = self._speech.last_pause(earliest_s, known_s, self._timing.pause_s)
        if pause_s is None:
            pause_s = known_s - self._timing.overlap_s
        return max(oldest_s, on_grid(pause_s))

    def passing_over(self, oldest_s: float) -> Start:
        """Where to continue when another session was deaf to the same: just before its end."""
        again_s = on_grid(self.heard_s - self._timing.overlap_s)
        return Start(max(oldest_s, again_s), is_clean=False)


class Deafness:
    """Counts consecutive engine sessions that wrote nothing over speech, and what follows."""

    def __init__(self, rut_s: float) -> None:
        self._rut_s = rut_s
        self._count = 0

    @property
    def longest_s(self) -> float:
        """An engine session is deaf if it writes no word over this much clear speech."""
        return float(self._rut_s * min(2 ** max(0, self._count - 1), MOST_DEAF))

    def heard(self, token: Token) -> None:
        """An engine session emitted a token; a word resets the count."""
        if token.text:
            self._count = 0

    def again(self) -> bool:
        """Count a deaf session; whether the next one must hear the same speech again."""
        self._count += 1
        return self._count == 1


class Patience:
    """How long to tolerate an engine that fails or is away. Time is an argument."""

    def __init__(self, retry_s: float) -> None:
        self._retry_s = retry_s
        self._heard_s = 0.0
        self._away_since_s: float | None = None
        self._failures = 0
        self._attempts = 0

    def progressed(self) -> None:
        """An engine session reached its end: earlier failures are forgiven."""
        self._away_since_s = None
        self._failures = self._attempts = 0

    def failed(self, now_s: float, heard_s: float, *, is_away: bool) -> float | None:
        """Count a failure; returns how long to wait before the next attempt, None for no more.

        heard_s: how far the audio has been heard; getting further is progress.
        is_away: whether the engine cannot be reached, rather than failed at work.
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
        return None if is_too_much else BACKOFF.pause_s(self._attempts - 1)


def on_grid(at_s: float) -> float:
    """The nearest time at which an engine session may begin, in seconds.

    It is a multiple of Voxtral's step, so the next session hears the same steps.
    """
    return round(at_s / STEP_S) * STEP_S
