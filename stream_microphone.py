#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2", "rich>=14", "sounddevice>=0.5", "soxr>=1", "websockets>=15"]
# ///
"""Speak, and read along: the microphone to a server that speaks vLLM's realtime protocol.

    uv run stream_microphone.py --url ws://box:8000

The transcript goes to stdout, all else to stderr. When the server goes away, what you say is
kept and sent once it is back. Ctrl-C waits for the last words; a second one quits. Exit status:
0 done, also when no speech was heard, 1 failed, 2 wrong usage, 130 quit.
"""

import signal

if __name__ == "__main__":  # Ctrl-C while it starts: the end, without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import json
import math
import os
import queue
import random
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import timedelta
from html import escape
from http.client import HTTPException
from itertools import accumulate, pairwise, takewhile
from pathlib import Path
from typing import Any, TextIO, TypeVar
from unicodedata import category
from unicodedata import east_asian_width as wide
from unicodedata import name as letter_name
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import numpy.typing as npt
import soxr  # type: ignore[import-untyped]
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

DEFAULT_URL = "ws://127.0.0.1:8000"
CONNECT_ERRORS = (OSError, HTTPException, WebSocketException, LookupError, ValueError, TypeError)
CONNECT_S, SILENCE_S = 10.0, 15.0  # for the greeting; for a message, and then for a pong
MESSAGE_BYTES = 2**26  # of the server at most: the text of a day is some
LAST_WORDS_S = 10.0  # after Ctrl-C, and again whenever the server has listened further
PORTAUDIO_TIMED_OUT = -9987  # paTimedOut: a sound card did not start within a second
GONE_S = 5.0  # without a block from the sound card
MUTED_S, QUIET_S, QUIET_PEAK = 5.0, 20.0, 0.001
MUTED = "the microphone sends only silence: is it muted?"
if sys.platform == "darwin":
    MUTED += " Or allow it: System Settings, Privacy & Security, Microphone, this terminal"
TICK_S = 0.05

Samples = npt.NDArray[np.float32]
"""Sound, shape (n,), float32 in [-1, 1]."""


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


class OutputTrouble(Trouble):
    """The transcript cannot be written; trying again cannot help that."""


class Ring:
    """The last `limit_samples` of the recording as PCM16; each sample keeps its index."""

    def __init__(self, limit_samples: int) -> None:
        self.start = 0
        self.is_closed = False
        self._limit_bytes = 2 * limit_samples
        self._pcm16 = bytearray()

    @property
    def end(self) -> int:
        """The index after the last sample."""
        return self.start + len(self._pcm16) // 2

    def append(self, samples: Samples) -> None:
        """Add samples, clipped; the oldest make room."""
        pcm16 = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2")
        self._pcm16 += pcm16.tobytes()
        excess_bytes = max(0, len(self._pcm16) - self._limit_bytes)
        del self._pcm16[:excess_bytes]
        self.start += excess_bytes // 2

    def read(self, at: int, most: int) -> bytes:
        """Up to `most` samples from the index `at`, which must be one still kept."""
        first = 2 * (at - self.start)
        return bytes(self._pcm16[first : first + 2 * most])


class Meter:
    """How loud it is; and a remark, once an episode, when nothing is heard."""

    def __init__(self) -> None:
        self.level_dbfs = -math.inf
        self._zero_s = self._quiet_s = 0.0

    @property
    def is_muted(self) -> bool:
        """Whether it was said that nothing but zeros comes, and that still holds."""
        return self._zero_s >= MUTED_S

    def feed(self, samples: Samples) -> str:
        """Take in at least one sample, 16 kHz; a remark when it is time for one, else ""."""
        peak, duration_s = float(np.abs(samples).max()), len(samples) / RATE_HZ
        rms = math.sqrt(np.square(samples, dtype=np.float64).mean())
        self.level_dbfs = 20 * math.log10(rms) if rms else -math.inf
        zero_s, quiet_s = self._zero_s, self._quiet_s
        self._zero_s = 0.0 if peak else zero_s + duration_s
        self._quiet_s = 0.0 if peak > QUIET_PEAK else quiet_s + duration_s
        if zero_s < MUTED_S <= self._zero_s:
            return MUTED
        if quiet_s < QUIET_S <= self._quiet_s and self._zero_s < MUTED_S:
            return f"hardly a sound for {QUIET_S:g} s: is this the right microphone?"
        return ""


class Lines:
    """Breaks a text that grows into lines, at the end of a sentence where there is one."""

    def __init__(self) -> None:
        self.line, self._has_gap = "", False

    def feed(self, text: str) -> str:
        """`text` with line breaks; white space waits for the word after it."""
        out = []
        for word in filter(None, re.split(r"(\s+)", text)):
            if word.isspace():
                self._has_gap = bool(self.line)
                continue
            if self._has_gap:
                ends_sentence = re.search(r"\w{4}[.!?]+$", self.line)  # not "Mrs."
                is_full = len(self.line) >= (40 if ends_sentence else 80)
                out.append("\n" if is_full else " ")
                self.line = "" if is_full else f"{self.line} "
            elif len(self.line) >= 40 and self.line[-1] in "\u3001\u3002\uff01\uff0c\uff1f":
                out.append("\n")  # Chinese and Japanese have punctuation, but no spaces
                self.line = ""
            out.append(word)
            self.line, self._has_gap = self.line + word, False
        return "".join(out)


def choose_device(devices: Sequence[Mapping[str, Any]], wanted: str) -> int:
    """The index of the one input device that `wanted`, an index or a part of a name, means."""
    inputs = [device for device in devices if device["max_input_channels"]]
    found = [d for d in inputs if wanted in (str(d["index"]), d["name"])]
    found = found or [d for d in inputs if wanted.casefold() in d["name"].casefold()]
    if len(found) == 1:
        return int(found[0]["index"])
    names = ", ".join(f"{d['index']} {d['name']}" for d in found or inputs) or "none"
    problem = "several microphones match" if found else "no microphone matches"
    raise Trouble(f"{problem} --device {wanted!r}; choose from: {names}")


def sounddevice() -> Any:
    """The module. Raises Trouble where PortAudio is missing."""
    try:
        import sounddevice as module  # type: ignore[import-untyped]  # noqa: PLC0415
    except OSError as error:
        hint = "sudo apt install libportaudio2, or on macOS: brew install portaudio"
        raise Trouble(f"no sound without PortAudio ({error}); try: {hint}") from error
    return module


class Microphone:
    """A sound card at its own rate; what its callback is given waits in a bounded queue."""

    def __init__(self, wanted: str | None) -> None:
        sd = sounddevice()
        index = choose_device(sd.query_devices(), wanted) if wanted else None
        self.lost_blocks = 0
        self._blocks: queue.Queue[Samples] = queue.Queue(1_000)  # of 10 to 100 ms each
        try:
            device = sd.query_devices(index, "input")
            self.name, self.rate_hz = plain(device["name"]), float(device["default_samplerate"])
            self._resampler = soxr.ResampleStream(self.rate_hz, RATE_HZ, 1, dtype="float32")
            self._stream = self._start(sd, index, device["max_input_channels"])
        except (sd.PortAudioError, ValueError) as error:
            raise Trouble(f"no microphone to record from: {error}; see --list-devices") from error

    def _start(self, sd: Any, index: int | None, channels: int) -> Any:
        """A stream that records. A sound system that is busy or wakes up gets time for it."""
        for is_last in [False, False, True]:
            stream = self._open(sd, index, channels)
            try:
                stream.start()
            except sd.PortAudioError as error:
                stream.close(ignore_errors=True)
                if is_last or PORTAUDIO_TIMED_OUT not in error.args:
                    raise
            else:
                break
        return stream

    def _open(self, sd: Any, index: int | None, channels: int) -> Any:
        """A stream, mono where the device can, else with all its channels."""
        settings = {"device": index, "samplerate": self.rate_hz, "callback": self._keep}
        with suppress(sd.PortAudioError):
            return sd.InputStream(channels=1, dtype="float32", **settings)
        return sd.InputStream(channels=channels, dtype="float32", **settings)

    def _keep(self, block: Samples, _frames: int, _time: object, status: Any) -> None:
        """Called by PortAudio in a thread of its own; block: shape (frames, channels)."""
        self.lost_blocks += bool(status.input_overflow)
        try:
            self._blocks.put_nowait(block.copy())
        except queue.Full:
            self.lost_blocks += 1

    @property
    def is_gone(self) -> bool:
        """Whether it was unplugged, or for another reason records no more."""
        return not self._stream.active

    def take(self, *, is_last: bool = False) -> Samples:
        """All that was recorded since the last call, 16 kHz mono."""
        blocks = [self._blocks.get_nowait().mean(axis=1) for _ in range(self._blocks.qsize())]
        recorded = np.concatenate([np.empty(0, dtype=np.float32), *blocks])
        samples: Samples = self._resampler.resample_chunk(recorded, last=is_last)
        return samples

    def close(self) -> None:
        """Record no more; `take` still gives what there is."""
        self._stream.close(ignore_errors=True)


class CaptionFile:
    """A file of captions that grows: at any moment a player that reads it finds a whole one."""

    def __init__(self, path: Path) -> None:
        self._path, self._kind = path, path.suffix[1:]
        self._done, self._count = HEADS[self._kind], 0
        self._words: Words = []  # those of the caption that grows
        self._replace(self._done)

    def add(self, text: str, start_s: float | None, end_s: float) -> None:
        """Go on with the last caption, or begin another. Raises OutputTrouble."""
        add_word(self._words, text, start_s, end_s)
        found = segments(self._words)
        for segment, following in pairwise(found):
            self._count += 1
            self._done += cue(self._count, segment, following[0][1], self._kind)
        self._words = found[-1]
        if in_line(self._words):
            self._replace(self._done + cue(self._count + 1, self._words, FAR_S, self._kind))

    def _replace(self, text: str) -> None:
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            line = f"cannot write --captions {self._path}: {error.strerror}"
            raise OutputTrouble(line) from error


def put(file: TextIO, text: str, *, anew: bool = False) -> None:
    """Write at once, `anew` instead of what is in it. Raises OutputTrouble, once for a file."""
    try:
        if anew and file.seekable():
            file.truncate(0)
        file.write(text)
        file.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
        what = "the transcript" if file is sys.stdout else f"--save {file.name}"
        raise OutputTrouble(f"cannot write {what}: {error.strerror}") from error


class Screen:
    """The transcript on stdout and in files; level, time and lag on stderr.

    Where both are the same terminal, and where stdout gets another format at the end, the
    transcript scrolls above the live line.
    """

    def __init__(self, save: Path | None, kind: str, captions: Path | None) -> None:
        try:
            self._file = save.open("a", encoding="utf-8") if save else None
        except OSError as error:
            raise Trouble(f"cannot write --save {save}: {error.strerror}") from error
        self._captions = CaptionFile(captions) if captions else None
        self._kind, self._words, self._recorded_s = kind, list[tuple[str, float, float]](), 0.0
        self._console = Console(stderr=True)
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._is_joint = is_live and (kind != "txt" or sys.stdout.isatty())
        self._lines, self._status, self._held = Lines(), Text(), ""
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            transient=True,
            redirect_stdout=False,  # or the transcript would go where the picture goes
        )
        self._is_live = is_live

    def start(self) -> None:
        """Show the live line."""
        if self._is_live:
            self._live.start()

    def write(self, text: str, start_s: float | None, end_s: float) -> None:
        """Go on with the transcript. Raises OutputTrouble."""
        add_word(self._words, text, start_s, end_s)
        if self._captions:
            self._captions.add(text, start_s, end_s)
        before = self._lines.line
        text = self._lines.feed(text)
        if self._is_joint:
            for line in f"{before}{text}".split("\n")[:-1]:
                self._console.print(Text(line), soft_wrap=True)
        if self._kind == "txt":
            self._put(text, to_stdout=not self._is_joint)

    def hold(self, text: str) -> None:
        """Show `text` behind the transcript, in place of what was held; it may be taken back."""
        self._held = text

    def _put(self, text: str, *, to_stdout: bool) -> None:
        try:
            if to_stdout:
                put(sys.stdout, text)
        finally:
            if self._file:
                put(self._file, text)

    def tell(self, line: str) -> None:
        """A remark, on stderr."""
        self._console.print(Text(line, style="dim"), soft_wrap=True)

    def show(self, state: str, level_dbfs: float, recorded_s: float, lag_s: float) -> None:
        """Renew the live line."""
        self._recorded_s = recorded_s
        cells = round(min(20, max(0, 20 + level_dbfs / 3))) if level_dbfs > -60 else 0
        self._status = Text.assemble(
            (f"{state}  ", "bold green" if state == "connected" else "bold yellow"),
            f"{timedelta(seconds=int(recorded_s))}  ",
            ("█" * cells, "green" if level_dbfs < -3 else "red"),
            ("░" * (20 - cells) + " ", "dim"),
            f"{max(level_dbfs, -99):3.0f} dB  lag {lag_s:.1f} s",
        )

    def close(self) -> None:
        """Leave the terminal as it was, all of the transcript on it. Raises OutputTrouble."""
        self._live.stop()
        end = "\n" if self._lines.line else ""
        if self._kind == "txt":
            on_stdout, in_file = self._lines.line + end if self._is_joint else end, end
        else:
            on_stdout = in_file = document(self._words, self._kind, self._recorded_s)
        with ExitStack() as afterwards:
            if self._file:
                afterwards.enter_context(self._file)
                afterwards.callback(put, self._file, in_file, anew=self._kind != "txt")
            put(sys.stdout, on_stdout)

    def _picture(self) -> Group:
        tail = Text.assemble(self._lines.line, (self._held, "dim"))
        return Group(*([tail] if self._is_joint and tail else []), self._status)


class Talk:
    """Sends the ring to the server and prints what comes back, however often it reconnects.

    A session that the server kept goes on where it was; another listens again from where every
    word is safe.
    """

    def __init__(self, options: argparse.Namespace, ring: Ring, screen: Screen) -> None:
        self._options, self.ring, self.screen = options, ring, screen
        self.state = "connecting"
        self.deadline = asyncio.Timeout(None)
        self._session, self._story = Session(), Story()
        self._model = str(options.model or "")
        self.meter, self._failures = Meter(), 0
        self._is_proven = self._is_done = False

    @property
    def lag_s(self) -> float:
        """How much was recorded and not yet listened to."""
        return max(0, self.ring.end - self._story.heard) / RATE_HZ

    async def run(self) -> None:
        """Talk until the last words are there. Raises Trouble."""
        try:
            async with self.deadline:
                while not self._is_done:
                    await self._try()
        except TimeoutError:
            raise Trouble(f"the last {self.lag_s:.1f} s were not transcribed in time") from None
        finally:
            self.settle()

    def settle(self) -> None:
        """No other session comes: the last words of one that was cut are all there is."""
        self.screen.hold("")  # or they would be there twice
        self._say(self._story.last_words)
        self._story.last_words = []

    def extend_deadline(self) -> None:
        """Wait for the last words from now on."""
        self.deadline.reschedule(asyncio.get_running_loop().time() + LAST_WORDS_S)

    async def _try(self) -> None:
        """One connection, and when it breaks, a pause. Raises Trouble that will not pass."""
        try:
            await self._converse()
        except Trouble as trouble:
            if isinstance(trouble, OutputTrouble) or not (trouble.passes or self._is_proven):
                raise
            if self._failures == 0:
                self.screen.tell(f"{trouble} (what you say is kept; trying again)")
            self.state = "reconnecting"
            self._failures = min(self._failures + 1, 5)
            await asyncio.sleep(random.uniform(0.06, 0.12) * 2**self._failures)

    async def _converse(self) -> None:
        url, key = self._options.url, self._options.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            if not self._options.model and not self._session.token:
                self._model = await asyncio.to_thread(first_model, url, headers)
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

    def _greet(self, greeting: Event) -> bool:
        """Go on, or go back to where the words are safe, as far as the ring still has that.

        False when the server has the session no more.
        """
        safe, place = self._story.safe, max(self._story.safe, self.ring.start)
        if not self._session.greet(greeting, self._story, place):
            return False
        self.screen.hold("")
        if greeting.kind == "session.created" and place > safe:
            times = [timedelta(seconds=at // RATE_HZ) for at in (safe, place)]
            self.screen.tell("lost, for it was too long ago: {} to {}".format(*times))
        if self.state == "reconnecting":
            self.screen.tell("connected again")
        self.state = "connected"
        return True

    async def _send(self, ws: ClientConnection) -> None:
        session, story = self._session, self._story
        with suppress(ConnectionClosed):  # the receiver meets it too, and says so
            await ws.send(session.model(self._model))
            await ws.send(BEGIN)
            while (waiting := self.ring.end - story.sent) > 0 or not self.ring.is_closed:
                if story.sent < self.ring.start:
                    session.token = ""
                    raise Trouble("the server has fallen too far behind", passes=True)
                if waiting < CHUNK_SAMPLES and not self.ring.is_closed:
                    await asyncio.sleep(TICK_S)
                    continue
                chunk = self.ring.read(story.sent, RATE_HZ)
                story.sent += len(chunk) // 2
                await ws.send(session.audio(chunk))
            story.is_committed = True
            await ws.send(END)

    async def _receive(self, ws: ClientConnection, tasks: asyncio.TaskGroup) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                if not self._greet(Event(await ws.recv())):
                    return
            sender = tasks.create_task(self._send(ws)) if not self._story.is_committed else None
            while self._take(Event(await next_message(ws))):
                pass
        except (ConnectionClosed, TimeoutError) as error:
            ws.transport.abort()  # not closed: the server would not keep the session
            raise self._session.broken(error, self._options.url) from error
        self._session.token = ""
        if sender:
            sender.cancel()
        if not self._story.is_whole:
            raise Trouble("the server ended the transcript", passes=True)
        self._is_done = True

    def _take(self, event: Event) -> bool:
        """Take one event in; whether more are to come. Raises Trouble for an error."""
        story, session = self._story, self._session
        if event.kind == "error":
            raise session.trouble(event, story.base)
        if not session.is_new(event):
            return True
        if event.kind == "session.stopping":
            story.cut()
        elif event.kind == "transcription.done":
            self._say(story.end(event))
            self._tell(session.remarks(event, story))
        elif event.kind == "transcription.delta":
            self._hear(event)
        self.screen.hold("".join(text for text, _, _ in story.last_words))
        return event.kind != "transcription.done"

    def _hear(self, event: Event) -> None:
        heard, now_s = self._story.heard, asyncio.get_running_loop().time()
        self._failures, self._is_proven = 0, True
        self._say(self._story.hear(event, now_s))
        if self.ring.is_closed and self._story.heard > heard:
            self.extend_deadline()
        self._tell(self._session.remarks(event, self._story))
        if event.field("notice", "") == "zeros" and not self.meter.is_muted:
            self._tell([MUTED])

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            self.screen.tell(line)

    def _say(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self.screen.write(*piece)


async def next_message(ws: ClientConnection) -> str | bytes:
    """What comes next. Raises TimeoutError when the peer is silent and answers no ping."""
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                return await ws.recv()
        except TimeoutError:
            async with asyncio.timeout(SILENCE_S):
                await (await ws.ping())


async def record(mic: Microphone, talk: Talk, stop: asyncio.Event) -> bool:
    """Fill the ring and renew the live line; whether it was told to stop, and not left alone."""
    meter, screen, clock = talk.meter, talk.screen, asyncio.get_running_loop().time
    lost_blocks, last_block_s = 0, clock()
    while not stop.is_set() and not mic.is_gone and clock() - last_block_s < GONE_S:
        await asyncio.sleep(TICK_S)
        if len(samples := mic.take()):
            last_block_s = clock()
            talk.ring.append(samples)
            if remark := meter.feed(samples):
                screen.tell(remark)
        if mic.lost_blocks > 2 * lost_blocks:
            lost_blocks = mic.lost_blocks
            screen.tell(f"this computer is too slow: {lost_blocks} blocks of sound were lost")
        screen.show(talk.state, meter.level_dbfs, talk.ring.end / RATE_HZ, talk.lag_s)
    mic.close()
    talk.ring.append(mic.take(is_last=True))
    talk.ring.is_closed = True
    talk.extend_deadline()
    return stop.is_set()


async def listen(options: argparse.Namespace, screen: Screen) -> int:
    """Record and transcribe until a signal comes; the exit status. Raises Trouble."""
    with closing(Microphone(options.device)) as mic:  # PortAudio calls it until it is closed
        screen.tell(f"recording from {mic.name} at {mic.rate_hz:g} Hz; Ctrl-C ends")
        ring = Ring(round(options.keep_minutes * 60 * RATE_HZ))
        return await transcribe(mic, Talk(options, ring, screen), screen)


async def transcribe(mic: Microphone, talk: Talk, screen: Screen) -> int:
    """Transcribe what `mic` records until a signal comes; the exit status. Raises Trouble."""
    stop = asyncio.Event()

    def interrupt() -> None:
        if stop.is_set() or talk.state == "connecting":
            with suppress(OutputTrouble):
                talk.settle()
                screen.close()
            os._exit(130)
        stop.set()

    try:
        with ending(interrupt):
            screen.start()
            async with asyncio.TaskGroup() as tasks:
                recorder = tasks.create_task(record(mic, talk, stop))
                await talk.run()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    if not recorder.result():
        raise Trouble(f"{mic.name} stopped recording: was it unplugged?")
    return 0


def list_devices() -> int:
    """Print every microphone, the default one with a star. Raises Trouble when there is none."""
    sd = sounddevice()
    inputs = [device for device in sd.query_devices() if device["max_input_channels"]]
    for device in inputs:
        mark = "*" if device["index"] == sd.default.device[0] else " "
        rate_hz, name = device["default_samplerate"], plain(device["name"])
        put(sys.stdout, f"{mark} {device['index']:2} {name} ({rate_hz:g} Hz)\n")
    if not inputs:
        raise Trouble("no microphone: plug one in, or allow this terminal to use it")
    return 0


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("--url", default=os.environ.get("LANSCRIBE_URL", DEFAULT_URL), help="default: %(default)s")
    add("--model", help="default: the first that the server names")
    add(
        "--api-key",
        default=os.environ.get("LANSCRIBE_API_KEY"),
        help="the key, or LANSCRIBE_API_KEY",
    )
    add("--device", help="index or part of the name; default: the system's default")
    add("--list-devices", action="store_true", help="show the microphones")
    formats = "txt as you speak (the default), or at the end json, srt or vtt, with times"
    add("--format", choices=FORMATS, default="txt", help=formats)
    add(
        "--save", type=Path, metavar="FILE", help="also write it to FILE: txt to its end, else anew"
    )
    add(
        "--captions",
        type=Path,
        metavar="FILE",
        help=".srt or .vtt: captions that grow, written anew",
    )
    add("--keep-minutes", type=float, default=10.0, help="kept while the server is away: 10")
    options = parser.parse_args(arguments)
    try:
        options.url = realtime_url(options.url)
    except (ValueError, KeyError):
        parser.error(f"--url: got {options.url!r}, expected such as ws://HOST:8000")
    if not 0 < options.keep_minutes <= 600:
        parser.error(f"--keep-minutes: got {options.keep_minutes:g}, expected up to 600")
    if options.captions and options.captions.suffix not in (".srt", ".vtt"):
        parser.error(
            f"--captions: got {options.captions}, expected a name that ends in .srt or .vtt"
        )
    return options


def main() -> int:
    """Run the program; its exit status."""
    options = parse_options()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        if options.list_devices:
            return list_devices()
        with closing(Screen(options.save, options.format, options.captions)) as screen:
            return asyncio.run(listen(options, screen))
    except Trouble as trouble:
        sys.stderr.write(f"{Path(__file__).name}: {trouble}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
