"""Speech cut off at any point, and repeated words: the effect of the guard against loops on both.

    python -m bench.cuts [--audio FOLDER] [--model base-en] [--cuts 1000] [--noise-db 10]

FOLDER holds WAV files and a manifest.tsv (columns file, group, reference); without it, the
model's own sample is used. The engine hears every sound live in this process, with and without the
guard (lanscribe/engines/embedded/repeats.py). Doubled: words that the text repeats, but that the
reference has once. Lost: words of the reference that are heard without the guard but not with it;
won: the reverse. Exits with 1 if a word is doubled or lost with the guard.
"""

import argparse
import copy
import csv
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from bench.talk import read_sound
from lanscribe.engines.embedded.alignment import Floats
from lanscribe.engines.embedded.model_store import MODELS_DIR, model_dir, sample_path
from lanscribe.engines.embedded.moonshine import Moonshine
from lanscribe.engines.embedded.recognizer import Recognizer
from lanscribe.engines.embedded.repeats import without_loops
from lanscribe.engines.embedded.streaming import Unit
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.transcript import Token, words_of

_GROUPS = {"clean", "libri"}
_BECKETT = "Ever tried ever failed no matter try again fail again fail better"
_SHORTEST_S = 0.4
_LONGEST_S = 12.0
_CYCLE_WORDS = 16
_FADE_S = 0.005
_GUARD = "lanscribe.engines.embedded.moonshine.without_loops"


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, shape (n,), and its reference text."""

    name: str
    samples: Samples
    text: str


@dataclass
class Tally:
    """The results for all sounds of one kind."""

    count: int = 0
    doubled: dict[str, int] = field(default_factory=lambda: {"off": 0, "on": 0})
    """Texts with doubled words."""
    tripled: dict[str, int] = field(default_factory=lambda: {"off": 0, "on": 0})
    """Texts in which a word appears three times or more in a row."""
    again: dict[str, int] = field(default_factory=lambda: {"off": 0, "on": 0})
    """Words that were said again and that the text repeats."""
    said_again: int = 0
    lost: int = 0
    won: int = 0

    def cut(self, off: Sequence[str], on: Sequence[str], text: str) -> int:
        """Count the words of one cut; return how many are lost with the guard."""
        repeated = cycles(plain_text(text))
        self.count += 1
        for name, words in (("off", off), ("on", on)):
            triples = zip(words, words[1:], words[2:], strict=False)
            self.doubled[name] += bool(cycles(words) - repeated)
            self.tripled[name] += any(one == two == three for one, two, three in triples)
        lost = right(off, text) - right(on, text)
        self.lost += max(lost, 0)
        self.won += max(-lost, 0)
        return lost

    def row(self, name: str) -> str:
        """A line of the table."""
        pairs = [f"{one['off']} | {one['on']}" for one in (self.doubled, self.tripled, self.again)]
        cells = [name, self.count, *pairs, self.said_again, self.lost, self.won]
        return f"| {' | '.join(map(str, cells))} |"


HEAD = (
    "| | sounds | doubled, off | on | tripled, off | on | said again and heard, off | on"
    " | of | lost | won |\n" + "| --- " * 11 + "|"
)


class Ear:
    """Runs the engine on sounds, with and without the guard."""

    def __init__(self, model: Moonshine, detector: VoiceDetector, step_s: float) -> None:
        self._model = model
        self._detector = detector
        self._step = sample_count(step_s)

    def both(self, samples: Samples) -> tuple[list[Token], list[Token]]:
        """The tokens of a sound fed step by step, without and with the guard."""
        stops = [len(samples)]
        return next(self.cut_off(samples, stops, is_guarded=False)), self.hear(samples)

    def hear(self, samples: Samples) -> list[Token]:
        """The tokens of a sound fed step by step."""
        return next(self.cut_off(samples, [len(samples)]))

    def cut_off(
        self, samples: Samples, stops: Sequence[int], *, is_guarded: bool = True
    ) -> Iterator[list[Token]]:
        """The tokens of a sound that ends after each of the rising `stops`, in samples.

        The sound is heard once as a whole, and a copy of the recognizer continues from the last
        step before each stop: same result as separate runs, but many times faster.
        """
        recognizer, tokens, start = Recognizer(self._model, self._detector), [], 0
        shared = {id(one): one for one in (self._model, self._detector)}
        with patch(_GUARD, without_loops if is_guarded else _unguarded):
            for stop in stops:
                while start + self._step <= stop:
                    tokens += recognizer.hear(samples[start : start + self._step])
                    start += self._step
                branch = copy.deepcopy(recognizer, dict(shared))
                yield [*tokens, *branch.hear(samples[start:stop]), *branch.finish()]


def _unguarded(
    prefix: Sequence[Unit], units: Sequence[Unit], attention: Floats, **_: bool
) -> tuple[list[Unit], Floats]:
    return list(units), attention


def judge_cuts(clip: Clip, stops: Sequence[int], samples: Samples, ear: Ear, tally: Tally) -> None:
    """Count what is heard in each cut of a clip, and print the errors."""
    repeated = cycles(plain_text(clip.text))
    pairs = [list(ear.cut_off(samples, stops, is_guarded=on)) for on in (False, True)]
    for stop, *texts in zip(stops, *pairs, strict=True):
        off, on = map(plain, texts)
        lost = tally.cut(off, on, clip.text)
        if lost > 0 or cycles(on) - repeated:
            print(f"  {clip.name} cut at {duration_s(stop):.3f} s")
            print(f"    off: {' '.join(off)[-90:]}\n    on:  {' '.join(on)[-90:]}", flush=True)


def judge_again(word: str, times: int, samples: Samples, ear: Ear, tally: Tally) -> None:
    """Count how often the engine hears a word that is said several times."""
    off, on = (min(longest_run(plain(tokens), word), times) for tokens in ear.both(samples))
    tally.count += 1
    tally.said_again += times - 1
    tally.again["off"] += max(off - 1, 0)
    tally.again["on"] += max(on - 1, 0)
    tally.lost += max(off - max(on, 1), 0)


def cuts(clips: list[Clip], count: int, random: np.random.Generator) -> list[list[int]]:
    """The cut positions of each clip, in samples; `count` cuts in total."""
    stops: list[list[int]] = [[] for _ in clips]
    for _ in range(count):
        index = random.integers(len(clips))
        longest_s = min(duration_s(len(clips[index].samples)), _LONGEST_S)
        stops[index].append(sample_count(random.uniform(_SHORTEST_S, longest_s)))
    return [sorted(one) for one in stops]


def said_again(
    clip: Clip, ear: Ear, random: np.random.Generator
) -> tuple[str, int, Samples] | None:
    """The clip with one word said two to four times; None if no word can be cut out."""
    words = [
        (plain_text(word.text)[0], sample_count(word.start_s), sample_count(word.end_s))
        for word in words_of(ear.hear(clip.samples[: sample_count(_LONGEST_S)]))
        if len(plain_text(word.text)) == 1 and word.end_s - word.start_s > 2 * _SHORTEST_S / 4
    ]
    if not words:
        return None
    text, start, end = words[random.integers(len(words))]
    piece = clip.samples[start:end].copy()
    fade = np.linspace(0, 1, sample_count(_FADE_S), dtype=np.float32)
    piece[: len(fade)] *= fade
    piece[-len(fade) :] *= fade[::-1]
    pause = np.zeros(sample_count(random.uniform(0.08, 0.25)), dtype=np.float32)
    times = int(random.integers(2, 5))
    rest = clip.samples[end : end + sample_count(2)]
    return text, times, np.concatenate([clip.samples[:start], *[piece, pause] * times, rest])


def with_noise(samples: Samples, below_db: float, random: np.random.Generator) -> Samples:
    """The sound with white noise `below_db` dB below it."""
    level = float(np.sqrt(np.mean(samples**2))) * 10 ** (-below_db / 20)
    noise: npt.NDArray[np.float64] = random.normal(0, level, len(samples))
    return (samples + noise).astype(np.float32)


def plain(tokens: Sequence[Token]) -> list[str]:
    """The words of tokens, in lower case."""
    return plain_text("".join(token.text for token in tokens))


def plain_text(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.findall(r"[a-z0-9']+", text.lower())


def cycles(words: Sequence[str]) -> set[tuple[str, ...]]:
    """Runs of words that repeat themselves."""
    return {
        tuple(words[at : at + period])
        for period in range(1, _CYCLE_WORDS + 1)
        for at in range(len(words) - 2 * period + 1)
        if words[at : at + period] == words[at + period : at + 2 * period]
    }


def once(words: Sequence[str]) -> list[str]:
    """The words without repetitions, nor a partial repetition at the end."""
    kept: list[str] = []
    rest = list(words)
    cycle = 0
    while rest:
        periods = range(1, min(_CYCLE_WORDS, len(kept)) + 1)
        whole = (period for period in periods if kept[-period:] == rest[:period])
        period = next(whole, 0)
        if not period and cycle > len(rest) and kept[-cycle:][: len(rest)] == rest:
            break
        if period:
            cycle, rest = period, rest[period:]
        else:
            cycle = 0
            kept.append(rest.pop(0))
    return kept


def right(words: Sequence[str], text: str) -> int:
    """How many of the words are in the text, in order; repeated ones count once."""
    reference = once(plain_text(text))
    matcher = difflib.SequenceMatcher(a=once(words), b=reference, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def longest_run(words: Sequence[str], word: str) -> int:
    """How often a word appears in a row."""
    runs = "".join("x" if one == word else " " for one in words).split()
    return max(map(len, runs), default=0)


def read_clips(folder: Path | None) -> list[Clip]:
    """The English clips of a folder with a manifest.tsv, or the model's own sample."""
    if folder is None:
        return [Clip("beckett", read_sound(sample_path()), _BECKETT)]
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["group"] in _GROUPS]
    return [
        Clip(Path(row["file"]).stem, read_sound(folder / row["file"]), row["reference"])
        for row in rows
    ]


def main() -> int:
    """Run the command line; the exit status."""
    options = _options()
    folder = model_dir(options.model, options.models)
    ear = Ear(Moonshine(folder), VoiceDetector(folder), options.step_s)
    clips, random = read_clips(options.audio), np.random.default_rng(options.seed)
    tallies = {"cut off": Tally(), "said again": Tally()}
    for clip, stops in zip(clips, cuts(clips, options.cuts, random), strict=True):
        samples = clip.samples
        if options.noise_db is not None:
            samples = with_noise(samples, options.noise_db, random)
        judge_cuts(clip, stops, samples, ear, tallies["cut off"])
    for number in range(options.again):
        if (found := said_again(clips[number % len(clips)], ear, random)) is not None:
            judge_again(*found, ear, tallies["said again"])
    print(HEAD)
    for name, tally in tallies.items():
        print(tally.row(name))
    return int(any(tally.lost or tally.doubled["on"] for tally in tallies.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--model", default="base-en")
    parser.add_argument("--models", type=Path, default=MODELS_DIR, help="the models' folder")
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--again", type=int, default=100, help="sounds with a word said again")
    parser.add_argument("--noise-db", type=float, help="level of white noise below the speech")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--step-s", type=float, default=0.4, help="how much audio to feed at once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
