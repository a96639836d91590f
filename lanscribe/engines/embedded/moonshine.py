"""Moonshine on ONNX Runtime: sound in, words with their probability out.

One `Moonshine` serves all threads; the state of one stretch of speech is in its `Features`
and `Heard`. Shapes: H hidden, N heads, D = H / N, t frames of 24 ms, n and p tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from lanscribe.engines.embedded.repeats import stuck_tokens, without_loops
from lanscribe.engines.embedded.streaming import Unit
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples

Floats = npt.NDArray[np.float32]

_START, _END = 1, 2
_WAVE_HOP, _WAVE_WIDTH = 64, 127
_WAVES_PER_FEATURE, _FEATURE_WIDTH = 3, 7
_FEATURE_HOP = _WAVE_HOP * _WAVES_PER_FEATURE
_FEATURE_SAMPLES = _WAVE_WIDTH + (_FEATURE_WIDTH - 1) * _WAVE_HOP
_MIN_FEATURES = 4
"""The third convolution is 3 wide; one more guarantees a frame."""
_NORM_EPSILON = 1e-5
_TOKENS_PER_S = 8.0
"""The fastest measured clip has 4.6 tokens per second; a loop makes as many as it can."""
_SPARE_TOKENS = 8
_GUESS_TOKENS = 24
"""A step over n tokens takes 4.3 ms + 0.3 ms * n, so a wrong guess costs little."""
_LEAST_PROBABILITY = 1e-6


class Tokenizer:
    """Maps token numbers to text. The file lists the tokens' bytes, each after its length."""

    def __init__(self, data: bytes) -> None:
        self._pieces = _read_pieces(data)

    def units(self, tokens: Sequence[int], log_probabilities: Sequence[float]) -> list[Unit]:
        """Group tokens into words and marks; a mark, or a piece that starts with a space, opens."""
        groups: list[list[int]] = []
        for index, token in enumerate(tokens):
            if not groups or self._opens(tokens[index - 1], token):
                groups.append([])
            groups[-1].append(index)
        return [self._unit(group, tokens, log_probabilities) for group in groups]

    def text(self, tokens: Sequence[int]) -> str:
        """The text of the tokens; a broken character becomes U+FFFD."""
        joined = b"".join(self._pieces[token] for token in tokens)
        return joined.decode("utf-8", errors="replace").replace("\u2581", " ")

    def _opens(self, before: int, token: int) -> bool:
        piece = self._pieces[token]
        if piece.startswith("\u2581".encode()):
            return True
        return _is_mark(piece) and not _is_mark(self._pieces[before])

    def _unit(
        self, group: list[int], tokens: Sequence[int], log_probabilities: Sequence[float]
    ) -> Unit:
        own = tuple(tokens[index] for index in group)
        return Unit(own, self.text(own), min(log_probabilities[index] for index in group))


class Features:
    """The front end's view of a growing stretch of speech; each sample is computed once.

    The second half normalises over the whole stretch, so the sums for it grow along.
    """

    def __init__(self) -> None:
        self._unused: Samples = np.empty(0, dtype=np.float32)
        self._parts: list[Floats] = []
        self._sums = np.zeros(2)  # of the first convolution's values, and of their squares
        self._tail_sums = np.zeros(2)
        self._waves = 0
        self._tail_waves = 0
        self.samples = 0

    @property
    def seconds(self) -> float:
        """The length of the stretch."""
        return self.samples / SAMPLE_RATE_HZ

    def append(self, model: "Moonshine", samples: Samples) -> None:
        """Take the next samples, shape (n,)."""
        self.samples += len(samples)
        self._unused = np.concatenate([self._unused, samples])
        if len(self._unused) < _FEATURE_SAMPLES:
            return
        features, sums, squares = model.front(self._unused)
        used = features.shape[2] * _WAVES_PER_FEATURE
        self._parts.append(features)
        self._sums += sums[0, :used].sum(dtype=np.float64), squares[0, :used].sum(dtype=np.float64)
        self._tail_sums[:] = sums[0, used:].sum(), squares[0, used:].sum()
        self._waves += used
        self._tail_waves = sums.shape[1] - used
        self._unused = self._unused[features.shape[2] * _FEATURE_HOP :]

    def whole(self) -> tuple[Floats, float, float] | None:
        """Features (1, 2H, t2), mean and deviation; None while they do not fill a frame."""
        if sum(part.shape[2] for part in self._parts) < _MIN_FEATURES:
            return None
        self._parts = [np.concatenate(self._parts, axis=2)]
        features = self._parts[0]
        count = (self._waves + self._tail_waves) * features.shape[1] / 2
        mean, mean_square = (self._sums + self._tail_sums) / count
        return features, mean, math.sqrt(mean_square - mean * mean + _NORM_EPSILON)


@dataclass(frozen=True, slots=True)
class Heard:
    """The encoder's result for a stretch of speech: keys and values for the decoder."""

    keys_and_values: dict[str, Floats]
    """key_i and value_i, each of shape (1, N, t, D)."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The text of a stretch of speech, after a prefix of p tokens."""

    units: list[Unit]
    attention: Floats
    """Shape (p + n + 1, t): where the decoder looked for each token, including those of the
    prefix, and last for the token after the n tokens of the units; (p + n, t) if it was stopped
    at the end of the n tokens."""
    log_probability: float
    """The mean of its units, including units that were left out as mere repeats."""


class Moonshine:
    """The loaded model. Its methods may run in any number of threads at once."""

    def __init__(self, folder: Path) -> None:
        """Load the graphs that model_store made. Raises what ONNX Runtime raises."""
        self.tokenizer = Tokenizer((folder / "tokenizer.bin").read_bytes())
        self._front = open_graph(folder / "front.onnx")
        self._encoder = open_graph(folder / "encoder.onnx")
        self._step = open_graph(folder / "step.onnx")
        self._encoder_outputs = [output.name for output in self._encoder.get_outputs()]
        presents = [output.name for output in self._step.get_outputs()[3:]]
        self._pasts = [name.replace("present", "past") for name in presents]
        shapes = {port.name: port.shape for port in self._step.get_inputs()}
        self._past_shapes = [(1, shapes[name][1], 0, shapes[name][3]) for name in self._pasts]

    def front(self, samples: Samples) -> tuple[Floats, Floats, Floats]:
        """Samples (n,) -> features (1, 2H, t2), sums (1, t1), squares (1, t1)."""
        features, sums, squares = self._front.run(None, {"pcm": samples[None]})
        return features, sums, squares

    def encode(self, features: Features) -> Heard | None:
        """Keys and values of a stretch of speech; None if it is shorter than 0.1 s."""
        whole = features.whole()
        if whole is None:
            return None
        values, mean, deviation = whole
        inputs = {
            "features": values,
            "mean": np.array([mean], dtype=np.float32),
            "deviation": np.array([deviation], dtype=np.float32),
        }
        outputs = self._encoder.run(None, inputs)
        return Heard(dict(zip(self._encoder_outputs, outputs, strict=True)), features.seconds)

    def decode(
        self,
        heard: Heard,
        *,
        prefix: Sequence[int] = (),
        guess: Sequence[int] = (),
        is_cut: bool = False,
    ) -> Hypothesis:
        """The likeliest continuation of the tokens `prefix`, without looped text.

        guess: tokens that are a likely answer, such as the answer before the last 0.3 s came in.
        They are checked all at once. That takes little longer than finding one token, and does
        not change the result except by rounding.
        is_cut: the sound ends while somebody speaks.
        """
        limit = int(heard.seconds * _TOKENS_PER_S) + _SPARE_TOKENS - len(prefix)
        past: list[Floats] = [np.zeros(shape, dtype=np.float32) for shape in self._past_shapes]
        tokens: list[int] = []
        log_probabilities: list[float] = []
        frames = heard.keys_and_values["key_0"].shape[2]
        attention: Floats = np.empty((0, frames), dtype=np.float32)
        known, draft = [_START, *prefix], list(guess[:_GUESS_TOKENS])
        while len(tokens) < limit and not stuck_tokens(tokens, attention):
            best, probabilities, rows, past = self._advance(heard, past, known, draft)
            attention = np.concatenate([attention, rows])
            tokens += best
            log_probabilities += [math.log(max(p, _LEAST_PROBABILITY)) for p in probabilities]
            if _END in best:
                break
            known, draft = best[-1:], _continuation(guess, tokens)
        stuck = stuck_tokens(tokens, attention)
        count = tokens.index(_END) if _END in tokens else len(tokens) - stuck
        units = self.tokenizer.units(tokens[:count], log_probabilities[:count])
        before = self.tokenizer.units(prefix, [0.0] * len(prefix))
        mean = sum(unit.log_probability for unit in units) / max(len(units), 1)
        seen = attention[: len(prefix) + count + 1]
        left, rows = without_loops(before, units, seen, is_cut=is_cut)
        return Hypothesis(left, rows, mean)

    def _advance(
        self, heard: Heard, past: list[Floats], known: Sequence[int], draft: Sequence[int]
    ) -> tuple[list[int], list[float], Floats, list[Floats]]:
        """Find the next token, and the tokens after it as far as the draft foresaw them.

        Returns their numbers and probabilities, attention (known + foreseen, t), and the longer
        past.
        """
        inputs: dict[str, Any] = {
            "tokens": np.array([[*known, *draft]], dtype=np.int64),
            "first": np.array([len(known) - 1], dtype=np.int64),
            **heard.keys_and_values,
            **dict(zip(self._pasts, past, strict=True)),
        }
        best, probability, attention, *present = self._step.run(None, inputs)
        right = 0
        while right < len(draft) and draft[right] == best[0, right]:
            right += 1
        if right < len(draft):
            keep = past[0].shape[2] + len(known) + right
            present = [array[:, :, :keep] for array in present]
        found = slice(right + 1)
        rows = attention[0, : len(known) + right]
        return best[0, found].tolist(), probability[0, found].tolist(), rows, present


def open_graph(path: Path) -> Any:
    """An ONNX Runtime session that computes in the thread that calls it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _continuation(guess: Sequence[int], tokens: Sequence[int]) -> list[int]:
    """The part of the guess after the last token, at the occurrence nearest to its place."""
    place = len(tokens) - 1
    found = [index for index, token in enumerate(guess) if token == tokens[-1]]
    if not found:
        return []
    nearest = min(found, key=lambda index: abs(index - place))
    return list(guess[nearest + 1 : nearest + 1 + _GUESS_TOKENS])


def _is_mark(piece: bytes) -> bool:
    text = piece.decode("utf-8", errors="replace")
    return bool(text) and not any(
        character.isalnum() or character in "'\ufffd" for character in text
    )


def _read_pieces(data: bytes) -> list[bytes]:
    """Lengths below 128 take one byte; others take two, and the first has its top bit set."""
    pieces = []
    offset = 0
    while offset < len(data):
        length = data[offset]
        offset += 1
        if length >= 128:
            length += (data[offset] - 1) * 128
            offset += 1
        pieces.append(data[offset : offset + length])
        offset += length
    return pieces
