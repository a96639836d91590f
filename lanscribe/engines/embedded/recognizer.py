"""One stream of sound through detector, segmenter, model and agreement. Blocking, one thread."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from lanscribe.engines.embedded.alignment import Alignment
from lanscribe.engines.embedded.moonshine import Features, Hypothesis, Moonshine
from lanscribe.engines.embedded.streaming import Agreement, Edge, Policy, Segmenter, Unit
from lanscribe.engines.embedded.tentative import Tentative
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import Samples, duration_s
from lanscribe.speech.detection import BLOCK_SAMPLES
from lanscribe.speech.transcript import Token

_PROGRESS_S = 0.3
"""The least sound between two tokens that report progress only."""
_NOISE_LOG_PROBABILITY = -1.2
"""A segment counts as noise if its words are less likely than this on average."""
_CUT_BLOCKS = 3
"""Speech in any of this many last blocks, 0.1 s, goes on: the closure of a "t" takes no longer,
and a partial block at the end of the sound counts as silence."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of sound, and whether it is speech."""

    samples: Samples
    is_speech: bool


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A word or mark, and when it was spoken."""

    unit: Unit
    start_s: float
    end_s: float


class Recognizer:
    """Recognizes the words of one stream. Times count from its first sample."""

    def __init__(
        self, model: Moonshine, detector: VoiceDetector, policy: Policy | None = None
    ) -> None:
        self._policy = policy or Policy()
        self._model = model
        self._voice = detector.plain_stream()
        self._segmenter = Segmenter(self._policy)
        self._before: deque[_Block] = deque(maxlen=self._blocks(self._policy.pre_roll_s))
        self._unblocked: Samples = np.empty(0, dtype=np.float32)
        self._heard_samples = 0
        self._segment: _Segment | None = None
        self._tokens: list[Token] = []
        self._tentative = Tentative()
        self._progress_s = 0.0
        self._end_s = 0.0
        self._is_first_word = True

    def hear(self, samples: Samples, *, is_behind: bool = False) -> list[Token]:
        """Take samples, shape (n,); returns the tokens that they settle.

        is_behind: more audio is waiting, so only whole segments are worth a hypothesis, and the
        tentative words are too old to be told.
        """
        probabilities = self._voice.probabilities(samples)
        sound = np.concatenate([self._unblocked, samples])
        for index, probability in enumerate(probabilities):
            start = index * BLOCK_SAMPLES
            self._take_block(sound[start : start + BLOCK_SAMPLES], probability)
        self._unblocked = sound[len(probabilities) * BLOCK_SAMPLES :]
        if self._segment and not is_behind:
            self._settle(self._segment.listen(self._heard_s, self._segmenter.silence_s))
        tentative = self._segment.tentative if self._segment and not is_behind else ""
        return self._taken_tokens(tentative, is_last=False)

    def finish(self) -> list[Token]:
        """No more audio comes; returns the last tokens."""
        if self._segment:
            self._segment.add(_Block(self._unblocked, is_speech=False))
            self._close()
        self._heard_samples += len(self._unblocked)
        return self._taken_tokens("", is_last=True)

    @property
    def _heard_s(self) -> float:
        return duration_s(self._heard_samples)

    @property
    def _settled_s(self) -> float:
        """No later word will end before this: a segment's words settle in order."""
        if self._segment:
            return max(self._segment.start_s, self._end_s)
        return max(self._end_s, self._heard_s - duration_s(len(self._before) * BLOCK_SAMPLES))

    def _blocks(self, seconds: float) -> int:
        return round(seconds / self._policy.block_s)

    def _take_block(self, samples: Samples, probability: float) -> None:
        self._heard_samples += len(samples)
        edge = self._segmenter.push(probability)
        block = _Block(samples, is_speech=probability >= self._policy.close_probability)
        self._before.append(block)
        if edge is Edge.OPENS:
            start_s = self._heard_s - duration_s(len(self._before) * BLOCK_SAMPLES)
            self._segment = _Segment(self._model, self._policy, start_s)
            for one in self._before:
                self._segment.add(one)
        elif self._segment:
            self._segment.add(block, silence_s=self._segmenter.silence_s)
            if edge is Edge.CLOSES:
                self._close()

    def _close(self) -> None:
        assert self._segment
        self._settle(self._segment.finish(self._heard_s))
        self._segment = None
        self._before.clear()

    def _settle(self, settled: list[_Spoken]) -> None:
        for one in settled:
            self._emit(one)

    def _emit(self, spoken: _Spoken) -> None:
        """Let no word begin before the last one ended, even if two hypotheses disagree."""
        text = spoken.unit.text
        if self._is_first_word:
            text = text.lstrip()
        self._is_first_word = False
        start_s = max(spoken.start_s, self._end_s)
        if spoken.unit.is_word:
            self._end_s = max(start_s, min(spoken.end_s, self._heard_s))
        self._tokens.append(Token(text, self._end_s, start_s=min(start_s, self._end_s)))

    def _taken_tokens(self, tentative: str, *, is_last: bool) -> list[Token]:
        """The tokens since the last time, with the words after them that may still change."""
        now = Token("", self._heard_s, settled_s=self._settled_s)
        if is_last or self._heard_s - self._progress_s >= _PROGRESS_S:
            self._progress_s = self._heard_s
            self._tokens.append(now)
        tokens, self._tokens = self._tokens, []
        text = tentative.lstrip() if self._is_first_word else tentative
        return self._tentative.tell(tokens, text, now)


class _Segment:
    """An open segment: its sound, and the agreement about its words."""

    def __init__(self, model: Moonshine, policy: Policy, start_s: float) -> None:
        self.start_s = start_s
        self._model = model
        self._policy = policy
        self._features = Features()
        self._agreement = Agreement(policy)
        self._hypothesis: Hypothesis | None = None
        self._pending: list[Samples] = []  # not yet given to the front end
        self._held: list[_Block] = []  # silence that may turn out to be the end
        self._is_speech: list[bool] = []  # of each block that the model hears

    def add(self, block: _Block, *, silence_s: float = 0.0) -> None:
        self._held.append(block)
        if silence_s > self._policy.tail_s:
            return
        self._pending += [one.samples for one in self._held]
        self._is_speech += [one.is_speech for one in self._held]
        self._held.clear()

    def listen(self, heard_s: float, silence_s: float) -> list[_Spoken]:
        """The units that another hypothesis settles, if there is enough new sound for one."""
        is_quiet = silence_s >= self._policy.tail_s
        if not is_quiet and duration_s(sum(map(len, self._pending))) < self._policy.hop_s:
            return []
        return self._timed(self._agreement.update(self._units(), heard_s, is_quiet=is_quiet))

    def finish(self, heard_s: float) -> list[_Spoken]:
        units = self._units()
        if self._is_noise:
            units = []
        return self._timed(self._agreement.finish(units, heard_s))

    def _units(self) -> list[Unit]:
        """The text of the sound so far, after the emitted text; computed only for new sound."""
        agreement = self._agreement
        if not self._pending:
            return agreement.units
        self._features.append(self._model, np.concatenate(self._pending))
        self._pending.clear()
        heard = self._model.encode(self._features)
        if heard is None:
            return []
        guess = [token for unit in agreement.units for token in unit.tokens]
        self._hypothesis = self._model.decode(
            heard, prefix=agreement.emitted, guess=guess, is_cut=self._is_cut
        )
        return self._hypothesis.units

    def _timed(self, settled: list[Unit]) -> list[_Spoken]:
        """The units just settled, with their times in the sound."""
        if not settled:
            return []
        assert self._hypothesis
        alignment = Alignment(self._hypothesis.attention)
        stop = len(self._agreement.emitted) - sum(len(unit.tokens) for unit in settled)
        spoken = []
        for unit in settled:
            first, stop = stop, stop + len(unit.tokens)
            start_s, end_s = self._within_speech(*alignment.span_s(first, stop))
            spoken.append(_Spoken(unit, self.start_s + start_s, self.start_s + end_s))
        return spoken

    def _within_speech(self, start_s: float, end_s: float) -> tuple[float, float]:
        """The span without the silence around it; unchanged if it is all silence."""
        block_s = self._policy.block_s
        first, stop = int(start_s / block_s), math.ceil(end_s / block_s)
        speech = [index for index in range(first, stop) if any(self._is_speech[index : index + 1])]
        if not speech:
            return start_s, end_s
        return max(start_s, speech[0] * block_s), min(end_s, (speech[-1] + 1) * block_s)

    @property
    def tentative(self) -> str:
        """The words of the newest hypothesis that are not settled yet; none of mere noise."""
        if self._is_noise:
            return ""
        units = self._agreement.tentative(is_cut=self._is_cut)
        return "".join(unit.text for unit in units)

    @property
    def _is_cut(self) -> bool:
        """Whether the sound so far ends while somebody speaks, so its last word is a half."""
        return any(self._is_speech[-_CUT_BLOCKS:])

    @property
    def _is_noise(self) -> bool:
        if self._agreement.emitted or not self._hypothesis:
            return False
        return self._hypothesis.log_probability < _NOISE_LOG_PROBABILITY
