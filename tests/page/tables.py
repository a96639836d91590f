"""What Python answers where the page has code of its own: seeded inputs and answers, as JSON.

`python -m tests.page.tables FOLDER` writes them; then TABLES_DIR=FOLDER node --test tests/page.
"""

import json
import sys
import unicodedata
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from clients.document import FORMATS, document
from clients.protocol import Event
from clients.stitch import Said, Stitch
from clients.story import Story
from lanscribe.speech.audio import SAMPLE_RATE_HZ
from lanscribe.speech.captions import Word, add_word, in_line, is_unspaced
from lanscribe.speech.resampler import Resampler
from tests.going_on import KINDS, rows_of
from tests.page.speech import UNSPACED, WORDS, misheard, sentence

Row = dict[str, Any]
RATES_HZ = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 44_056, 48_000, 96_000, 192_000)
RARE = {"\u303c", *map(chr, range(0x1B000, 0x1B170))}
"""Signs of old manuscripts."""


def pieces(said: list[Said]) -> list[Row]:
    return [{"text": text, "startS": start_s, "endS": end_s} for text, start_s, end_s in said]


def stitches() -> list[Row]:
    """The end of a text, and what a later session hears of it and after it."""
    return [stitch(Random(seed), language) for language in WORDS for seed in range(150)]


def stitch(rng: Random, language: str) -> Row:
    words = sentence(rng, language, rng.randint(1, 40))
    old = words[: rng.randint(0, len(words))]
    again = words[rng.randint(0, len(old)) :]
    if old and rng.random() < 0.4:
        old[-1] = misheard(rng, language, old[-1])
    said, end_s = "".join(old), rng.choice([len(old) * 0.4, 2.0])
    is_open, times = rng.random() < 0.9, rng.random() < 0.8
    one = Stitch(said, is_open=is_open, said_s=end_s)
    fed, told = [], []
    for number, word in enumerate(again):
        heard = misheard(rng, language, word) if rng.random() < 0.1 else word
        at_s = (len(words) - len(again) + number) * 0.4 + rng.uniform(-0.2, 0.2)
        if heard:
            fed.append((heard, at_s if times else None, at_s + 0.35))
            told.append(pieces(one.feed(fed[-1])))
    row = {"said": said, "isOpen": is_open, "saidS": end_s, "fed": pieces(fed), "told": told}
    return row | {"hasWords": one.has_words, "closed": pieces(one.close())}


def stories() -> list[Row]:
    """Steps of a story, and what it tells and knows after each."""
    return [story(Random(seed), language) for language in WORDS for seed in range(60)]


def story(rng: Random, language: str) -> Row:
    words = sentence(rng, language, 40)
    one, steps = Story(), list[Row]()
    has_times, now_s = rng.random() < 0.8, 0.0
    for _ in range(rng.randint(1, 5)):
        place = max(0, one.safe - rng.choice([0, 0, 16_000]))
        one.begin(place)
        one.sent = 40 * 8_000
        steps.append({"do": "begin", "place": place, "sent": one.sent, **known(one)})
        base_s = place / SAMPLE_RATE_HZ
        first = int(base_s / 0.5)
        for number in range(first, rng.randint(first, 40)):
            now_s += rng.choice([0.1, 0.5, 4.0])
            end_s = number * 0.5 + 0.4 - base_s
            if end_s < 0:
                continue
            text = misheard(rng, language, words[number]) if rng.random() < 0.1 else words[number]
            text = rng.choice([text, text, ""])
            steps.append(delta(one, text, end_s if has_times else None, now_s))
            if rng.random() < 0.03:
                one.cut()
                steps.append({"do": "cut", **known(one)})
        if rng.random() < 0.5:
            steps.append(done(one, rng, has_times))
    return {"steps": steps}


def delta(one: Story, text: str, end_s: float | None, now_s: float) -> Row:
    fields: Row = {"type": "transcription.delta", "delta": text}
    if end_s is not None:
        fields |= {"start_s": max(0.0, end_s - 0.4), "end_s": end_s} if text else {"end_s": end_s}
    told = one.hear(Event(json.dumps(fields)), now_s)
    return {"do": "hear", "event": fields, "nowS": now_s, "told": pieces(told), **known(one)}


def done(one: Story, rng: Random, has_times: bool) -> Row:
    one.is_committed = rng.random() < 0.6
    text = "".join(one._deltas) + rng.choice(["", "", " more"])
    fields: Row = {"type": "transcription.done", "text": text}
    if has_times:
        fields["duration_s"] = rng.choice([(one.sent - one.base) / SAMPLE_RATE_HZ, 3.0])
    event = Event(json.dumps(fields))
    row = {"do": "end", "event": fields, "isCommitted": one.is_committed}
    return row | {"told": pieces(one.end(event)), "wordless": one.is_wordless(event), **known(one)}


def known(one: Story) -> Row:
    places = {name: getattr(one, name) for name in ("base", "sent", "heard", "place", "safe")}
    return {"known": places | {"isWhole": one.is_whole, "lastWords": pieces(one.last_words)}}


def words() -> list[Row]:
    """Pieces of text, and the words that they become."""
    return [joined(Random(seed), language) for language in WORDS for seed in range(40)]


def joined(rng: Random, language: str) -> Row:
    made: list[Word] = []
    fed = []
    for number, text in enumerate("".join(sentence(rng, language, 20)).split(" ")):
        parts = list(text) if language in UNSPACED else [text[:2], text[2:]]
        for part in filter(None, parts):
            piece = f" {part}" if number and part is parts[0] else part
            piece = rng.choice([piece, piece, piece, f"{piece} ", f"\n{piece}"])
            start_s = rng.choice([None, round(rng.uniform(0, 30), 3)])
            fed.append((piece, start_s, round(rng.uniform(0, 30), 3)))
            add_word(made, *fed[-1])
    told = [{"text": text, "startS": start_s, "endS": end_s} for text, start_s, end_s in made]
    return {"fed": pieces(fed), "words": told, "line": in_line(made)}


def documents() -> list[Row]:
    """Words, and the files that they become."""
    rows = [written(Random(seed), language) for language in WORDS for seed in range(40)]
    return [*rows, files([], 0.0), files([Word(" ", 0.0, 1.0)], 1.0)]


def written(rng: Random, language: str) -> Row:
    made: list[Word] = []
    end_s = 0.0
    for piece in sentence(rng, language, rng.randint(1, 80)):
        text = rng.choice(
            [piece] * 20 + [f"{piece} --> <b>&", f"{piece} Mr.", f"{piece}\n\U0001f600"]
        )
        start_s = end_s + rng.choice([0.0, 0.1, 0.1, 0.5, 1.0, 1.9])
        end_s = start_s + rng.choice([0.0, 0.08, 0.3, rng.randint(0, 16_000) / 16_000])
        add_word(made, text, rng.choice([start_s, start_s, None]), end_s)
    return files(made, end_s + rng.random())


def files(made: list[Word], end_s: float) -> Row:
    told = [{"text": text, "startS": start_s, "endS": end_s} for text, start_s, end_s in made]
    return {
        "words": told,
        "durationS": end_s,
        "files": {kind: document(made, kind, end_s) for kind in FORMATS},
    }


def letters() -> Row:
    """Code points that are words by themselves, and those that are wide."""
    known_ones = [one for one in map(chr, range(sys.maxunicode + 1)) if is_known(one)]
    usual = [one for one in known_ones if unicodedata.category(one) == "Lo" and one not in RARE]
    usual += "々ー〇"
    return {
        "usual": [ord(one) for one in usual],
        "unspaced": [ord(one) for one in usual if is_unspaced(one)],
        "known": [ord(one) for one in known_ones],
        "wide": [ord(one) for one in known_ones if unicodedata.east_asian_width(one) in "WF"],
    }


def is_known(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cn", "Cs", "Co")


def going_on() -> list[Row]:
    """The table of all clients."""
    return [row for kind in KINDS for row in rows_of(kind)]


def sounds() -> list[Row]:
    """Sound that both rates can hold, and what the terminal clients' resampler makes of it."""
    rows = []
    for rate_hz in RATES_HZ:
        rng = np.random.default_rng(rate_hz)
        at_s = np.arange(round(0.3 * rate_hz)) / rate_hz
        most_hz = 0.75 * min(rate_hz, SAMPLE_RATE_HZ) / 2
        tones = [np.sin(2 * np.pi * (f * at_s + rng.random())) for f in rng.uniform(80, most_hz, 8)]
        samples = (0.1 * np.sum(tones, axis=0)).astype(np.float32)
        one = Resampler(rate_hz)
        heard = np.concatenate([one.feed(samples), one.flush()])
        rows.append({"rateHz": rate_hz, "samples": samples.tolist(), "heard": heard.tolist()})
    return rows


def write(folder: Path) -> None:
    """Write all tables, each as a file of its name."""
    for make in (stitches, stories, words, documents, letters, sounds, going_on):
        table = json.dumps(make(), ensure_ascii=False)
        (folder / f"{make.__name__}.json").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
