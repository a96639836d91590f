#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "jiwer>=4", "numpy>=2", "rich>=14", "soundfile>=0.13", "soxr>=1", "websockets>=15",
# ]
# ///
"""Transcribe an audio file with a server that speaks vLLM's realtime protocol.

    uv run test_file_transcribe.py --audio_path talk.wav --url ws://box:8000

The transcript goes to stdout as it comes, all else to stderr. Ctrl-C ends the audio early and
waits for the last words; a second one quits. Exit status: 0 done, also when no speech was heard
(stderr says so), 1 failed, 2 wrong usage, 130 interrupted before the first word.
"""

import signal

if __name__ == "__main__":  # Ctrl-C while it starts: the end, without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import json
import math
import os
import random
import re
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from html import escape
from http.client import HTTPException
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any, TypeVar
from unicodedata import category
from unicodedata import east_asian_width as wide
from unicodedata import name as letter_name
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

import jiwer
import numpy as np
import numpy.typing as npt
import soundfile
import soxr  # type: ignore[import-untyped]
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

DEFAULT_URL = "ws://127.0.0.1:8000"
CONNECT_ERRORS = (OSError, HTTPException, WebSocketException, LookupError, ValueError, TypeError)
CONNECT_S = 10.0
LAST_WORDS_S = 10.0  # after Ctrl-C
MESSAGE_BYTES = 2**26  # of the server at most: the text of a day is some
LOADING_S = 300.0  # for a server that was restarted
SILENCE_S = 30.0  # without a message; then a ping has as long
MAX_SILENCES = 10  # in a row, each with its ping answered


# >>> The terminal. These lines are the same in both clients; a test compares them.
class Trouble(Exception):
    """A line for the person at the terminal; `passes` when trying again later may help."""

    def __init__(self, line: str, *, passes: bool = False) -> None:
        super().__init__(" ".join(plain(line).split()))
        self.passes = passes


def plain(text: str) -> str:
    """`text` without what could steer a terminal; newlines and the joiners of scripts stay."""
    return "".join(c for c in text if c in "\n\u200c\u200d" or category(c) not in "Cc Cf Cs")


def reason(error: Exception) -> str:
    """What a server that refuses a request says of it, if it does."""
    with suppress(OSError, HTTPException, ValueError, TypeError, LookupError):
        body = error.response.body if isinstance(error, InvalidStatus) else b""
        body = error.read(9999) if isinstance(error, HTTPError) else body
        return f": {json.loads(body)['error']['message'][:500]}"
    return ""


@contextmanager
def ending(act: Callable[[], object]) -> Iterator[None]:
    """Meanwhile Ctrl-C, SIGTERM and a terminal that closes call `act`; nohup keeps its meaning.

    Afterwards only what was heard is to be written: one signal waits for that, the next one kills.
    """
    loop = asyncio.get_running_loop()
    terminals = [number for number in (1, 2) if os.isatty(number)]
    closed = getattr(signal, "SIGHUP", None)  # not on Windows
    is_over = False

    def end(name: int, _: object) -> None:
        for number in terminals if name == closed else ():
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        if is_over:
            signal.signal(name, signal.SIG_DFL)
        else:
            loop.call_soon_threadsafe(lambda: is_over or act())

    for name in (signal.SIGINT, signal.SIGTERM, closed):
        if name and (name != closed or signal.getsignal(name) != signal.SIG_IGN):
            signal.signal(name, end)
    try:
        yield
    finally:
        is_over = True


# <<< The terminal.


# >>> The protocol. These lines are the same in both clients; a test compares them.
def realtime_url(text: str) -> str:
    """The WebSocket address that a URL, host:port or host means. Raises ValueError, KeyError."""
    parts = urlsplit(text if "://" in text else f"//{text}")
    if not parts.hostname:
        raise ValueError("no host")
    tls = {"": "", "ws": "", "http": "", "wss": "s", "https": "s"}[parts.scheme]
    host = parts.netloc if parts.scheme or parts.port else f"{parts.netloc}:8000"
    path = parts.path.rstrip("/").removesuffix("/realtime").removesuffix("/v1")
    return urlunsplit((f"ws{tls}", host, f"{path}/v1/realtime", parts.query, ""))


def explain(error: Exception, url: str) -> Trouble:
    """What an error of the connection means for the person at the terminal."""
    what = str(error).strip("<>").replace("503:", "503, it may be loading:") or "it is silent"
    what += reason(error)
    if isinstance(error, ConnectionClosed):
        what = f"it hung up, {error.rcvd or 'without a word'}"
    elif not isinstance(error, OSError | WebSocketException):
        what = "it names no model"
    line = f"{urlsplit(url).netloc}: {what}: is serve.sh running, are --url and --api-key right?"
    return Trouble(line, passes=bool(re.search(r" 50[234]\b|hung up, (?!1008)", what)))


def first_model(url: str, headers: dict[str, str]) -> str:
    """The model that the server names first. Raises one of CONNECT_ERRORS."""
    request = Request(f"http{url[2:]}".replace("/v1/realtime", "/v1/models"), headers=headers)
    with build_opener(ProxyHandler({})).open(request, timeout=10) as reply:
        return str(json.load(reply)["data"][0]["id"])


T = TypeVar("T", bool, int, str)


class Event:
    """A message of the server. Raises Trouble for what is none."""

    def __init__(self, message: str | bytes) -> None:
        try:
            of = self._fields = dict(json.loads(message))
            of |= of.get("resume") or {}
            lost = of.get("lost") or []
            lost = [lost] if isinstance(lost, dict) else lost  # of an error
            self.lost = [(float(part["start_s"]), float(part["end_s"])) for part in lost]
            self.no_speech = dict(of.get("no_speech") or {})
            self.kind, self.code = str(of["type"]), str(of.get("code"))
            self.text = plain(of.get("error") or of.get("delta") or of.get("text") or "")
        except (ValueError, TypeError, LookupError, RecursionError):
            raise Trouble(f"the server sent what is not its protocol: {message[:60]!r}") from None

    def seconds(self, name: str) -> float | None:
        """The time under that name, if there is one."""
        s = self._fields.get(name)
        return s if isinstance(s, float | int) and 0 <= s < 1e6 else None

    def field(self, name: str, default: T) -> T:
        """What is under that name, if it is of the type of the default."""
        value = self._fields.get(name)
        return value if isinstance(value, type(default)) else default


RATE_HZ, DELTA_S = 16_000, 0.08  # a delta without end_s, as of bare vLLM, stands for 0.08 s
BEGIN, END = (f'{{"type":"input_audio_buffer.commit","final":{x}}}' for x in ("false", "true"))
# <<< The protocol.


# >>> Going on. These lines are the same in both clients; a test compares them.
Piece = tuple[str, float | None, float]
"""Text as it came, where it begins in the recording if that is known, and where it ends; in s."""


class Session:
    """What outlives a socket: the server's token, and which of its messages are here."""

    def __init__(self) -> None:
        self.token, self.keep_s = "", 0.0
        self._seen, self._is_behind = 0, False

    def address(self, url: str) -> str:
        """Where the session goes on; where one begins, while there is none."""
        query = urlencode({"resume": self.token, "seen": self._seen})
        return f"{url}{'&' if '?' in url else '?'}{query}" if self.token else url

    def greet(self, greeting: Event, story: "Story", place: int) -> bool:
        """Go on where the server says, or begin at `place`; False: it is to be asked for another.

        Raises Trouble when the server refuses.
        """
        if self.token and greeting.code == "resume_failed":
            self.token = ""
            return False
        if greeting.kind == "error":
            raise self.trouble(greeting, 0)
        if greeting.kind == "session.resumed":
            story.sent = story.base + max(0, greeting.field("received_samples", 0))
            story.is_committed = greeting.field("received_commits", 0) > 0
            return True
        self.token, self._seen = greeting.field("token", ""), greeting.field("seq", 0)
        self.keep_s = greeting.seconds("keep_s") or 0.0
        story.begin(place)
        return True

    def model(self, name: str) -> str:
        """The message that chooses the model."""
        keep = {"resume": True} if self.token else {}
        return json.dumps({"type": "session.update", "model": name, **keep})

    def audio(self, pcm16: bytes) -> str:
        """The message that adds audio, and tells which messages are here."""
        seen = {"seen": self._seen} if self.token else {}
        audio = b64encode(pcm16).decode("ascii")
        return json.dumps({"type": "input_audio_buffer.append", "audio": audio, **seen})

    def is_new(self, event: Event) -> bool:
        """Whether it comes for the first time."""
        number, seen = event.field("seq", 0), self._seen
        self._seen = max(number, seen)
        return number == 0 or number > seen

    def remarks(self, event: Event, story: "Story") -> list[str]:
        """Lines on lag that comes or goes, on what was not heard, and on why nothing was."""
        if event.kind == "transcription.done":
            return [no_speech(event)] if story.is_wordless(event) else []
        lines = [f"{span} could not be transcribed" for span in spans(event, story.base)]
        lag_s, was_behind = event.seconds("lag_s"), self._is_behind
        if lag_s is None or event.field("is_behind", False) == was_behind:
            return lines
        self._is_behind = not was_behind
        is_over, behind = "the server has caught up", f"the server is behind by {lag_s:.0f} s"
        return [*lines, is_over if was_behind else behind]

    def broken(self, error: Exception, url: str) -> Trouble:
        """What an error of the connection means; it passes where the server keeps sessions."""
        trouble = explain(error, url)
        trouble.passes |= self.keep_s > 0
        return trouble

    def trouble(self, event: Event, base: int) -> Trouble:
        """What an error, about audio that begins at sample `base`, means; it ends the session."""
        self.token, what = "", f"the server says: {event.text}"
        what += "".join(f" (not transcribed: {span})" for span in spans(event, base))
        return Trouble(what, passes=event.code in PASSING)


def spans(event: Event, base: int) -> list[str]:
    """What was not transcribed of audio that begins at sample `base`."""
    base_s = base / RATE_HZ
    return [f"{base_s + start_s:.1f} to {base_s + end_s:.1f} s" for start_s, end_s in event.lost]


def no_speech(event: Event) -> str:
    """A line on why nothing was heard, as likely as not."""
    code, level = event.no_speech.get("code"), event.no_speech.get("level_dbfs")
    level_dbfs = level if isinstance(level, float | int) else -99.0
    causes = {
        "zeros": ": each sample is zero: was the microphone muted, or without permission?",
        "quiet": f": it is never louder than {level_dbfs:.0f} dBFS, and speech is -40 to -15",
    }
    return f"no speech was heard{causes.get(str(code), '')}"


class Story:
    """What the server says of the recording, each word once, however often it begins anew.

    Places are indices of samples. `base`, `sent`: where this session's audio begins and ends.
    `heard`: how far the server has listened; `place`: where its newest delta ended. `safe`: up to
    where every word is there, so that a new session has to listen from there on. `last_words`:
    those of a session that the server has cut, for when no other follows, which hears them anew.
    """

    def __init__(self) -> None:
        self.base = self.sent = self.heard = self.place = self.safe = self._said_end = 0
        self.is_committed = self._is_cut = False
        self.last_words: list[Piece] = []
        self._said, self._stitch = "", Stitch("", is_open=False)
        self._deltas: list[str] = []
        self._text_s = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether all audio was sent and listened to."""
        return self.is_committed and self.heard > self.sent - CHUNK_SAMPLES

    def is_wordless(self, event: Event) -> bool:
        """Whether, as it is done, nothing was said in all, and somebody may wonder why."""
        is_bare = event.seconds("duration_s") is None and self.sent >= RATE_HZ  # it tells no cause
        return bool(event.no_speech or is_bare) and not self._said.strip()

    def begin(self, place: int) -> None:
        """A new session is to listen from `place` on."""
        self.base = self.sent = self.heard = self.place = place
        is_open, said_s = place < self._said_end, self._said_end / RATE_HZ
        self._stitch = Stitch(self._said, is_open=is_open, said_s=said_s)
        self._deltas, self.last_words = [], []
        self.is_committed = self._is_cut = False

    def cut(self) -> None:
        """Take in that the server ends the utterance here, perhaps within a word."""
        self._is_cut = True

    def hear(self, event: Event, now_s: float) -> list[Piece]:
        """Take in a delta; what can be said now."""
        start_s, end_s = event.seconds("start_s"), event.seconds("end_s")
        if end_s is None:
            start_s, end_s = len(self._deltas) * DELTA_S, (len(self._deltas) + 1) * DELTA_S
        self._deltas.append(event.text)
        place = self.place = self._place(end_s)
        self.heard = max(self.heard, place)
        said: list[Piece] = []
        if event.text:
            begin_s = None if start_s is None else self._place(start_s) / RATE_HZ
            said = self._stitch.feed((event.text, begin_s, place / RATE_HZ))
        if self._stitch.is_open:
            if not self._is_beyond_the_old(event.text, now_s):
                return []
            said = self._stitch.close()
        if self._is_cut:
            self.last_words += said
            return []
        if event.text:
            is_new_word = any(map(str.isspace, event.text))  # then the word before it is whole
            whole_to = max(self._said_end if is_new_word else 0, place - WORD_SAMPLES)
            self.safe = max(self.safe, whole_to - SLACK_SAMPLES)
            self._said_end = max(self._said_end, place)
        self.safe = max(self.safe, self.heard - UNSURE_SAMPLES)
        return self._say(said)

    def end(self, event: Event) -> list[Piece]:
        """Take in that the utterance is done; what is left to say."""
        end_s, deltas = event.seconds("duration_s"), "".join(self._deltas).strip()
        if end_s is None and not self.is_committed:
            return []  # it ended by itself, and does not say where
        self.heard = self.sent if end_s is None else self._place(end_s)
        more = event.text.strip().removeprefix(deltas)
        is_more = more and event.text.strip().startswith(deltas)
        said = self._stitch.feed((more, None, self.heard / RATE_HZ)) if is_more else []
        self.last_words += said + self._stitch.close()
        if not self.is_whole:
            return []
        self.safe = self._said_end = self.heard
        said, self.last_words = self.last_words, []
        return self._say(said)

    def _is_beyond_the_old(self, text: str, now_s: float) -> bool:
        """Whether no more words come that a session before this one has brought."""
        if text:
            self._text_s = now_s
            return self.place > self._said_end + SLACK_SAMPLES
        if not self._stitch.has_words:
            return self.heard > self._said_end + UNSURE_SAMPLES
        is_pausing = now_s - self._text_s > PAUSE_S  # an engine that catches up writes late
        return is_pausing and self.heard > self._said_end + 3 * SLACK_SAMPLES

    def _place(self, time_s: float) -> int:
        return min(self.base + round(time_s * RATE_HZ), self.sent)

    def _say(self, pieces: list[Piece]) -> list[Piece]:
        self._said = (self._said + "".join(text for text, _, _ in pieces))[-500:]
        return pieces


class Stitch:
    """Joins the transcript of a new connection to what was `said` before.

    While it is open it holds the words of the sound that is listened to again; when it is closed,
    those that were said already, up to `said_s`, are taken out.
    """

    def __init__(self, said: str, *, is_open: bool, said_s: float = math.inf) -> None:
        self._old, self._said_s = WORD.findall(said)[-24:], said_s
        self._held: list[Piece] = [(" ", None, 0.0)] if said else []
        self.is_open = is_open

    def feed(self, piece: Piece) -> list[Piece]:
        """What can be said now."""
        self._held.append(piece)
        return [] if self.is_open else self._release(0)

    @property
    def has_words(self) -> bool:
        """Whether it holds any."""
        return bool(self._text.strip())

    def close(self) -> list[Piece]:
        """What is left to say of the words that were held."""
        self.is_open = False
        until_s = self._said_s + SLACK_SAMPLES / RATE_HZ
        words = list(WORD.finditer(self._text))
        ends_s = [self._end_s(word.end()) for word in words]
        ends_s = list(takewhile(lambda end_s: end_s <= until_s, ends_s))
        count = repeated(self._old, [word[0] for word in words[: len(ends_s)]])
        if self._old and not count and any(start_s is not None for _, start_s, _ in self._held):
            count = self._by_time([word[0] for word in words], ends_s)
        if not count:
            return self._release(0)
        old, new = self._old[-1], words[count - 1]
        goes_on = new[0].casefold().startswith(old.casefold())  # the old word had been cut short
        return self._release(new.start() + len(old) if goes_on else new.end())

    def _by_time(self, words: Sequence[str], ends_s: Sequence[float]) -> int:
        """How many were said already, where hardly a word was heard as before."""
        for index, end_s in enumerate(ends_s):
            if abs(end_s - self._said_s) < NEAR_S and same_words(self._old[-1:], [words[index]]):
                return index + 1
        return sum(end_s <= self._said_s + TIE_S for end_s in ends_s)

    def _end_s(self, at: int) -> float:
        """When the letter before that place ends."""
        ends = accumulate(len(text) for text, _, _ in self._held)
        return next(piece[2] for piece, end in zip(self._held, ends, strict=True) if at <= end)

    @property
    def _text(self) -> str:
        return "".join(text for text, _, _ in self._held)

    def _release(self, start: int) -> list[Piece]:
        """What is held, without its first `start` letters."""
        released = []
        for text, start_s, end_s in self._held:
            if text[start:]:
                released.append((text[start:], start_s, end_s))
            start = max(0, start - len(text))
        self._held = []
        return released


def repeated(old: Sequence[str], new: Sequence[str]) -> int:
    """How many of the first `new` words repeat the last `old` ones, which may be misheard."""
    most = 1 if old and re.match(f"[{HAN_LETTERS}]", old[-1]) else 4  # letters are often the same
    for count in range(min(len(old), len(new)), 0, -1):
        for end in range(count, len(new) + 1 if count > 1 else min(len(new), most) + 1):
            if same_words(old[-count:], new[end - count : end]):
                return end
            if 1 < count < len(old) and same_words(old[-count - 1 : -1], new[end - count : end]):
                return min(end + 1, len(new))
    return 0


def same_words(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether they agree but for case, punctuation, and a last old word that is cut short."""
    *pairs, (a, b) = ((bare(x), bare(y)) for x, y in zip(old, new, strict=True))
    return all(x == y for x, y in pairs) and (a == b or (len(a) > 2 and b.startswith(a)))


def bare(word: str) -> str:
    """A word's letters and digits, caseless."""
    return re.sub(r"\W", "", word).casefold()


HAN_LETTERS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # without spaces: each is a word
WORD = re.compile(rf"[{HAN_LETTERS}][^\w\s]*|[^\s{HAN_LETTERS}]+")
NEAR_S, TIE_S = 0.6, 0.15  # as far apart are times of one word; and of one misheard, at its end
PAUSE_S = 3.0  # without a word: a speaker pauses, or has ended
CHUNK_SAMPLES = 1_600
UNSURE_SAMPLES = 480_000  # 30 s: an engine has written down what it heard longer ago
WORD_SAMPLES = 25_600  # 1.6 s: no word is longer
SLACK_SAMPLES = 19_200  # 1.2 s: by which the times of words are too late at most
PASSING = ["engine_unavailable", "internal", "processing_error", "server_busy", "server_stopping"]
# <<< Going on.


# >>> The captions. These lines are the same in both clients; a test compares them.
Words = list[tuple[str, float, float]]  # text as it came, and where it begins and ends in seconds
FORMATS, HEADS = ("txt", "json", "srt", "vtt"), {"srt": "", "vtt": "WEBVTT\n\n"}
FAR_S = 1e9
SENTENCE = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"')\]\u2019\u201d\u300d]*$")
HAN = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC")  # scripts without spaces
TITLE = re.compile(r"(?:Mrs?|Ms|Drs?|St|Prof|Sr|Jr|vs|[A-Z])\.$")


def add_word(words: Words, text: str, start_s: float | None, end_s: float) -> None:
    """Add a piece of text, not empty: it goes on with the last word or opens another."""
    before, first_s, last_s = words[-1] if words else ("", 0.0, 0.0)
    is_han = letter_name(text[0], "").startswith(HAN) and text[0].isalnum()
    is_parted = text[0].isspace() or before[-1:].isspace() or is_han
    is_new = not words or bool(is_parted and before.strip() and text.strip())
    end_s = max(end_s, last_s)
    start_s = max(end_s - 1 if start_s is None else start_s, last_s if is_new else 0.0)
    start_s = first_s if before.strip() and not is_new else min(start_s, end_s)
    words[len(words) - (not is_new) :] = [(text if is_new else before + text, start_s, end_s)]


def in_line(words: Words) -> str:
    """The text without line breaks."""
    return " ".join("".join(text for text, _, _ in words).split())


def in_lines(words: Words) -> tuple[int, str]:
    """The text in a line of 42, or in two of about the same width; and that width."""
    cuts = [[words]] if len(words) == 1 else [[words[:n], words[n:]] for n in range(1, len(words))]
    texts = [[in_line(part) for part in cut] for cut in [[words], *cuts]]
    widths = [max(sum(1 + (wide(c) in "WF") for c in line) for line in one) for one in texts]
    best = 0 if widths[0] <= 42 else widths.index(min(widths))
    return widths[best], "\n".join(texts[best])


def segments(words: Words) -> list[Words]:
    """The words, cut at ends of sentences, in pauses, and where two lines or 7 s are full."""
    found: list[Words] = []
    for word in words:
        last = found[-1][-1] if found else word
        ends = SENTENCE.search(last[0].strip()) and not TITLE.match(last[0].strip())
        is_late = found and (word[1] - last[2] > 0.8 or word[2] - found[-1][0][1] > 7)
        if not found or ends or is_late or in_lines([*found[-1], word])[0] > 42:
            found.append([])
        found[-1].append(word)
    return found


def cue(number: int, segment: Words, next_s: float, kind: str) -> str:
    """A segment of an SRT or VTT file; it stays for a second, if the next one lets it."""
    first_ms, last_ms, next_ms = (round(1000 * s) for s in (segment[0][1], segment[-1][2], next_s))
    times = (first_ms, max(last_ms, min(first_ms + 1000, next_ms), first_ms + 1))
    clocks = [f"{t // 3_600_000:02}:{t // 60_000 % 60:02}:{t % 60_000 / 1000:06.3f}" for t in times]
    arrow, text = " --> ".join(clocks), in_lines(segment)[1]
    if kind == "srt":
        return f"{number}\n{arrow.replace('.', ',')}\n{re.sub('--+>', '->', text)}\n\n"
    return f"{arrow}\n{escape(text, quote=False)}\n\n"


def document(words: Words, kind: str, duration_s: float) -> str:
    """The words as a file that is one of FORMATS."""
    words = words if in_line(words) else []
    found = segments(words)
    if kind == "txt":
        return f"{in_line(words)}\n"
    if kind == "json":
        said = [
            {"word": in_line([w]), "start": round(w[1], 3), "end": round(w[2], 3)} for w in words
        ]
        spans = [(round(segment[0][1], 3), round(segment[-1][2], 3)) for segment in found]
        parts = [
            {"id": number, "start": span[0], "end": span[1], "text": in_line(segment)}
            for number, (span, segment) in enumerate(zip(spans, found, strict=True))
        ]
        whole = {"text": in_line(words), "duration": round(duration_s, 3)}
        return f"{json.dumps(whole | {'words': said, 'segments': parts})}\n"
    starts_s = [*(segment[0][1] for segment in found[1:]), FAR_S]
    cues = [cue(n + 1, segment, starts_s[n], kind) for n, segment in enumerate(found)]
    return HEADS[kind] + "".join(cues)


# <<< The captions.


class Sound(soundfile.SoundFile):  # type: ignore[misc]
    """An open audio file that is only read on: a seek damages MP3 and Vorbis in libsndfile 1.2."""

    def seekable(self) -> bool:
        """No; otherwise soundfile seeks after each read."""
        return False


class Recording:
    """An audio file as 16 kHz mono PCM16. Raises Trouble when it is none, or is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as sound:
            if sound.frames == 0:
                raise Trouble(f"{path} holds no samples")
            self.duration_s = sound.frames / sound.samplerate

    def chunks(self, chunk_s: float, start: int = 0) -> Iterator[bytes]:
        """The audio from a sample on, in pieces of about `chunk_s`, one in memory at a time."""
        with self._open() as sound:
            rate_hz, is_last = sound.samplerate, False
            resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32")
            first_s = max(0, start // RATE_HZ - 1)  # a second earlier, for the resampler to settle
            for _ in range(first_s):
                self._read(sound, rate_hz)
            excess = start - first_s * RATE_HZ
            while not is_last:
                block = self._read(sound, max(1, round(chunk_s * rate_hz)))
                is_last = len(block) == 0
                mono = np.clip(block.mean(axis=1, dtype=np.float64), -1, 1).astype(np.float32)
                samples = resampler.resample_chunk(mono, last=is_last)
                samples, excess = samples[excess:], max(0, excess - len(samples))
                if len(samples):
                    pcm16 = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2")
                    yield pcm16.tobytes()

    def _open(self) -> Sound:
        try:
            if not (self.path.is_file() or self.path.is_dir()) and self.path.exists():
                raise Trouble(f"{self.path} is a pipe or a device: save the sound as a file first")
            with self.path.open("rb") as file:
                if not file.read(1):
                    raise Trouble(f"{self.path} is empty: 0 bytes")
            return Sound(self.path)
        except OSError as error:
            raise Trouble(f"cannot read {self.path}: {error.strerror}") from error
        except (soundfile.SoundFileError, TypeError) as error:
            line = f"{self.path} is not audio that libsndfile reads: {self._remedy()}"
            raise Trouble(line) from error

    def _read(self, sound: Sound, frames: int) -> npt.NDArray[np.float32]:
        """The next block, shape (frames, channels), fewer frames at the end."""
        at_s = sound.tell() / sound.samplerate
        try:
            block: npt.NDArray[np.float32] = sound.read(frames, "float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise Trouble(f"{self.path} is damaged at {at_s:.1f} s: {self._remedy()}") from error
        if not np.isfinite(block).all():
            line = f"{self.path} has samples that are no numbers at {at_s:.1f} s: {self._remedy()}"
            raise Trouble(line)
        return block

    def _remedy(self) -> str:
        return f"try: ffmpeg -i {self.path} -ar 16000 -ac 1 {self.path.stem}-16k.wav"


@dataclass
class Tally:
    """What came back, and when; seconds."""

    story: Story = field(default_factory=Story)
    texts: list[str] = field(default_factory=list)
    words: Words = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    lost_s: list[tuple[float, float]] = field(default_factory=list)
    no_speech: dict[str, Any] = field(default_factory=dict)
    first_text_s: float | None = None
    started_s: float = field(default_factory=time.monotonic)

    @property
    def sent_s(self) -> float:
        """How much of the recording was sent."""
        return self.story.sent / RATE_HZ

    @property
    def heard_s(self) -> float:
        """How far the server has listened to it."""
        return self.story.heard / RATE_HZ

    def take(self, event: Event) -> str:
        """Count a delta, or that the utterance is done; what is to be said of it."""
        base_s = self.story.base / RATE_HZ
        if event.kind == "transcription.done":
            self.no_speech = event.no_speech if self.story.is_wordless(event) else {}
            return self._say(self.story.end(event))
        self.lost_s += [(base_s + start_s, base_s + end_s) for start_s, end_s in event.lost]
        said = self._say(self.story.hear(event, time.monotonic()))
        self.lags_s.append((self.story.sent - self.story.place) / RATE_HZ)
        return said

    def settle(self) -> str:
        """No other session comes: the last words of one that was cut are all there is."""
        pieces, self.story.last_words = self.story.last_words, []
        return self._say(pieces)

    def _say(self, pieces: list[Piece]) -> str:
        for piece in pieces:
            self.texts.append(piece[0])
            add_word(self.words, *piece)
            self.first_text_s = self.first_text_s or time.monotonic() - self.started_s
        return "".join(text for text, _, _ in pieces)

    @property
    def text(self) -> str:
        """The transcript so far."""
        return "".join(self.texts).strip()

    def figures(self) -> dict[str, Any]:
        """What --json prints of it."""
        wall_s = time.monotonic() - self.started_s
        lags_s = np.percentile(self.lags_s, [50, 95]) if self.lags_s else [None, None]
        return {
            "text": self.text,
            "audio_s": self.sent_s,
            "wall_s": wall_s,
            "rtf": wall_s / self.sent_s if self.sent_s else None,
            "time_to_first_delta_s": self.first_text_s,
            "lag_p50_s": lags_s[0],
            "lag_p95_s": lags_s[1],
            "lost_s": self.lost_s,
            "no_speech": self.no_speech.get("code"),
        }


def normalised(text: str) -> str:
    """Lower case, no punctuation, single spaces; a hyphen parts two words."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower().replace("-", " ")).split())


class Screen:
    """The transcript on stdout, the progress on stderr; on one terminal, one above the other."""

    def __init__(self, duration_s: float, *, shows_text: bool) -> None:
        self._duration_s = duration_s
        self._shows_text = shows_text
        self._console = Console(stderr=True)
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._is_joint = is_live and shows_text and sys.stdout.isatty()
        self._line, self._space, self._held, self._has_begun = "", "", "", False
        self._progress = Progress(BarColumn(), TextColumn("{task.description}"))
        self._bar = self._progress.add_task("connecting", total=duration_s)
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            transient=True,
            redirect_stdout=False,  # or the transcript would go where the picture goes
        )
        self._is_live = is_live

    def start(self) -> None:
        """Show the progress."""
        if self._is_live:
            self._live.start()

    def write(self, text: str) -> None:
        """Go on with the transcript; white space waits for the word after it."""
        text = self._space + text if self._has_begun else text.lstrip()
        self._space = text[len(text.rstrip()) :]
        self._held = ""  # or it would be there twice once it is kept
        self._has_begun |= bool(text)
        if self._is_joint:
            self._scroll(text.rstrip())
        elif self._shows_text:
            put(text.rstrip())

    def show(self, tally: Tally) -> None:
        """Bring the progress up to date."""
        heard, whole = (timedelta(seconds=round(s)) for s in (tally.heard_s, self._duration_s))
        text = f"{heard} / {whole}  lag {tally.sent_s - tally.heard_s:.1f} s"
        self._held = "".join(text for text, _, _ in tally.story.last_words)
        self._progress.update(self._bar, completed=tally.heard_s, description=text)

    def tell(self, line: str) -> None:
        """A remark, on stderr."""
        self._console.print(Text(line), soft_wrap=True)

    def close(self, *, is_whole: bool) -> None:
        """Leave the terminal as it was, the transcript on it and ended by a newline."""
        self._live.stop()
        if self._shows_text and (is_whole or self._has_begun):
            put(f"{self._line}\n")

    def _scroll(self, text: str) -> None:
        """Print full lines above the progress, keep the last one in the picture."""
        self._line += text
        width = self._console.width - 1
        while len(self._line) > width:
            cut = max(self._line.rfind(" ", 0, width + 1), 0) or width
            full, self._line = self._line[:cut], self._line[cut:].lstrip(" ")
            self._console.print(Text(full), soft_wrap=True)

    def _picture(self) -> Group:
        tail = Text.assemble(self._line, (self._held, "dim"))
        return Group(*([tail] if self._is_joint and tail else []), self._progress)


def put(text: str) -> None:
    """Write to stdout at once. Raises Trouble when nobody reads it any more, or a disk is full."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Trouble(f"cannot write the transcript: {error.strerror}") from error


class Transcription:
    """One file, over one connection, or over more when the server keeps sessions.

    A session that the server kept goes on where it was; another listens again from where every
    word is safe.
    """

    def __init__(self, options: argparse.Namespace, recording: Recording, screen: Screen) -> None:
        self._options = options
        self._recording = recording
        self._screen = screen
        self._stop = asyncio.Event()
        self._deadline = asyncio.Timeout(None)
        self._session = Session()
        self._failures, self._away_since_s = 0, 0.0
        self._is_there = self._is_done = False
        self.model = str(options.model or "")
        self.tally = Tally()

    async def run(self) -> None:
        """Transcribe the file, or as much as is sent before a signal. Raises Trouble."""
        try:
            with ending(self._interrupt):
                self._screen.start()
                async with self._deadline:
                    while not self._is_done:
                        await self._try()
        except TimeoutError:
            line = f"the last words did not come within {LAST_WORDS_S:g} s"
            self._screen.tell(f"{line}; transcribed: {self.progress}")
        finally:
            self._screen.write(self.tally.settle())

    @property
    def was_interrupted(self) -> bool:
        """Whether a signal ended the audio early."""
        return self._stop.is_set()

    @property
    def progress(self) -> str:
        """How far it came, in words."""
        return f"{self.tally.heard_s:.1f} s of {self._recording.duration_s:.1f} s"

    def _interrupt(self) -> None:
        """End the audio here; the second time, and before there is any, end at once."""
        if self._stop.is_set() or not self.tally.sent_s:
            self._screen.write(self.tally.settle())
            self._screen.close(is_whole=False)
            os._exit(130)
        self._stop.set()
        self._deadline.reschedule(asyncio.get_running_loop().time() + LAST_WORDS_S)

    async def _try(self) -> None:
        """One connection, and when it breaks, a pause. Raises Trouble that does not pass."""
        self._is_there = False
        try:
            await self._converse()
        except Trouble as trouble:
            if not trouble.passes or not self._session.keep_s:
                raise
            if self._failures == 0:
                self._away_since_s = time.monotonic()
                self._screen.tell(f"{trouble} (trying again)")
            patience_s = max(self._session.keep_s, LOADING_S if self._is_there else 0)
            if time.monotonic() - self._away_since_s > patience_s:
                raise Trouble(f"stopped at {self.progress}: {trouble}") from trouble
            self._failures += 1
            await asyncio.sleep(random.uniform(0.06, 0.12) * 2 ** min(self._failures, 5))

    async def _converse(self) -> None:
        url, key = self._options.url, self._options.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self.model = self.model or await asyncio.to_thread(first_model, url, headers)
            ws = await connect(
                self._session.address(url),
                additional_headers=headers,
                proxy=None,
                ping_timeout=None,
                close_timeout=1,
                max_size=MESSAGE_BYTES,
            )
        except CONNECT_ERRORS as error:
            raise self._session.broken(error, url) from error
        try:
            async with ws, asyncio.TaskGroup() as tasks:
                await self._receive(ws, tasks)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _send(self, ws: ClientConnection) -> None:
        session, story, is_live = self._session, self.tally.story, self._options.realtime
        with suppress(ConnectionClosed):  # the receiver meets it too, and says so
            await ws.send(session.model(self.model))
            await ws.send(BEGIN)
            chunks = self._recording.chunks(0.1 if is_live else 0.5, story.sent)
            while chunk := await asyncio.to_thread(next, chunks, b""):  # far on, that takes long
                if self._stop.is_set():
                    break
                story.sent += len(chunk) // 2
                await ws.send(session.audio(chunk))
                if is_live:
                    due_s = self.tally.started_s + self.tally.sent_s - time.monotonic()
                    await asyncio.sleep(due_s)
            story.is_committed = True
            await ws.send(END)

    async def _receive(self, ws: ClientConnection, tasks: asyncio.TaskGroup) -> None:
        """Print what comes until the utterance is done. Raises Trouble."""
        story = self.tally.story
        try:
            async with asyncio.timeout(CONNECT_S):
                if not self._greet(Event(await ws.recv())):
                    return
            sender = None if story.is_committed else tasks.create_task(self._send(ws))
            while self._take(Event(await next_message(ws))):
                self._screen.show(self.tally)
        except (ConnectionClosed, TimeoutError) as error:
            ws.transport.abort()  # not closed: the server would not keep the session
            why = self._session.broken(error, self._options.url)
            raise Trouble(f"stopped at {self.progress}: {why}", passes=why.passes) from error
        self._session.token = ""
        if sender:
            sender.cancel()
        if not story.is_whole:
            line = f"the server ended the transcript early, at {self.progress}"
            raise Trouble(line, passes=True)
        self._is_done = True

    def _greet(self, greeting: Event) -> bool:
        """Begin, or go on; False when the server has the session no more. Raises Trouble."""
        self._is_there = True
        if not self._failures:
            self.tally.started_s = time.monotonic()
        if not self._session.greet(greeting, self.tally.story, self.tally.story.safe):
            return False
        if self._failures:
            self._screen.tell("connected again")
        return True

    def _take(self, event: Event) -> bool:
        """Take one event in; whether more are to come. Raises Trouble for an error."""
        story, is_done = self.tally.story, event.kind == "transcription.done"
        if event.kind == "error":
            raise self._session.trouble(event, story.base)
        is_new = self._session.is_new(event)
        if is_new and event.kind == "session.stopping":
            story.cut()
        elif is_new and (is_done or event.kind == "transcription.delta"):
            heard = story.heard
            self._screen.write(self.tally.take(event))
            self._failures = 0 if story.heard > heard else self._failures
            for line in self._session.remarks(event, story):
                self._screen.tell(line)
        return not is_done


async def next_message(ws: ClientConnection) -> str | bytes:
    """What comes next. Raises TimeoutError when the peer is silent and answers no ping."""
    for _ in range(MAX_SILENCES):
        try:
            async with asyncio.timeout(SILENCE_S):
                return await ws.recv()
        except TimeoutError:
            async with asyncio.timeout(SILENCE_S):
                await (await ws.ping())
    raise TimeoutError


def read_reference(path: Path) -> str:
    """What was said, from a text file. Raises Trouble when that is nothing."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"cannot read the reference {path}: {error}") from error
    if not normalised(text):
        raise Trouble(f"the reference {path} has no words")
    return normalised(text)


def summary(figures: dict[str, Any]) -> str:
    """The figures as a line for a person."""
    line = f"{figures['audio_s']:.1f} s of audio in {figures['wall_s']:.1f} s"
    if figures["time_to_first_delta_s"] is not None:
        line += ", first words after {time_to_first_delta_s:.1f} s".format(**figures)
        line += ", lag {lag_p50_s:.1f} s (95 %: {lag_p95_s:.1f} s)".format(**figures)
    return line + (f", word error rate {figures['wer']:.1%}" if "wer" in figures else "")


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add(
        "--audio_path",
        "--audio-path",
        required=True,
        type=Path,
        metavar="FILE",
        help="the recording: whatever libsndfile reads",
    )
    add("--url", default=os.environ.get("LANSCRIBE_URL", DEFAULT_URL), help="default: %(default)s")
    add("--model", help="default: the first that the server names")
    add(
        "--api-key",
        default=os.environ.get("LANSCRIBE_API_KEY"),
        help="the key, or LANSCRIBE_API_KEY",
    )
    add("--realtime", action="store_true", help="send at the speed of speech")
    add("--reference", type=Path, metavar="FILE", help="what was said; adds the word error rate")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    formats = "txt as it comes (the default), or at the end json, srt or vtt, with times"
    output.add_argument("--format", choices=FORMATS, default="txt", help=formats)
    options = parser.parse_args(arguments)
    try:
        options.url = realtime_url(options.url)
    except (ValueError, KeyError):
        parser.error(f"--url: got {options.url!r}, expected such as ws://HOST:8000")
    return options


def transcribe(options: argparse.Namespace) -> int:
    """Transcribe and print; the exit status. Raises Trouble."""
    reference = read_reference(options.reference) if options.reference else None
    recording = Recording(options.audio_path)
    shows_text = options.format == "txt" and not options.json
    screen = Screen(recording.duration_s, shows_text=shows_text)
    run = Transcription(options, recording, screen)
    trouble: Trouble | None = None
    try:
        asyncio.run(run.run())
    except Trouble as caught:
        trouble = caught
    finally:
        screen.close(is_whole=trouble is None)
    figures = run.tally.figures() | {"model": run.model, "url": options.url.partition("?")[0]}
    if reference is not None:
        figures["wer"] = float(jiwer.wer(reference, normalised(run.tally.text)))
    if options.json:
        put(json.dumps(figures | {"error": str(trouble) if trouble else None}) + "\n")
    elif not shows_text and (run.tally.words or not trouble):
        put(document(run.tally.words, options.format, run.tally.sent_s))
    if trouble:
        raise trouble
    if not options.json:
        screen.tell(summary(figures))
    return 130 if run.was_interrupted and not run.tally.text else 0


def main() -> int:
    """Run the program; its exit status."""
    options = parse_options()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return transcribe(options)
    except Trouble as trouble:
        sys.stderr.write(f"{Path(__file__).name}: {trouble}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
