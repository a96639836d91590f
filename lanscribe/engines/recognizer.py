"""One stream of sound through detector, segmenter, model and agreement. Blocking, one thread."""

from collections import deque

import numpy as np

from lanscribe.audio import Samples, duration_s
from lanscribe.engines.base import Token
from lanscribe.engines.moonshine import Features, Moonshine
from lanscribe.engines.streaming import Agreement, Edge, Policy, Segmenter, Settled, Unit
from lanscribe.engines.vad import BLOCK_SAMPLES, VoiceDetector

_PROGRESS_S = 0.3
"""The least sound between two tokens that tell progress only."""
_LATENCY_S = 0.15
"""A word shows up in the hypotheses about so long after its end, within half a hop."""
_NOISE_LOG_PROBABILITY = -1.2
"""A segment whose words are less likely than this, on average, is taken for noise."""


class Recognizer:
    """What is heard in one stream. Times count from its first sample."""

    def __init__(
        self, model: Moonshine, detector: VoiceDetector, policy: Policy | None = None
    ) -> None:
        self._policy = policy or Policy()
        self._model = model
        self._voice = detector.stream()
        self._segmenter = Segmenter(self._policy)
        self._before: deque[Samples] = deque(maxlen=self._blocks(self._policy.pre_roll_s))
        self._unblocked: Samples = np.empty(0, dtype=np.float32)
        self._heard_samples = 0
        self._segment: _Segment | None = None
        self._tokens: list[Token] = []
        self._progress_s = 0.0
        self._end_s = 0.0
        self._is_first_word = True

    def hear(self, samples: Samples, *, is_behind: bool = False) -> list[Token]:
        """Take in samples, shape (n,); the tokens that are settled by them.

        is_behind: more is waiting already, so that only whole segments are worth a hypothesis.
        """
        probabilities = self._voice.probabilities(samples)
        sound = np.concatenate([self._unblocked, samples])
        for index, probability in enumerate(probabilities):
            start = index * BLOCK_SAMPLES
            self._take_block(sound[start : start + BLOCK_SAMPLES], probability)
        self._unblocked = sound[len(probabilities) * BLOCK_SAMPLES :]
        if self._segment and not is_behind:
            self._settle(self._segment.listen(self._heard_s, self._segmenter.silence_s))
        return self._taken_tokens(is_last=False)

    def finish(self) -> list[Token]:
        """No more comes: the last tokens."""
        if self._segment:
            self._segment.add(self._unblocked)
            self._close()
        self._heard_samples += len(self._unblocked)
        return self._taken_tokens(is_last=True)

    @property
    def _heard_s(self) -> float:
        return duration_s(self._heard_samples)

    def _blocks(self, seconds: float) -> int:
        return round(seconds / self._policy.block_s)

    def _take_block(self, block: Samples, probability: float) -> None:
        self._heard_samples += len(block)
        edge = self._segmenter.push(probability)
        self._before.append(block)
        if edge is Edge.OPENS:
            start_s = self._heard_s - duration_s(len(self._before) * BLOCK_SAMPLES)
            self._segment = _Segment(self._model, self._policy, start_s)
            self._segment.add(np.concatenate(self._before))
        elif self._segment:
            self._segment.add(block, silence_s=self._segmenter.silence_s)
            if edge is Edge.CLOSES:
                self._close()

    def _close(self) -> None:
        assert self._segment
        self._settle(self._segment.finish(self._heard_s))
        self._segment = None
        self._before.clear()

    def _settle(self, settled: list[Settled]) -> None:
        """Give the words their place in time, and emit them."""
        assert self._segment
        known = _known_ends(settled)
        lengths = [len(one.unit.text) for one in settled]
        ends = _spread(known, lengths, max(self._end_s, self._segment.start_s), self._segment.end_s)
        for one, end_s in zip(settled, ends, strict=True):
            self._emit(one.unit, end_s)

    def _emit(self, unit: Unit, end_s: float) -> None:
        text = unit.text
        if self._is_first_word:
            text = text.lstrip()
        self._is_first_word = False
        self._end_s = max(self._end_s, min(end_s, self._heard_s))
        self._tokens.append(Token(text, self._end_s))

    def _taken_tokens(self, *, is_last: bool) -> list[Token]:
        if is_last or self._heard_s - self._progress_s >= _PROGRESS_S:
            self._progress_s = self._heard_s
            self._tokens.append(Token("", self._heard_s))
        tokens, self._tokens = self._tokens, []
        return tokens


class _Segment:
    """An open segment: its sound, and the agreement about its words."""

    def __init__(self, model: Moonshine, policy: Policy, start_s: float) -> None:
        self.start_s = start_s
        self._model = model
        self._policy = policy
        self._features = Features()
        self._agreement = Agreement(policy)
        self._pending: list[Samples] = []  # not yet given to the front end
        self._held: list[Samples] = []  # silence that may turn out to be the end
        self._samples = 0

    @property
    def end_s(self) -> float:
        """Where the sound ends that the model gets to hear, silence not counted."""
        return self.start_s + duration_s(self._samples)

    def add(self, block: Samples, *, silence_s: float = 0.0) -> None:
        if silence_s > self._policy.tail_s:
            self._held.append(block)
            return
        self._pending += [*self._held, block]
        self._samples += len(block) + sum(len(one) for one in self._held)
        self._held.clear()

    def listen(self, heard_s: float, silence_s: float) -> list[Settled]:
        """What another hypothesis settles, if there is enough new sound for one."""
        is_quiet = silence_s >= self._policy.tail_s
        if not is_quiet and duration_s(sum(map(len, self._pending))) < self._policy.hop_s:
            return []
        return self._agreement.update(self._hypothesis(), heard_s, is_quiet=is_quiet)

    def finish(self, heard_s: float) -> list[Settled]:
        units = self._hypothesis()
        if self._is_noise(units):
            units = []
        return self._agreement.finish(units, heard_s)

    def _hypothesis(self) -> list[Unit]:
        """What the sound so far says, after what is emitted; computed only for new sound."""
        agreement = self._agreement
        if not self._pending:
            return agreement.units
        self._features.append(self._model, np.concatenate(self._pending))
        self._pending.clear()
        heard = self._model.encode(self._features)
        if heard is None:
            return []
        guess = [token for unit in agreement.units for token in unit.tokens]
        return self._model.decode(heard, prefix=agreement.emitted, guess=guess)

    def _is_noise(self, units: list[Unit]) -> bool:
        if self._agreement.emitted or not units:
            return False
        mean = sum(unit.log_probability for unit in units) / len(units)
        return mean < _NOISE_LOG_PROBABILITY


def _known_ends(settled: list[Settled]) -> list[float | None]:
    """Where words ended, by when they turned up; of those that came together, the last one's."""
    ends: list[float | None] = []
    next_since_s = None
    for one in reversed(settled):
        is_known = one.since_s is not None and one.since_s != next_since_s
        ends.append(one.since_s - _LATENCY_S if is_known and one.since_s is not None else None)
        next_since_s = one.since_s
    return ends[::-1]


def _spread(
    known: list[float | None], lengths: list[int], start_s: float, end_s: float
) -> list[float]:
    """Ends for words in a row: the known ones, and between those in proportion to the letters."""
    ends: list[float] = []
    index = 0
    while index < len(known):
        stop = index
        while stop < len(known) and known[stop] is None:
            stop += 1
        target = known[stop] if stop < len(known) else None
        limit_s = end_s if target is None else target
        count = stop - index + (target is not None)
        total = sum(lengths[index : index + count])
        done = 0
        for length in lengths[index : index + count]:
            done += length
            ends.append(start_s + max(limit_s - start_s, 0.0) * done / total)
        start_s = max(start_s, limit_s)
        index += count
    return ends
