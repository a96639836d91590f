"""What the clients keep of sessions that end in any way: every word once, and no half one."""

import json
from random import Random
from typing import Any

import pytest

from clients.protocol import Event
from clients.stitch import Said, Stitch
from clients.story import Story
from tests.clients.pieces import text_of

RATE_HZ = 16_000
WORD_S, GAP_S = 0.3, 0.1
VOCABULARY = [f"{first}{rest}" for first in "bcdfglmnprst" for rest in ("arn", "elo", "ivit", "ox")]
SEEDS = 200


class Speech:
    """Words, one every 0.4 s, and what an engine hears of them from a place on."""

    def __init__(self, rng: Random, count: int) -> None:
        self.words = [rng.choice(VOCABULARY) for _ in range(count)]
        self._rng = rng

    @property
    def end(self) -> int:
        return round(len(self.words) * (WORD_S + GAP_S) * RATE_HZ)

    def heard_from(self, place: int) -> list[dict[str, Any]]:
        """The deltas of a session that begins there; half a word is heard as another, or not."""
        deltas: list[dict[str, Any]] = []
        base_s = place / RATE_HZ
        for number, word in enumerate(self.words):
            start_s = number * (WORD_S + GAP_S) - base_s
            end_s = start_s + WORD_S
            if end_s <= 0:
                continue
            said = word if start_s >= 0 else self._rng.choice(["", "uh", word])
            if said:
                text = f" {said}" if deltas else said
                deltas.append({"delta": text, "start_s": max(0.0, start_s), "end_s": end_s})
        return deltas


def event(kind: str, **fields: Any) -> Event:
    return Event(json.dumps({"type": kind, **fields}))


def hear(story: Story, delta: dict[str, Any]) -> list[Said]:
    return story.hear(event("transcription.delta", **delta), 0.0)


def last_words(story: Story, heard: list[dict[str, Any]], half: str) -> None:
    """A server that is stopped: half a word, and the end of an utterance that nobody ended."""
    story.cut()
    at_s = heard[-1]["end_s"] + WORD_S / 2
    assert hear(story, {"delta": f" {half}", "start_s": at_s - 0.1, "end_s": at_s}) == []
    text = "".join(delta["delta"] for delta in heard) + f" {half}"
    assert story.end(event("transcription.done", text=text, duration_s=at_s)) == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_word_comes_once_however_sessions_end(seed: int) -> None:
    rng = Random(seed)
    speech, story, said = Speech(rng, 60), Story(), ""
    for way in [*rng.choices(["crash", "stop"], k=rng.randint(1, 6)), "end"]:
        story.begin(story.safe)
        story.sent = speech.end
        deltas = speech.heard_from(story.base)
        heard = deltas if way == "end" else deltas[: rng.randint(1, max(1, len(deltas) - 1))]
        for delta in heard:
            said += text_of(hear(story, delta))
        if way == "stop":
            before = story.safe
            last_words(story, heard, rng.choice([*VOCABULARY, "stan", "uh"]))
            assert story.safe == before, f"seed {seed}: a cut settles nothing"
    story.is_committed = True
    text = "".join(delta["delta"] for delta in deltas)
    duration_s = (speech.end - story.base) / RATE_HZ
    said += text_of(story.end(event("transcription.done", text=text, duration_s=duration_s)))
    assert said.split() == speech.words, f"seed {seed}"
    assert story.last_words == []


def test_what_was_said_later_is_no_repetition() -> None:
    """The first word is misheard the second time; the next sentence ends as it did."""
    stitch = Stitch("No matter. Try again.", is_open=True, said_s=1.8)
    for text, end_s in (("So?", 2.0), (" Fail", 4.0), (" again.", 4.4), (" Better.", 5.0)):
        stitch.feed((text, end_s - 0.3, end_s))
    assert text_of(stitch.close()) == " So? Fail again. Better."


def test_the_last_words_of_a_server_that_stays_away_are_all_there_is() -> None:
    story = Story()
    story.begin(0)
    story.sent = 3 * RATE_HZ
    said = text_of(hear(story, {"delta": "one two", "start_s": 0.2, "end_s": 1.0}))
    story.cut()
    said += text_of(hear(story, {"delta": " three", "start_s": 1.1, "end_s": 1.4}))
    done = event("transcription.done", text="one two three four", duration_s=2.0)
    said += text_of(story.end(done))
    assert said == "one two"
    assert text_of(story.last_words) == " three four"


@pytest.mark.parametrize(
    ("said", "again", "rest"),
    [
        ("the whys and where force thereof", "the wise and wherefores thereof but", " but"),
        ("of activities thereunder.", "there under. In", " In"),
        ("nothing is", "heard alike. In", " In"),
    ],
)
def test_what_is_heard_otherwise_is_told_by_its_time(said: str, again: str, rest: str) -> None:
    """The old words end at 2 s, when those that are heard again do; the last one is new."""
    stitch = Stitch(said, is_open=True, said_s=2.0)
    words = again.split()
    for number, word in enumerate(words, start=2 - len(words)):
        end_s = 2.0 + 0.3 * number
        stitch.feed((f" {word}" if number > 2 - len(words) else word, end_s - 0.2, end_s))
    assert text_of(stitch.close()) == rest


def heard_with(story: Story, text: str, end_s: float, tentative: str) -> str:
    """What is tentative after a delta that ends there."""
    hear(story, {"delta": text, "start_s": end_s - 0.3, "end_s": end_s, "tentative": tentative})
    return story.tentative


def test_only_the_newest_delta_has_tentative_words() -> None:
    story = Story()
    story.begin(0)
    story.sent = 100 * RATE_HZ
    assert heard_with(story, "one", 1.0, " two") == " two"
    assert heard_with(story, "", 1.2, " too th\x1b") == " too th"
    hear(story, {"delta": " two", "start_s": 1.1, "end_s": 1.4})
    assert story.tentative == ""


def test_no_tentative_words_are_left_by_a_cut_an_end_or_another_session() -> None:
    story = Story()
    story.begin(0)
    story.sent = 100 * RATE_HZ
    heard_with(story, "one", 1.0, " two")
    story.end(event("transcription.done", text="one", duration_s=1.0))
    assert story.tentative == ""
    heard_with(story, "one", 1.0, " two")
    story.cut()
    assert story.tentative == ""
    assert heard_with(story, " tw", 1.2, " o") == "", "the next session hears it again"
    story.begin(0)
    story.sent = 100 * RATE_HZ
    assert heard_with(story, "one", 1.0, " two") == "", "it was said already"
    assert heard_with(story, " two", 9.0, " three") == " three"
    story.begin(0)
    assert story.tentative == ""
