"""How well the embedded engine's word times agree with forced alignment.

    python -m bench.word_times [--audio FOLDER] [--model base-en]

FOLDER as for bench.embedded. The engine hears every clip live, 80 ms at a time, and as a file, 10 s
at a time. The word times do not depend on the clock, so a busy machine changes only the last
column.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from bench.speech import Clip, matches, read_clips
from bench.words import plain_words
from lanscribe.engines.embedded.model_store import model_dir
from lanscribe.engines.embedded.moonshine import Moonshine
from lanscribe.engines.embedded.recognizer import Recognizer
from lanscribe.engines.embedded.vad import VoiceDetector
from lanscribe.speech.audio import sample_count
from lanscribe.speech.transcript import Token, words_of

_STEPS_S = {"live": 0.08, "file": 10.0}
HEAD = f"{'':18}  words   median     90 %     99 %    worst   cpu s"


def hear(recognizer: Recognizer, clip: Clip, step_s: float) -> list[Token]:
    """All tokens of a clip that is fed in steps."""
    step = sample_count(step_s)
    starts = range(0, len(clip.samples), step)
    pieces = [clip.samples[start : start + step] for start in starts]
    tokens = [token for piece in pieces for token in recognizer.hear(piece)]
    return tokens + recognizer.finish()


def errors_s(clip: Clip, tokens: list[Token]) -> list[tuple[float, float]]:
    """How late each word's start and end are."""
    words = [word for word in words_of(tokens) if plain_words(word.text)]
    texts = ["".join(plain_words(word.text)) for word in words]
    return [
        (
            words[index].start_s - clip.word_spans_s[other][0],
            words[index].end_s - clip.word_spans_s[other][1],
        )
        for index, other in matches(clip, texts)
    ]


def line(name: str, errors: np.ndarray[tuple[int], np.dtype[np.float64]], cpu_s: float) -> str:
    """A row of the table; the median has a sign, the rest are sizes."""
    marks = [np.median(errors), *np.percentile(np.abs(errors), [90, 99, 100])]
    figures = "  ".join(f"{mark:+6.3f}s" for mark in marks)
    return f"{name:18}  {len(errors):5}  {figures}  {cpu_s:6.1f}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--model", default="base-en")
    options = parser.parse_args()
    folder = model_dir(options.model)
    model, detector = Moonshine(folder), VoiceDetector(folder)
    clips = read_clips(options.audio)
    print(HEAD)
    for name, step_s in _STEPS_S.items():
        began_s = time.process_time()
        heard = [(clip, hear(Recognizer(model, detector), clip, step_s)) for clip in clips]
        cpu_s = time.process_time() - began_s
        errors = np.array([pair for clip, tokens in heard for pair in errors_s(clip, tokens)])
        print(line(f"{name}, starts", errors[:, 0], cpu_s))
        print(line(f"{name}, ends", errors[:, 1], cpu_s))


if __name__ == "__main__":
    main()
