"""Whether a page showed each word of its sound once, as what a program hears in it tells."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import cycle, islice
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from lanscribe.speech.audio import Samples
from tests.browser.recording import WORDS
from tests.support import client, words

NEAR_S = 0.5
"""How far the times of one word may be apart, where a session began at another place."""
MOST_AT_AN_END = 1
"""So many words at each end of the recording may be cut off for one of the two."""


@dataclass(frozen=True)
class Word:
    """A word without case and punctuation. start_s: in the sound."""

    text: str
    start_s: float


@dataclass(frozen=True)
class Difference:
    """Where the page and the program do not say the same; None: one of them says nothing there."""

    shown: str | None
    heard: str | None


def heard_by_a_program(url: str, sound: Samples) -> list[Word]:
    """What the engine hears in the sound if it comes in one session, whose connection holds."""

    async def told() -> list[dict[str, Any]]:
        async with client(url) as one:
            await one.select("")
            done = await one.transcribe(sound)
            found: list[dict[str, Any]] = done["words"]
            return found

    return list(_words((one["word"], one["start"]) for one in asyncio.run(told())))


def shown_by_a_page(transcript: dict[str, Any]) -> list[Word]:
    """The words of a transcript that the page keeps."""
    gaps = [gap for gap in transcript["gaps"] if gap["endS"] is not None]

    def in_sound(time_s: float) -> float:
        """On the clock that stands still where nothing was recorded."""
        silent_s: float = sum(gap["endS"] - gap["startS"] for gap in gaps if gap["endS"] <= time_s)
        return time_s - silent_s

    whole: list[tuple[str, float]] = []
    for piece in transcript["words"]:
        if whole and not piece["text"].startswith(" "):
            whole[-1] = (whole[-1][0] + piece["text"], whole[-1][1])
        else:
            whole.append((piece["text"], in_sound(piece["startS"])))
    return list(_words(iter(whole)))


def _words(told: Iterator[tuple[str, float]]) -> Iterator[Word]:
    for text, start_s in told:
        for one in words(text):
            yield Word(one, start_s)


def in_order(texts: Iterable[str]) -> list[Word]:
    """Words of which no time is known."""
    return [Word(text, 0.0) for text in texts]


def against_the_recording(heard: Sequence[Word]) -> list[Difference]:
    """Where words differ from what the microphone was played, from its start on."""
    spoken = islice(cycle(WORDS), len(heard))
    return differences(in_order(one.text for one in heard), in_order(spoken))


def differences(shown: Sequence[Word], heard: Sequence[Word]) -> list[Difference]:
    """Where they differ, but for a word at either end; the fewest that there can be."""
    steps = _steps(_at_the_same_time(shown, heard), heard)
    ends = _missed_first(steps), len(steps) - _missed_first(steps[::-1])
    return [one for one in steps[slice(*ends)] if one.shown != one.heard]


def lost_or_doubled(found: Sequence[Difference]) -> list[Difference]:
    """Those that are no mere difference of hearing."""
    return [one for one in found if one.shown is None or one.heard is None]


def _missed_first(steps: Sequence[Difference]) -> int:
    """How many words of the beginning only one of them has; those that may be cut off."""
    count = 0
    while count < min(MOST_AT_AN_END, len(steps)) and lost_or_doubled([steps[count]]):
        count += 1
    return count


def _at_the_same_time(shown: Sequence[Word], heard: Sequence[Word]) -> list[Word]:
    """What was shown, by the time of the sound: the clock of a page begins before it."""
    texts, others = [one.text for one in shown], [one.text for one in heard]
    same = SequenceMatcher(None, texts, others, autojunk=False).get_matching_blocks()
    late_s = [
        shown[block.a + at].start_s - heard[block.b + at].start_s
        for block in same
        for at in range(block.size)
    ]
    return [Word(one.text, one.start_s - median(late_s or [0.0])) for one in shown]


def _steps(shown: Sequence[Word], heard: Sequence[Word]) -> list[Difference]:
    """Word by word, by the least edit distance of which only words that are near make pairs."""
    costs = np.add.outer(np.arange(len(shown) + 1), np.arange(len(heard) + 1))
    for at, one in enumerate(shown, 1):
        for beside, other in enumerate(heard, 1):
            paired = costs[at - 1, beside - 1] + _apart(one, other)
            costs[at, beside] = min(paired, costs[at - 1, beside] + 1, costs[at, beside - 1] + 1)
    return list(_way_back(shown, heard, costs))[::-1]


def _way_back(
    shown: Sequence[Word], heard: Sequence[Word], costs: npt.NDArray[np.int_]
) -> Iterator[Difference]:
    at, beside = len(shown), len(heard)
    while at or beside:
        if at and beside:
            apart = _apart(shown[at - 1], heard[beside - 1])
            if costs[at, beside] == costs[at - 1, beside - 1] + apart:
                at, beside = at - 1, beside - 1
                yield Difference(shown[at].text, heard[beside].text)
                continue
        if at and costs[at, beside] == costs[at - 1, beside] + 1:
            at -= 1
            yield Difference(shown[at].text, None)
        else:
            beside -= 1
            yield Difference(None, heard[beside].text)


def _apart(one: Word, other: Word) -> int:
    if abs(one.start_s - other.start_s) > NEAR_S:
        return 3  # dearer than to leave out both
    return 0 if one.text == other.text else 1
