"""One table of going on: what servers say before and after breaks, and what a client has then.

Every client goes through it: those of the terminal, that of docs/clients.md and the page. A row
has the connections in order. Of each: how it is asked for (`asks`), the server's greeting, the
sample that is sent first (`from`), how much is recorded by then and whether the person has ended it
(`recorded`, `ended`), and what the server says then, each with its time of day (`at_s`). `text` is
what was spoken.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from clients.address import Server
from clients.going_on import Session
from clients.protocol import Event
from clients.stitch import bare
from clients.story import Story
from lanscribe.speech.audio import SAMPLE_RATE_HZ
from tests.page.speech import UNSPACED, WORDS, misheard, sentence

Row = dict[str, Any]
SEEDS = 60
"""For each language."""
WORD_S = 0.35
MISHEARD = 0.05
JITTER_S = 0.1
STEP_S = 0.5
NOWHERE = Server("ws://box:8000/v1/realtime")
ENDS = {"stopped": "server_stopping", "too_long": "session_too_long", "engine": "processing_error"}


@dataclass
class Speech:
    """Words, one every STEP_S, and what an engine hears of them."""

    rng: Random
    language: str
    words: list[str]
    late_s: float
    """By which this engine's times are late."""

    @property
    def end(self) -> int:
        """The number of samples, with a second of silence."""
        return self.until(len(self.words)) + SAMPLE_RATE_HZ

    def until(self, count: int) -> int:
        """Samples up to the silence after so many words."""
        return round(count * STEP_S * SAMPLE_RATE_HZ)

    def heard(self, place: int, end: int, said_to: int, start: int = 0) -> list[Row]:
        """The deltas of a session that begins at `place`, for the words from `start` to `end`.

        Half a word at the beginning is heard as another, or not; a
        word that was wholly said already is now and then heard otherwise.
        """
        base_s = place / SAMPLE_RATE_HZ
        deltas: list[Row] = []
        for number, spoken_word in enumerate(self.words):
            word = spoken_word
            start_s, to = number * STEP_S - base_s, self.until(number + 1)
            if start_s + WORD_S <= 0 or not start < to <= end:
                continue
            told_s = base_s + start_s + self.late_s + WORD_S
            is_old = told_s * SAMPLE_RATE_HZ <= said_to
            if start_s < 0 or (is_old and self.rng.random() < MISHEARD):
                word = misheard(self.rng, self.language, word)
            is_first = not deltas and not start
            start_s += self.late_s + self.rng.uniform(0, JITTER_S)
            text = word.lstrip() if is_first else word
            deltas += self._pieces(text, max(0.0, start_s), start_s + WORD_S)
        return deltas

    def _pieces(self, word: str, start_s: float, end_s: float) -> list[Row]:
        """A word as one delta or two, and at times one without text after it."""
        at = self.rng.choice([0, 0, len(word) // 2]) if len(word.strip()) > 2 else 0
        middle_s = (start_s + end_s) / 2
        parts = [(word[:at], start_s, middle_s), (word[at:], middle_s if at else start_s, end_s)]
        told = [delta(text, start, end) for text, start, end in parts if text.strip()]
        return [*told, *([delta("", None, end_s + 0.1)] if self.rng.random() < 0.2 else [])]


def delta(text: str, start_s: float | None, end_s: float) -> Row:
    """A message of the server."""
    began = {} if start_s is None else {"start_s": round(start_s, 3)}
    more = {"end_s": round(end_s, 3), "lag_s": 0.5}
    return {"type": "transcription.delta", "delta": text, **began, **more}


@dataclass
class Told:
    """A row that is being written, with the client that tells where each session begins."""

    speech: Speech
    name: str
    recorded: int
    session: Session = field(default_factory=lambda: Session(NOWHERE))
    story: Story = field(default_factory=Story)
    connections: list[Row] = field(default_factory=list)
    said: str = ""
    seq: int = 0
    at_s: float = 0.0
    deltas: list[Row] = field(default_factory=list)
    """What the engine has of this session, as far as it was not told."""
    text: str = ""
    """What was told of this session."""

    def connect(self, greeting: Row, *, ended: bool = False) -> bool:
        """Greet the client; False if it has to connect again."""
        asked = {"resume": self.session.token or None, "seen": self.session._seen}
        if not self.session.token:
            asked["seen"] = None
        is_greeted = self.session.greet(event(greeting), self.story, self.story.safe)
        row = {"asks": asked, "greeting": greeting, "from": self.story.sent, "says": []}
        self.connections.append(row | {"recorded": self.recorded, "ended": ended})
        self.story.sent, self.story.is_committed = self.recorded, ended
        return is_greeted

    def begin(self, *, ended: bool = False) -> None:
        """A new session."""
        said_to = self.story._said_end
        self.seq, self.text = 1, ""
        token = f"token-{len(self.connections)}"
        resume = {"token": token, "keep_s": 60.0}
        self.connect(
            {"type": "session.created", "id": "sess-1", "seq": 1, "resume": resume}, ended=ended
        )
        self.deltas = self.speech.heard(self.story.base, self.recorded, said_to)

    def say(self, message: Row, *, numbered: bool = True) -> None:
        """The server says something."""
        self.at_s += 0.1
        if numbered:
            self.seq += 1
            message = {**message, "seq": self.seq}
        self.connections[-1]["says"].append({"at_s": round(self.at_s, 1), "message": message})
        self.said += take(self.session, self.story, message, self.at_s)

    def say_deltas(self, count: int) -> None:
        """The next of what the engine heard."""
        told, self.deltas = self.deltas[:count], self.deltas[count:]
        for one in told:
            self.text += one["delta"]
            self.say(one)

    def done(self, end: int) -> None:
        """The utterance is complete."""
        duration_s = (end - self.story.base) / SAMPLE_RATE_HZ
        self.say({"type": "transcription.done", "text": self.text, "duration_s": duration_s})

    def fail(self, code: str, **more: Any) -> None:
        """An error that ends the session."""
        is_last = code == "processing_error"
        self.say({"type": "error", "error": code, "code": code, **more}, numbered=is_last)


def event(message: Row) -> Event:
    """The message as the terminal clients read it."""
    return Event(json.dumps(message))


def take(session: Session, story: Story, message: Row, at_s: float) -> str:
    """What a terminal client says after a message."""
    one = event(message)
    if one.kind == "error":
        session.token = ""
        return ""
    if not session.is_new(one):
        return ""
    if one.kind == "session.stopping":
        story.cut()
    pieces = []
    if one.kind == "transcription.delta":
        pieces = story.hear(one, at_s)
    if one.kind == "transcription.done":
        pieces = story.end(one)
        session.token = ""
    return "".join(text for text, _, _ in pieces)


def spoken(rng: Random, language: str) -> list[str]:
    """40 words, none of which comes again soon."""
    words: list[str] = []
    while len(words) < 40:
        (word,) = sentence(rng, language, 1)
        if bare(word) not in [bare(one) for one in words[-6:]]:
            words.append(f" {word}" if words and language not in UNSPACED else word)
    return words


def seeded(language: str, seed: int) -> Row:
    """A conversation that breaks a few times, each time in another way."""
    rng = Random(f"{language} {seed}")
    speech = Speech(rng, language, spoken(rng, language), rng.uniform(0, 0.4))
    ways = rng.choices(list(BREAKS), k=rng.randint(1, 5))
    told = Told(speech, f"{language} {seed}: {', '.join(ways)}", speech.end)
    if "idle" in ways:
        told.recorded = speech.until(15)
    told.begin()
    for way in ways:
        told.say_deltas(rng.randint(0, max(0, len(told.deltas) - 2)))
        BREAKS[way](told, rng)
    told.recorded = speech.end
    told.say_deltas(len(told.deltas))
    if not told.connections[-1]["ended"]:  # the person ends it while the network is away
        resumed(told, rng, ended=True)
    told.deltas = told.deltas or []
    told.say_deltas(len(told.deltas))
    told.done(told.recorded)
    return finished(told)


def resumed(told: Told, rng: Random, *, ended: bool = False) -> None:
    """The socket breaks; the server goes on with what it has, and then tells it."""
    sent = told.story.sent - told.story.base
    received = sent - rng.choice([0, 0, min(sent, 4_800)])
    before = told.story.sent
    greeting = {"type": "session.resumed", "id": "sess-1", "received_commits": 0}
    told.connect({**greeting, "received_samples": received}, ended=ended)
    told.deltas += told.speech.heard(told.story.base, told.recorded, 0, before)


def lost(told: Told, _: Random) -> None:
    """The server was killed: it does not know the session any more."""
    told.connect({"type": "error", "error": "gone", "code": "resume_failed"})
    told.begin()


def stopped(told: Told, rng: Random) -> None:
    """The server ends the utterance, within a word; what follows is for display only."""
    told.say({"type": "session.stopping"})
    told.say_deltas(rng.randint(0, 1))
    end = min(told.recorded, told.story.place + 3_200)
    half = misheard(rng, told.speech.language, rng.choice(WORDS[told.speech.language]))
    if half:
        end_s = (end - told.story.base) / SAMPLE_RATE_HZ
        told.deltas.insert(0, delta(f" {half}", end_s - 0.1, end_s))
        told.say_deltas(1)
    told.done(end)
    told.fail(ENDS["stopped" if rng.random() < 0.5 else "too_long"])
    told.begin()


def engine(told: Told, _: Random) -> None:
    """The engine fails on the utterance, and no other can go on."""
    end_s = (told.recorded - told.story.base) / SAMPLE_RATE_HZ
    start_s = (told.story.place - told.story.base) / SAMPLE_RATE_HZ
    told.fail("processing_error", text=told.text, lost={"start_s": start_s, "end_s": end_s})
    told.begin()


def idle(told: Told, _: Random) -> None:
    """The client sends nothing for long: the server completes the utterance, then ends."""
    told.say_deltas(len(told.deltas))
    told.done(told.recorded)
    told.fail("idle_timeout")
    count = round(told.recorded / SAMPLE_RATE_HZ / STEP_S)
    told.recorded = told.speech.until(min(count + 12, len(told.speech.words)))
    told.begin()


BREAKS: dict[str, Callable[[Told, Random], None]] = {
    "resumed": resumed,
    "lost": lost,
    "stopped": stopped,
    "engine": engine,
    "idle": idle,
}


def finished(told: Told) -> Row:
    """The row, with what was spoken."""
    text = "".join(told.speech.words)
    return {"name": told.name, "connections": told.connections, "text": text}


def written(name: str, first: str, again: str, text: str, *, starts_s: float = 0.2) -> Row:
    """By hand: what a session says, and what the next one says, which begins a bit before."""
    speech = Speech(Random(name), "en", [], 0.0)
    told = Told(speech, name, round((starts_s + 8) * SAMPLE_RATE_HZ))
    told.begin()
    told.deltas = words_at(first, starts_s, 0.0)
    told.say_deltas(len(told.deltas))
    lost(told, speech.rng)
    told.deltas = words_at(again, starts_s, told.story.base / SAMPLE_RATE_HZ)
    told.say_deltas(len(told.deltas))
    resumed(told, speech.rng, ended=True)
    told.done(told.recorded)
    return {"name": name, "connections": told.connections, "text": text}


def words_at(text: str, starts_s: float, base_s: float) -> list[Row]:
    """Pieces that are parted by |, each half a second after the other, "-" for silence."""
    pieces = enumerate(text.split("|"))
    times = [(piece, starts_s + 0.5 * number - base_s) for number, piece in pieces if piece != "-"]
    return [delta(piece, max(0.0, at_s), at_s + 0.4) for piece, at_s in times if at_s > -0.4]


HAND = (
    (
        "a word cut in half",
        "No| matter| try| ag",
        "No| matter.| Try| again.| Fail",
        "No matter try again. Fail",
    ),
    ("a word cut after a letter", "to| b", "to| better| it", "to better it"),
    ("a word misheard", "nothing| is| alike", "nothing| was| a like| In", "nothing is alike In"),
    (
        "the last word is not heard again",
        "over| mehr| weiss",
        "over| mehr|-| gross",
        "over mehr weiss gross",
    ),
    ("a word said twice", "no| no| no", "no| no| no| yes", "no no no yes"),
    ("letters without spaces", "再|试|一", "再|试|一|次", "再试一次"),
    ("a letter misheard", "再|试|一", "再|试|嗯|次", "再试一次"),
    ("nothing is heard again", "再|试|一", "-|-|-|次", "再试一次"),
    ("no word before", "", "try| again", "try again"),
)


def by_hand() -> list[Row]:
    """Rows whose text a person has written."""
    late = written(
        "far into a recording",
        "a| b| c| d| e| f| g",
        "b| c| d| e| f| g| h",
        "a b c d e f g h",
        starts_s=20.0,
    )
    return [*(written(*row) for row in HAND), late]


KINDS = ("by hand", *WORDS)
"""Rows that a person has written, and those of each language."""


def rows_of(kind: str) -> list[Row]:
    """The rows of one of KINDS."""
    return by_hand() if kind == "by hand" else [seeded(kind, seed) for seed in range(SEEDS)]
