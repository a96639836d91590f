"""Speech with its words and their times: the material of the measurements.

Forced alignment with pocketsphinx finds the times of the words; it has nothing in common with the
measured engines. A word that its dictionary lacks is aligned as the nearest spelling there.
"""

import csv
import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import soundfile
from pocketsphinx import Decoder, get_model_path
from whisper_normalizer.english import EnglishTextNormalizer

from bench.words import plain_words
from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.speech.audio import SAMPLE_RATE_HZ, Samples, samples_to_pcm16

_ENGLISH_GROUPS = {"clean", "libri"}
_FRAMES_PER_S = 100
_BECKETT = "Ever tried ever failed no matter try again fail again fail better"


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, shape (n,), and its reference text."""

    name: str
    samples: Samples
    text: str
    word_spans_s: tuple[tuple[float, float], ...]
    """Start and end of each word of `plain_words(text)`; empty if alignment failed."""

    @property
    def word_ends_s(self) -> tuple[float, ...]:
        """The end of each word."""
        return tuple(end_s for _, end_s in self.word_spans_s)

    @property
    def length_s(self) -> float:
        """Its duration."""
        return len(self.samples) / SAMPLE_RATE_HZ


def read_clips(folder: Path | None) -> list[Clip]:
    """The English clips of a folder with a manifest.tsv, or the model's own sample."""
    if folder is None:
        rows = [(sample_path(), _BECKETT)]
    else:
        with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
            rows = [
                (folder / row["file"], row["reference"])
                for row in csv.DictReader(file, delimiter="\t")
                if row["group"] in _ENGLISH_GROUPS
            ]
    align = Aligner()
    return [_clip(path, text, align) for path, text in rows]


class Aligner:
    """Finds the times of the words of a known text."""

    def __init__(self) -> None:
        self._decoder = Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL", beam=1e-80)
        dictionary = Path(get_model_path("en-us")) / "cmudict-en-us.dict"
        lines = dictionary.read_text(encoding="utf-8").splitlines()
        self._known = {line.split(" ", 1)[0] for line in lines}

    def word_spans_s(self, samples: Samples, words: list[str]) -> tuple[tuple[float, float], ...]:
        """Start and end of each word; empty if the text does not fit the audio."""
        stand_ins = [self._stand_in(word) for word in words]
        self._decoder.set_align_text(" ".join(stand_ins))
        self._decoder.start_utt()
        self._decoder.process_raw(samples_to_pcm16(samples), full_utt=True)
        self._decoder.end_utt()
        found = [
            (
                re.sub(r"\(\d+\)$", "", segment.word),
                (segment.start_frame / _FRAMES_PER_S, (segment.end_frame + 1) / _FRAMES_PER_S),
            )
            for segment in self._decoder.seg() or []
            if segment.word[0] not in "<["
        ]
        is_whole = [word for word, _ in found] == stand_ins
        return tuple(span_s for _, span_s in found) if is_whole else ()

    def _stand_in(self, word: str) -> str:
        if word in self._known:
            return word
        return difflib.get_close_matches(word, self._known, n=1, cutoff=0.0)[0]


class ErrorCount:
    """Word errors after Whisper's normalisation of both texts."""

    def __init__(self) -> None:
        self._normalise = EnglishTextNormalizer()
        self.errors = 0
        self.words = 0

    def add(self, reference: str, heard: str) -> None:
        """Count one clip."""
        expected, got = self._normalise(reference), self._normalise(heard)
        result = jiwer.process_words([expected], [got or "-"])
        self.errors += result.substitutions + result.deletions + result.insertions
        self.words += len(expected.split())

    @property
    def percent(self) -> float:
        """The word error rate."""
        return 100 * self.errors / max(self.words, 1)


def delays_s(clip: Clip, heard: list[tuple[str, float]]) -> list[float]:
    """The delay of each word after its end; misheard words have none.

    heard: pieces of text with their times of arrival, in seconds from the clip's start.
    """
    words: list[str] = []
    times: list[float] = []
    for text, time_s in heard:
        for word in plain_words(text):
            if words and not text[0].isspace():
                words[-1] += word
                times[-1] = time_s
            else:
                words.append(word)
                times.append(time_s)
    pairs = matches(clip, words)
    return [times[index] - clip.word_ends_s[other] for index, other in pairs]


def matches(clip: Clip, words: list[str]) -> list[tuple[int, int]]:
    """Match the heard words to the clip's words: pairs of indexes, of equal words only."""
    if not clip.word_spans_s or not words:
        return []
    alignment = jiwer.process_words([" ".join(plain_words(clip.text))], [" ".join(words)])
    return [
        (part.hyp_start_idx + index, part.ref_start_idx + index)
        for part in alignment.alignments[0]
        if part.type == "equal"
        for index in range(part.ref_end_idx - part.ref_start_idx)
    ]


def _clip(path: Path, text: str, align: Aligner) -> Clip:
    is_sample = path == sample_path()
    samples = read_wave(path) if is_sample else soundfile.read(path, dtype="float32")[0]
    silence = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)  # so that the last word can settle
    spans_s = align.word_spans_s(samples, plain_words(text))
    return Clip(path.stem, np.concatenate([samples, silence]), text, spans_s)
