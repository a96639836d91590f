"""When is a word first seen, and when is it settled? And what do faster rules cost in errors?

    python -m bench.seen [--audio FOLDER] [--model base-en] [--rooms clean,noise_15] [--quick]
                         [--policy settle_s=0.2,doubt_s=0.5] ... [--chunk-s 0.08]

FOLDER as for bench.embedded; clips of its group "noise" are sounds without words. Needs
requirements/bench.in. Each --policy is another row for each room: these numbers of the method, all
others as by default. Sound arrives in chunks at the speed of speech. A step is over when its sound
is there, the step before is over, and its processor time has passed: waiting for a busy machine
does not count. A word counts as seen once the words shown, settled or not, have it at its place.
Answers of the model are kept for the policies after, with the time that they took.
"""

import argparse
import csv
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from bench.faithful import room_noise
from bench.speech import Clip, ErrorCount, delays_s, matches, read_clips
from bench.words import plain_words
from lanscribe.engines.embedded.model_store import model_dir
from lanscribe.engines.embedded.moonshine import Features, Heard, Hypothesis, Moonshine
from lanscribe.engines.embedded.recognizer import Recognizer
from lanscribe.engines.embedded.streaming import Policy
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.ring import SampleRing
from lanscribe.speech.transcript import Token

_JOB_S = 0.1
"""As the engine's."""
_ECHO_S = 0.5
"""After this long the echo of the room is 60 dB down."""
_ECHO_SHARE = 0.5
"""The energy of the echo, against that of the voice."""
_QUICK = slice(None, None, 3)
_ROOMS = "clean,echo,noise_15,noise_5,voices_10,wordless"


# The sound.


def echoed(samples: Samples, random: np.random.Generator) -> Samples:
    """The sound in a room with echo; the voice itself does not come later."""
    count = sample_count(_ECHO_S)
    tail = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[: sample_count(0.005)] = 0
    tail *= np.sqrt(_ECHO_SHARE / np.sum(tail**2))
    tail[0] = 1.0
    size = len(samples) + count
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    return np.asarray(heard[: len(samples)], dtype=np.float32)


def noisy(samples: Samples, noise: Samples, below_db: float) -> Samples:
    """The sound with noise of RMS 1 that is `below_db` dB below it."""
    level = np.sqrt(np.mean(np.square(samples))) * 10 ** (-below_db / 20)
    return np.asarray(np.clip(samples + noise * level, -1, 1), dtype=np.float32)


def together(clips: Sequence[Clip], count: int) -> Samples:
    """These clips at once, each as often as it fits, shape (count,), RMS 1."""
    mixed = np.sum([np.resize(clip.samples, count) for clip in clips], axis=0)
    return np.asarray(mixed / np.sqrt(np.mean(mixed**2)), dtype=np.float32)


def in_room(clips: Sequence[Clip], index: int, room: str, noises: Sequence[Clip]) -> Clip:
    """A clip in a room: clean, echo, noise_DB, recorded_DB or voices_DB; DB: how far below it is.

    noises: the recordings for recorded_DB; clips take them in turn.
    """
    clip, (kind, _, below_db) = clips[index], room.partition("_")
    random, count = np.random.default_rng(index), len(clips[index].samples)
    if kind == "clean":
        return clip
    if kind == "echo":
        sound = noisy(echoed(clip.samples, random), room_noise(random, count), 25.0)
    elif kind == "noise":
        sound = noisy(clip.samples, room_noise(random, count), float(below_db))
    elif kind == "recorded":
        noise = together([noises[index % len(noises)]], count)
        sound = noisy(clip.samples, noise, float(below_db))
    else:
        others = [clips[(index + step) % len(clips)] for step in (3, 5, 7, 11)]
        sound = noisy(clip.samples, together(others, count), float(below_db))
    return replace(clip, samples=sound)


def wordless(folder: Path | None) -> list[Clip]:
    """Sounds without words."""
    if folder is None:
        return []
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = [row["file"] for row in rows if row["group"] == "noise"]
    return [Clip(name, soundfile.read(folder / name, dtype="float32")[0], "", ()) for name in names]


# The model, and what it said before.


@dataclass(frozen=True, slots=True)
class _Answer:
    tokens: list[int]
    """The prefix and what followed."""
    given: int
    """How many tokens the prefix had."""
    hypothesis: Hypothesis
    cost_s: float

    def after(self, prefix: Sequence[int]) -> Hypothesis | None:
        """The answer as one after `prefix`, if that goes no other way."""
        if len(prefix) < self.given or self.tokens[: len(prefix)] != list(prefix):
            return None
        units, at = list(self.hypothesis.units), self.given
        while units and at < len(prefix):
            at += len(units.pop(0).tokens)
        return replace(self.hypothesis, units=units) if at == len(prefix) else None


class RememberingModel(Moonshine):
    """Answers again what it was asked before, and counts hypotheses and the time that they cost."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._answers: dict[tuple[float, ...], list[_Answer]] = defaultdict(list)
        self._features = Features()
        self.saved_s = 0.0
        """The time that remembered answers took when they were found."""
        self.hypotheses = 0

    def encode(self, features: Features) -> Heard | None:
        """Only whether there is sound enough: `decode` knows whether it is needed."""
        self._features = features
        return Heard({}, features.seconds) if features.whole() else None

    def decode(
        self,
        heard: Heard,
        *,
        prefix: Sequence[int] = (),
        guess: Sequence[int] = (),
        is_cut: bool = False,
    ) -> Hypothesis:
        """As the model's, of the sound that was given to `encode` last."""
        self.hypotheses += 1
        known = self._answers[(self._features.samples, *self._features._sums, is_cut)]
        for answer in known:
            if (found := answer.after(prefix)) is not None:
                self.saved_s += answer.cost_s
                return found
        began_s = time.thread_time()
        whole = super().encode(self._features)
        assert whole
        found = super().decode(whole, prefix=prefix, guess=guess, is_cut=is_cut)
        tokens = [*prefix, *(token for unit in found.units for token in unit.tokens)]
        known.append(_Answer(tokens, len(prefix), found, time.thread_time() - began_s))
        return found


# What is shown.


@dataclass(frozen=True, slots=True)
class Shown:
    """The words on the screen from `at_s` on, seconds of the clip."""

    at_s: float
    words: list[str]


class Speaker:
    """Lets a recognizer hear a clip as if it were spoken now."""

    def __init__(self, recognizer: Recognizer, model: RememberingModel) -> None:
        self._recognizer = recognizer
        self._model = model
        self._over_s = 0.0  # the last step, in seconds of the clip
        self.heard: list[tuple[float, Token]] = []
        """Each token with the time at which it is there."""
        self.cost_s = 0.0

    def speak(self, samples: Samples, chunk_s: float) -> None:
        """Say all of it."""
        ring, chunk = SampleRing(), sample_count(chunk_s)
        for start in range(0, len(samples), chunk):
            ring.append(samples[start : start + chunk])
            while len(ring) >= sample_count(_JOB_S):
                self._step(partial(self._recognizer.hear, ring.take()), duration_s(ring.end))
        while len(ring):
            self._step(partial(self._recognizer.hear, ring.take()), duration_s(ring.end))
        self._step(self._recognizer.finish, duration_s(ring.end))

    def _step(self, work: Callable[[], list[Token]], here_s: float) -> None:
        """Do work on sound that is there at here_s."""
        began_s, saved_s = time.thread_time(), self._model.saved_s
        tokens = work()
        cost_s = time.thread_time() - began_s + self._model.saved_s - saved_s
        self.cost_s += cost_s
        self._over_s = max(self._over_s, here_s) + cost_s
        self.heard += [(self._over_s, token) for token in tokens]


def text_of(heard: Sequence[tuple[float, Token]]) -> str:
    """The settled text."""
    return "".join(token.text for _, token in heard)


def shown(heard: Sequence[tuple[float, Token]]) -> list[Shown]:
    """All that was on the screen, settled or not, one after the other."""
    text, found = "", [Shown(0.0, [])]
    for at_s, token in heard:
        text += token.text
        words = plain_words(text + token.tentative)
        if words != found[-1].words:
            found.append(Shown(at_s, words))
    return found


def seen_s(clip: Clip, displays: Sequence[Shown]) -> tuple[dict[int, float], dict[int, float]]:
    """When each word of the clip, by its index, was shown first, and since when it stayed.

    Before it has begun, a word does not count as seen.
    """
    first: dict[int, float] = {}
    stayed: dict[int, float] = {}
    expected = plain_words(clip.text)
    for display in displays:
        begun = sum(start_s < display.at_s for start_s, _ in clip.word_spans_s)
        part = replace(clip, text=" ".join(expected[:begun]))
        right = [index for _, index in matches(part, display.words)] if begun else []
        stayed = {index: stayed.get(index, display.at_s) for index in right}
        first = {**stayed, **first}
    return first, stayed


def taken_back(displays: Sequence[Shown]) -> int:
    """How many words were on the screen and not at their place in what came next."""
    pairs = itertools.pairwise(display.words for display in displays)
    return sum(_unlike(before, after) for before, after in pairs)


def _unlike(before: list[str], after: list[str]) -> int:
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    return len(before) - same


@dataclass
class Row:
    """The measurements of one policy in one room."""

    errors: ErrorCount = field(default_factory=ErrorCount)
    seen_s: list[float] = field(default_factory=list)
    stayed_s: list[float] = field(default_factory=list)
    settled_s: list[float] = field(default_factory=list)
    taken_back: int = 0
    hypotheses: int = 0
    cost_s: float = 0.0
    audio_s: float = 0.0

    def add(self, clip: Clip, heard: Sequence[tuple[float, Token]]) -> None:
        """Count one clip."""
        text, displays = text_of(heard), shown(heard)
        self.audio_s += clip.length_s
        self.taken_back += taken_back(displays)
        if not clip.text:
            self.errors.errors += len(plain_words(text))
            return
        self.errors.add(clip.text, text)
        self.settled_s += delays_s(
            clip, [(token.text, at_s) for at_s, token in heard if token.text]
        )
        seen = zip(seen_s(clip, displays), (self.seen_s, self.stayed_s), strict=True)
        for times_s, delays in seen:
            delays += [at_s - clip.word_ends_s[index] for index, at_s in times_s.items()]

    def line(self, room: str, policy: str) -> str:
        """The row of the table."""
        marks = [
            f"{mark:5.2f}"
            for delays in (self.seen_s, self.stayed_s, self.settled_s)
            for mark in (np.percentile(delays, [50, 90]) if delays else [np.nan] * 2)
        ]
        taken_back = self.taken_back * (100 / self.errors.words if self.errors.words else 1)
        parts = [f"{room:9}", f"{self.errors.errors:3}/{self.errors.words:3}", *marks]
        parts += [f"{taken_back:5.1f}", f"{self.hypotheses / self.audio_s:5.2f}"]
        return "  ".join([*parts, f"{self.cost_s / self.audio_s:5.3f}", policy])


HEAD = (
    f"{'room':9}  {'errors':>7}  {'seen':>5}  {'p90':>5}  {'stays':>5}  {'p90':>5}"
    f"  {'sett.':>5}  {'p90':>5}  {'back':>5}  {'hyp/s':>5}  {'cpu/s':>5}  policy"
)


@dataclass(frozen=True, slots=True)
class Bench:
    """The parts that all rows share."""

    model: RememberingModel
    detector: VoiceDetector
    chunk_s: float

    def row(self, clips: Sequence[Clip], policy: Policy) -> Row:
        """Hear all clips."""
        row, before = Row(), self.model.hypotheses
        for clip in clips:
            speaker = Speaker(Recognizer(self.model, self.detector, policy), self.model)
            speaker.speak(clip.samples, self.chunk_s)
            row.cost_s += speaker.cost_s
            row.add(clip, speaker.heard)
        row.hypotheses = self.model.hypotheses - before
        return row


def policy_of(text: str) -> Policy:
    """The policy with these numbers: settle_s=0.2,hop_s=0.3."""
    pairs = [part.split("=") for part in text.split(",") if part]
    return replace(Policy(), **{name: float(value) for name, value in pairs})


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--model", default="base-en")
    parser.add_argument("--rooms", default=_ROOMS)
    parser.add_argument("--policy", action="append", default=[""])
    parser.add_argument("--chunk-s", type=float, default=0.08)
    parser.add_argument("--quick", action="store_true", help="only every third clip")
    options = parser.parse_args()
    folder = model_dir(options.model)
    bench = Bench(RememberingModel(folder), VoiceDetector(folder), options.chunk_s)
    clips = read_clips(options.audio)[_QUICK if options.quick else slice(None)]
    print(HEAD, flush=True)
    noises = wordless(options.audio)
    for room in options.rooms.split(","):
        if room == "wordless":
            heard = noises
        else:
            heard = [in_room(clips, index, room, noises) for index in range(len(clips))]
        for policy in options.policy if heard else ():
            print(bench.row(heard, policy_of(policy)).line(room, policy), flush=True)


if __name__ == "__main__":
    main()
