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
waits for the last words; a second one quits. Exit status: 0 done, 1 failed, 2 wrong usage,
130 interrupted before the first word.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from html import escape
from http.client import HTTPException
from pathlib import Path
from typing import Any
from unicodedata import category
from unicodedata import east_asian_width as wide
from unicodedata import name as letter_name
from urllib.parse import urlsplit, urlunsplit
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
from websockets.exceptions import ConnectionClosed, WebSocketException

DEFAULT_URL = "ws://127.0.0.1:8000"
CONNECT_ERRORS = (OSError, HTTPException, WebSocketException, LookupError, ValueError, TypeError)
CONNECT_S = 10.0
LAST_WORDS_S = 10.0  # after Ctrl-C
SILENCE_S = 30.0  # without a message; then a ping has as long
MAX_SILENCES = 10  # in a row, each with its ping answered


# >>> The protocol. These lines are the same in both clients; a test compares them.
class Trouble(Exception):
    """A line for the person at the terminal; `passes` when trying again later may help."""

    def __init__(self, line: str, *, passes: bool = False) -> None:
        super().__init__(" ".join(plain(line).split()))
        self.passes = passes


def plain(text: str) -> str:
    """`text` without what could steer a terminal; newlines and the joiners of scripts stay."""
    return "".join(c for c in text if c in "\n\u200c\u200d" or category(c) not in "Cc Cf Cs")


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


def read_event(message: str | bytes) -> tuple[str, str, list[float | None]]:
    """Type, text, start_s and end_s of a message. Raises Trouble for an error, or for another."""
    try:
        kind, get = (event := json.loads(message))["type"], event.get
        text = plain(get("delta") or get("text") or get("error") or "")
        times = [get("start_s"), get("end_s", get("duration_s"))]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise Trouble(f"the server sent what is not its protocol: {message[:60]!r}") from None
    if kind == "error":
        raise Trouble(f"the server says: {text}", passes=get("code") in PASSING)
    return kind, text, [s if isinstance(s, float | int) and 0 <= s < 1e6 else None for s in times]


RATE_HZ, DELTA_S = 16_000, 0.08  # a delta without end_s, as of bare vLLM, stands for 0.08 s
BEGIN, END = (f'{{"type":"input_audio_buffer.commit","final":{x}}}' for x in ("false", "true"))
PASSING = ["engine_unavailable", "internal", "processing_error", "server_busy", "server_stopping"]
# <<< The protocol.


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
        return f"{number}\n{arrow.replace('.', ',')}\n{text.replace('-->', '->')}\n\n"
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


class Recording:
    """An audio file as 16 kHz mono PCM16. Raises Trouble when it is none, or is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                if not file.read(1):
                    raise Trouble(f"{path} is empty: 0 bytes")
            self._sound = soundfile.SoundFile(path)
        except OSError as error:
            raise Trouble(f"cannot read {path}: {error.strerror}") from error
        except (soundfile.SoundFileError, TypeError) as error:
            raise Trouble(f"{path} is not audio that libsndfile reads: {self._remedy()}") from error
        if self._sound.frames == 0:
            raise Trouble(f"{path} holds no samples")
        self.duration_s = self._sound.frames / self._sound.samplerate

    def chunks(self, chunk_s: float) -> Iterator[bytes]:
        """The audio in pieces of about `chunk_s`, one in memory at a time."""
        rate_hz, is_last = self._sound.samplerate, False
        resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32")
        while not is_last:
            block = self._read(max(1, round(chunk_s * rate_hz)))
            is_last = len(block) == 0
            samples = resampler.resample_chunk(block.mean(axis=1), last=is_last)
            if len(samples):
                yield np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()

    def _read(self, frames: int) -> npt.NDArray[np.float32]:
        """The next block, shape (frames, channels), fewer frames at the end."""
        at_s = self._sound.tell() / self._sound.samplerate
        try:
            block: npt.NDArray[np.float32] = self._sound.read(frames, "float32", always_2d=True)
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
    """What was sent and what came back, and when; seconds."""

    texts: list[str] = field(default_factory=list)
    words: Words = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    sent_s: float = 0.0
    heard_s: float = 0.0
    first_text_s: float | None = None
    is_committed: bool = False
    started_s: float = field(default_factory=time.monotonic)

    def hear(self, text: str, start_s: float | None, end_s: float | None) -> None:
        """Count a delta; how far the server has listened is its end_s, or the deltas' number."""
        counted_s = len(self.lags_s) * DELTA_S
        if end_s is None:
            start_s, end_s = counted_s, counted_s + DELTA_S
        end_s = min(self.sent_s, end_s)
        self.heard_s = max(self.heard_s, end_s)
        self.lags_s.append(self.sent_s - end_s)
        if text:
            self.texts.append(text)
            add_word(self.words, text, start_s, end_s)
            self.first_text_s = self.first_text_s or time.monotonic() - self.started_s

    def complete(self, text: str, end_s: float | None) -> str:
        """Take `text` as the whole transcript of `end_s`; what it has beyond the deltas."""
        self.heard_s = self.heard_s if end_s is None else end_s
        if not text.strip().startswith(self.text):
            return ""
        if rest := text.strip().removeprefix(self.text):
            self.texts.append(rest)
            add_word(self.words, rest, None, self.heard_s)
        return rest

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
        self._line, self._space, self._has_begun = "", "", False
        self._progress = Progress(BarColumn(), TextColumn("{task.description}"))
        self._bar = self._progress.add_task("connecting", total=duration_s)
        self._live = Live(console=self._console, get_renderable=self._picture, transient=True)
        if is_live:
            self._live.start()

    def write(self, text: str) -> None:
        """Go on with the transcript; white space waits for the word after it."""
        text = self._space + text if self._has_begun else text.lstrip()
        self._space = text[len(text.rstrip()) :]
        self._has_begun |= bool(text)
        if self._is_joint:
            self._scroll(text.rstrip())
        elif self._shows_text:
            put(text.rstrip())

    def show(self, tally: Tally) -> None:
        """Bring the progress up to date."""
        heard, whole = (timedelta(seconds=round(s)) for s in (tally.heard_s, self._duration_s))
        text = f"{heard} / {whole}  lag {tally.sent_s - tally.heard_s:.1f} s"
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
        return Group(*([Text(self._line)] if self._line else []), self._progress)


def put(text: str) -> None:
    """Write to stdout at once. Raises Trouble when nobody reads it any more, or a disk is full."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Trouble(f"cannot write the transcript: {error.strerror}") from error


class Transcription:
    """One file, one connection, one utterance."""

    def __init__(self, options: argparse.Namespace, recording: Recording, screen: Screen) -> None:
        self._options = options
        self._recording = recording
        self._screen = screen
        self._stop = asyncio.Event()
        self._deadline = asyncio.Timeout(None)
        self.model = str(options.model or "")
        self.tally = Tally()

    async def run(self) -> None:
        """Transcribe the file, or as much as is sent before a signal. Raises Trouble."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(self._interrupt))
        try:
            async with self._deadline:
                await self._converse()
        except TimeoutError:
            line = f"the last words did not come within {LAST_WORDS_S:g} s"
            self._screen.tell(f"{line}; transcribed: {self.progress}")

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
            self._screen.close(is_whole=False)
            os._exit(130)
        self._stop.set()
        self._deadline.reschedule(asyncio.get_running_loop().time() + LAST_WORDS_S)

    async def _converse(self) -> None:
        url, key = self._options.url, self._options.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self.model = self.model or await asyncio.to_thread(first_model, url, headers)
            ws = await connect(
                url, additional_headers=headers, proxy=None, ping_timeout=None, close_timeout=1
            )
        except CONNECT_ERRORS as error:
            raise explain(error, url) from error
        try:
            async with ws, asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(ws))
                await self._receive(ws)
                sender.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _send(self, ws: ClientConnection) -> None:
        self.tally.started_s = time.monotonic()
        with suppress(ConnectionClosed):  # the receiver meets it too, and says so
            await ws.send(json.dumps({"type": "session.update", "model": self.model}))
            await ws.send(BEGIN)
            for chunk in self._recording.chunks(0.1 if self._options.realtime else 0.5):
                if self._stop.is_set():
                    break
                audio = b64encode(chunk).decode("ascii")
                await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                self.tally.sent_s += len(chunk) / 2 / RATE_HZ
                if self._options.realtime:
                    due_s = self.tally.started_s + self.tally.sent_s - time.monotonic()
                    await asyncio.sleep(due_s)
            await ws.send(END)
            self.tally.is_committed = True

    async def _receive(self, ws: ClientConnection) -> None:
        """Print what comes until the utterance is done. Raises Trouble."""
        try:
            async with asyncio.timeout(CONNECT_S):
                read_event(await ws.recv())
            while await self._take(ws):
                self._screen.show(self.tally)
        except (ConnectionClosed, TimeoutError) as error:
            why = explain(error, self._options.url)
            raise Trouble(f"stopped at {self.progress}: {why}") from error
        if not self.tally.is_committed or self.tally.heard_s < self.tally.sent_s - 1:
            raise Trouble(f"the server ended the transcript early, at {self.progress}")

    async def _take(self, ws: ClientConnection) -> bool:
        """Take one event in; whether more are to come."""
        kind, text, (start_s, end_s) = read_event(await next_message(ws))
        if kind == "transcription.delta":
            self.tally.hear(text, start_s, end_s)
            self._screen.write(text)
        elif kind == "transcription.done":
            self._screen.write(self.tally.complete(text, end_s or self.tally.sent_s))
        return kind != "transcription.done"


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
    add("--audio_path", "--audio-path", required=True, type=Path, metavar="FILE")
    add("--url", default=os.environ.get("LANSCRIBE_URL", DEFAULT_URL), help="default: %(default)s")
    add("--model", help="default: the first that the server names")
    add("--api-key", default=os.environ.get("LANSCRIBE_API_KEY"), help="or LANSCRIBE_API_KEY")
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
