#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "av>=15", "ifaddr>=0.2", "jiwer>=4", "langcodes>=3.5", "numpy>=2", "rich>=14",
#   "soundfile>=0.13", "soxr>=1", "websockets>=15", "zeroconf>=0.140",
# ]
# ///
"""Transcribe a recording with a server that speaks vLLM's realtime protocol.

    uv run test_file_transcribe.py --audio_path talk.m4a --url ws://box:8000
    ssh studio cat live.wav | uv run test_file_transcribe.py --audio_path - --url ws://box:8000

The transcript goes to stdout as it arrives, everything else to stderr. Ctrl-C ends the audio early
and waits for the last words; a second one quits. Exit status: 0 done, also if no speech was heard
or if parts of the recording are missing (stderr says so), 1 failed, 2 wrong usage, 130 interrupted
before the first word.
"""

# This file runs alone, so it has copies of code that the other client and the server share: the
# blocks from `# >>> FILE` to `# <<< FILE`. Edit a block in FILE, in the project's folder, then run
# `.venv/bin/python -m clients.generate` there. Edit the rest here: the settings above the blocks,
# and the program itself below the last block.

import signal

if __name__ == "__main__":  # Ctrl-C during the start ends the program without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import errno
import faulthandler
import io
import json
import math
import os
import random
import re
import socket
import ssl
import stat
import struct
import sys
import tempfile
import time
import unicodedata
from argparse import ArgumentTypeError
from base64 import b64encode
from bisect import bisect_right
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, partial
from html import escape
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import accumulate, takewhile
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, Generic, Literal, NamedTuple, TextIO, TypeVar
from unicodedata import category
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

import av
import jiwer
import numpy as np
import numpy.typing as npt
import soundfile
import soxr  # type: ignore[import-untyped]
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.packet import Packet
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.frames import CloseCode

LAST_WORDS_S = 10.0  # after Ctrl-C
LOADING_S = 300.0  # the longest wait for a server that restarts
SILENCE_S = 30.0  # the longest wait for a message, and then for the answer to a ping
MAX_SILENCES = 10  # in a row, each with its ping answered


# >>> lanscribe/speech/audio.py: edit it there, then run: .venv/bin/python -m clients.generate
Samples = npt.NDArray[np.float32]
"""Audio, shape (n,), 16 kHz, mono, float32 in [-1, 1)."""

SAMPLE_RATE_HZ = 16_000
PIECE_S = 0.25
"""The length of sound handled at a time: searching it for speech takes a millisecond or two."""
_FULL_SCALE = 32_768.0
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def duration_s(sample_count: int) -> float:
    """Seconds that `sample_count` samples last."""
    return sample_count / SAMPLE_RATE_HZ


def sample_count(seconds: float) -> int:
    """How many samples last `seconds`, rounded to the nearest."""
    return round(seconds * SAMPLE_RATE_HZ)


def in_pieces(samples: Samples) -> Iterator[Samples]:
    """The samples, shape (n,), in pieces of PIECE_S at most."""
    step = sample_count(PIECE_S)
    return (samples[start : start + step] for start in range(0, len(samples), step))


def clipped(samples: Samples) -> Samples:
    """The samples, shape (n,), clipped to [-1, 1)."""
    return np.clip(samples, np.float32(-1), _BELOW_ONE)


def samples_to_pcm16(samples: Samples) -> bytes:
    """Encode samples, shape (n,), to n*2 bytes of little-endian PCM, clipped to [-1, 1)."""
    scaled = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return bytes(scaled.astype("<i2"))


# <<< lanscribe/speech/audio.py


# >>> lanscribe/speech/resampler.py: edit it there, then run: .venv/bin/python -m clients.generate
LEAST_RATE_HZ = 1_000
MOST_RATE_HZ = 768_000


class Resampler:
    """One stream of sound, mono: samples at one rate in, samples at 16 kHz out.

    rate_hz: 1,000 to 768,000. Raises ValueError when it is out of range.
    """

    def __init__(self, rate_hz: float) -> None:
        if not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
            raise ValueError(
                f"got a sample rate of {rate_hz:.6g} Hz; expected {LEAST_RATE_HZ} to {MOST_RATE_HZ}"
            )
        self._stream: soxr.ResampleStream | None = None
        if rate_hz != SAMPLE_RATE_HZ:
            self._stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")

    def feed(self, samples: Samples) -> Samples:
        """Resample the next samples, shape (n,) at the stream's rate, to shape (m,).

        Some of them are held back for the next call: up to 115 ms at 8 kHz, 37 ms at 24 kHz and
        above.
        """
        return self._resampled(samples)

    def flush(self) -> Samples:
        """The samples that are still to come, shape (m,); what is fed next is a new stream."""
        rest = self._resampled(np.empty(0, dtype=np.float32), is_last=True)
        if self._stream is not None:
            self._stream.clear()
        return rest

    def _resampled(self, samples: Samples, *, is_last: bool = False) -> Samples:
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(samples, last=is_last)
        return resampled


# <<< lanscribe/speech/resampler.py


# >>> lanscribe/speech/mixing.py: edit it there, then run: .venv/bin/python -m clients.generate
Channels = npt.NDArray[np.float32]
"""Sound of several channels, shape (channels, n), float32."""
Gains = npt.NDArray[np.float64]
"""A factor for each channel, shape (channels,)."""

_WINDOW_S = 0.1
"""The gains change from window to window, and linearly within one."""
_HALF_LIFE_S = 0.5
"""Levels are averages in which a window counts half after this time."""
_CANCELLED = 0.1
"""The channels cancel if their sum has less than this share of the power of the loudest one."""
_SOFT = 1e-3
"""The share of the usual power up to which a window does not tell whether they cancel."""
_MUCH_LOUDER = 2.0
"""The ratio of powers at which another channel is taken instead of the one that is heard alone."""
_WEIGHTS = {"LFE": 0.0, "LFE2": 0.0, "FC": 1.0, "FL": 0.7, "FR": 0.7}
"""Of channels beside a centre, where films have their voices (ITU-R BS.775 has 0.7, too)."""
_WEIGHT_OF_OTHERS = 0.5


def weights_of(names: Sequence[str]) -> Gains | None:
    """The weights of channels by their names, such as FL, FR, FC, LFE; None if all weigh 1."""
    if "FC" not in names or len(names) < 3:
        return None
    return np.array([_WEIGHTS.get(name, _WEIGHT_OF_OTHERS) for name in names])


class Mixer:
    """One stream of several channels in, one channel out; nothing is held back."""

    def __init__(self, rate_hz: float, weights: Gains | None = None) -> None:
        """weights: of the channels, as `weights_of` has them."""
        self._rate_hz = rate_hz
        self._weights = weights if weights is not None else np.empty(0)
        self._powers: Gains = np.empty(0)
        self._mixed_power = 0.0
        self._is_cancelled = False
        """Whether the channels cancelled in the last window that was not soft."""
        self._gains: Gains | None = None
        self._alone: int | None = None
        """The channel that is heard alone."""

    def feed(self, channels: Channels) -> npt.NDArray[np.float32]:
        """Mix the next samples, shape (channels, n) with as many channels each time, to (n,)."""
        if len(channels) == 1:
            only: npt.NDArray[np.float32] = channels[0]
            return only
        step = max(1, round(_WINDOW_S * self._rate_hz))
        windows = [
            self._mix(channels[:, start : start + step])
            for start in range(0, channels.shape[1], step)
        ]
        return np.concatenate(windows) if windows else np.empty(0, dtype=np.float32)

    def _mix(self, window: Channels) -> npt.NDArray[np.float32]:
        before = self._gains
        self._listen(window)
        if self._powers.max() > 0:
            self._gains = self._chosen()
        after = self._gains if self._gains is not None else np.ones(len(window))
        mixed: npt.NDArray[np.float32]
        if before is None or np.array_equal(before, after):
            mixed = (after @ window).astype(np.float32)
            return mixed
        steps = np.arange(1, window.shape[1] + 1) / window.shape[1]
        gains = before[:, np.newaxis] + (after - before)[:, np.newaxis] * steps
        mixed = (gains * window).sum(axis=0).astype(np.float32)
        return mixed

    def _listen(self, window: Channels) -> None:
        """Update the powers of the channels and of their sum by a window, shape (channels, n)."""
        if not len(self._powers):
            self._powers = np.zeros(len(window))
            self._weights = self._weights if len(self._weights) else np.ones(len(window))
        decay = 0.5 ** (window.shape[1] / (_HALF_LIFE_S * self._rate_hz))
        mixed = (self._weights @ window).astype(np.float64)
        powers = np.einsum("ij,ij->i", window, window, dtype=np.float64)
        mixed_power = float(mixed @ mixed)
        self._powers = decay * self._powers + powers
        self._mixed_power = decay * self._mixed_power + mixed_power
        if powers.max() > _SOFT * self._powers.max():
            loudest = int(np.argmax(powers * self._weights**2))
            was_cancelled = self._is_cancelled
            self._is_cancelled = mixed_power <= _CANCELLED * powers[loudest]
            if was_cancelled != self._is_cancelled:  # then what was before says nothing
                self._powers, self._mixed_power = powers, mixed_power

    def _chosen(self) -> Gains:
        """The gains for what was heard last."""
        powers, weights = self._powers, self._weights
        loudest = int(np.argmax(powers * weights**2))
        if not self._is_cancelled and self._mixed_power > _CANCELLED * powers[loudest]:
            self._alone = None
            gains: Gains = weights * np.sqrt(powers[loudest] / self._mixed_power)
            return gains
        loudest = int(np.argmax(powers))
        if self._alone is None or powers[loudest] > _MUCH_LOUDER * powers[self._alone]:
            self._alone = loudest
        alone = np.zeros(len(powers))
        alone[self._alone] = 1
        return alone


# <<< lanscribe/speech/mixing.py


# >>> clients/terminal.py: edit it there, then run: .venv/bin/python -m clients.generate
TERMINALS = {
    "Apple_Terminal": "Terminal",
    "iTerm.app": "iTerm",
    "vscode": "Visual Studio Code",
    "WarpTerminal": "Warp",
    "ghostty": "Ghostty",
}
"""What macOS calls a terminal, by TERM_PROGRAM."""


class Trouble(Exception):
    """An error as a line for the person at the terminal; `passes` if a later retry may help."""

    def __init__(self, line: str, *, passes: bool = False) -> None:
        super().__init__(" ".join(plain(line).split()))
        self.passes = passes


def plain(text: str) -> str:
    """`text` without terminal control characters; newlines and zero-width joiners stay."""
    kept = "\n\u200c\u200d"
    return "".join(c for c in text if c in kept or category(c) not in ("Cc", "Cf", "Cs"))


def permission() -> str:
    """How to allow the microphone where a system sends zeros without a word; "" elsewhere."""
    if sys.platform == "darwin":
        app = TERMINALS.get(os.environ.get("TERM_PROGRAM", ""), "this terminal")
        return f" Or allow it: System Settings, Privacy & Security, Microphone, {app}"
    if hasattr(sys, "getandroidapilevel"):
        return " Or allow it: Android's Settings, Apps, Termux and Termux:API, Permissions"
    return ""


@contextmanager
def ending(act: Callable[[], object]) -> Iterator[None]:
    """Inside, Ctrl-C, SIGTERM and a closed terminal call `act`; nohup keeps its meaning.

    After it the program only writes its results: a first signal does nothing, a second one kills.
    """
    loop = asyncio.get_running_loop()
    terminals = [number for number in (1, 2) if os.isatty(number)]
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    is_over = False

    def act_in_time() -> None:
        if not is_over:
            act()

    def end(name: int, _: object) -> None:
        if name == hangup:
            for number in terminals:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        if is_over:
            signal.signal(name, signal.SIG_DFL)
        else:
            loop.call_soon_threadsafe(act_in_time)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    if hangup and signal.getsignal(hangup) != signal.SIG_IGN:
        signal.signal(hangup, end)
    try:
        yield
    finally:
        is_over = True


# <<< clients/terminal.py


# >>> clients/output.py: edit it there, then run: .venv/bin/python -m clients.generate
class OutputTrouble(Trouble):
    """The transcript cannot be written; a retry does not help."""


class Remarks(io.FileIO):
    """A stream for remarks: if it is full, or its reader is gone, they are dropped."""

    def write(self, data: object) -> int:
        """Write bytes; never raises OSError."""
        with suppress(OSError):
            super().write(data)  # type: ignore[arg-type]
        return memoryview(data).nbytes  # type: ignore[arg-type]


def open_streams() -> None:
    """Prepare stdout and stderr. Raises OutputTrouble if stdout is closed.

    A letter that the encoding of stdout lacks is written as its number. What libraries in C print
    to stderr, such as notes about a damaged MP3 or a sound card, is dropped; what Python prints is
    not, and if a library crashes Python tells where.
    """
    streams = (sys.stdin, sys.stdout, sys.stderr)
    for _ in range(streams.count(None)):
        os.open(os.devnull, os.O_RDWR)  # else a file or a socket would get the number of a stream
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    remarks = io.BufferedWriter(Remarks(os.dup(2), "w", closefd=False))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stderr = io.TextIOWrapper(
        remarks, encoding=encoding, errors="backslashreplace", line_buffering=True
    )
    faulthandler.enable(sys.stderr)
    if not sys.stdout:
        raise OutputTrouble("cannot write the transcript: stdout is closed")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def put(file: TextIO, text: str, *, replaces: bool = False) -> None:
    """Write at once; may replace the file's content. Raises OutputTrouble, once per file."""
    try:
        if replaces and file.seekable():
            file.truncate(0)
        file.write(text)
        file.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
        what = "the transcript" if file is sys.stdout else f"--save {shown(str(file.name))}"
        raise OutputTrouble(f"cannot write {what}: {error.strerror}") from error


def file_name(text: str) -> Path:
    """A file that an option names. Raises ArgumentTypeError if it names none."""
    if not text.strip():
        raise ArgumentTypeError(f"got {text!r}, expected the name of a file")
    return Path(text)


def shown(path: str | os.PathLike[str]) -> str:
    """The name of a file for a person; bytes that are not UTF-8 as their numbers."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


# <<< clients/output.py


# >>> clients/address.py: edit it there, then run: .venv/bin/python -m clients.generate
DEFAULT_URL = "ws://127.0.0.1:8000"
SECURE_URL = "wss://127.0.0.1:8443"
"""The default if the person names an authority."""
URL_FLAG, KEY_FLAG, MODEL_FLAG = "--url", "--api-key", "--model"
DISCOVER_FLAG, CA_FLAG = "--discover", "--ca-file"
URL_VARIABLE, KEY_VARIABLE = "LANSCRIBE_URL", "LANSCRIBE_API_KEY"
CA_VARIABLE = "LANSCRIBE_CA_FILE"
MOST_CA_BYTES = 2**20
SCHEMES = {"": "ws", "ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
DEFAULT_PORTS = {"ws": 8000, "wss": 443}
HOME_TLS_PORT = 8443
"""The port of wss:// for a server at home; elsewhere a proxy has 443."""
HOME_NAME = re.compile(
    r"[^.]+|.+\.(local|lan|internal|localdomain|home\.arpa|fritz\.box)", re.IGNORECASE
)
SHARED_ADDRESSES = ip_network("100.64.0.0/10")
"""Addresses that Tailscale and some providers give (RFC 6598)."""
ENDPOINT = re.compile(
    r"(/v1)*(/audio/(transcriptions|translations))?(/realtime|/models|/health|/docs)?/?$",
    re.IGNORECASE,
)
"""The end of a path that a server adds to its base."""
QUOTES = dict(zip("\"'`<\u201c\u2018\u00ab\u201e", "\"'`>\u201d\u2019\u00bb\u201c", strict=True))


@dataclass(frozen=True)
class Server:
    """Where the server is, and which flag or variable says so."""

    url: str
    """The WebSocket address, without user and password."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What every request carries: the key, or user and password."""
    model: str = ""
    """As the person named it; "" for the first that the server lists."""
    named_by: str = URL_FLAG
    """What has the address; "" if nothing has, so that it is the default."""
    key_by: str = ""
    """What has the key; "" if there is none."""
    has_port: bool = True
    """Whether the person named the port."""
    context: ssl.SSLContext | None = None
    """For TLS with the authority that the person names; None for those of the system."""
    ca_by: str = ""
    """What names the authority, with its file; "" if nothing does."""

    @property
    def place(self) -> str:
        """The host and the port, as a person writes them."""
        return f"{bracketed(written(self.host))}:{self.port}"

    @property
    def host(self) -> str:
        """The name or address of the machine, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port of TCP."""
        parts = urlsplit(self.url)
        return parts.port or DEFAULT_PORTS[parts.scheme]

    @property
    def base(self) -> str:
        """What stands between the port and /v1 of every request, such as /speech; mostly ""."""
        return urlsplit(self.url).path.removesuffix("/v1/realtime")

    @property
    def models_url(self) -> str:
        """Where the server lists its models."""
        parts = urlsplit(self.url)
        host = parts.netloc.replace("%", "%25")  # urllib unquotes the host
        return urlunsplit((f"http{parts.scheme[2:]}", host, f"{self.base}/v1/models", *parts[3:]))


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """The options that name the server, the model and the key."""
    ports = f"without a port 8000; with TLS {HOME_TLS_PORT} at home, 443 elsewhere"
    parser.add_argument(URL_FLAG, help=f"default: {URL_VARIABLE}, or {DEFAULT_URL}; {ports}")
    find = "find the server in this network; done by itself if no URL is given and none runs here"
    to_whom = f"a key goes to whoever answers, unless {CA_FLAG} proves who that is"
    parser.add_argument(DISCOVER_FLAG, action="store_true", help=f"{find}; {to_whom}")
    authority = "the server's authority, from /trust/lanscribe.pem; then only wss:// is used"
    parser.add_argument(CA_FLAG, metavar="FILE", help=f"{authority}; default: {CA_VARIABLE}")
    parser.add_argument(MODEL_FLAG, default="", help="default: the first that the server lists")
    parser.add_argument(KEY_FLAG, help=f"the key; default: {KEY_VARIABLE}")


def parse_server_options(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> argparse.Namespace:
    """The command line, with a Server as `server`; exits with 2 if it is wrong.

    Raises OutputTrouble if the help cannot be written.
    """
    try:
        options = parser.parse_args(arguments)
    except SystemExit:
        put(sys.stdout, "")  # tells if the help cannot be written
        raise
    options.server = server_of(parser, options)
    return options


def server_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Server:
    """The server that the options and the environment name; exits with 2 if they are wrong."""
    if options.discover and options.url is not None:
        parser.error(f"{DISCOVER_FLAG} and {URL_FLAG} both say where the server is: leave out one")
    url, named_by = given(options.url, URL_FLAG, URL_VARIABLE)
    named_by = "" if options.discover else named_by
    key, key_by = given(options.api_key, KEY_FLAG, KEY_VARIABLE)
    path, ca_by = given(options.ca_file, CA_FLAG, CA_VARIABLE)
    url = url if named_by else SECURE_URL if ca_by else DEFAULT_URL
    try:
        address, login = realtime_url(secured(url) if ca_by else url), login_of(url)
        port = split_url(url).port
    except ValueError as error:
        parser.error(f"{named_by}: got {url!r}: {error}; expected such as ws://HOST:8000")
    try:
        key = checked_key(key)
    except ValueError as error:
        parser.error(f"{key_by}: {error}")
    if key and login:
        parser.error(f"{named_by} has a user name, and {key_by} a key: only one can be sent")
    headers = {"Authorization": login or f"Bearer {key}"} if login or key else {}
    key_by = key_by if key else named_by if "api_key=" in address else ""
    server = Server(address, headers, unquoted(options.model), named_by, key_by, port is not None)
    if not ca_by:
        return server
    if server.url.startswith("ws:"):
        expected = f"expected such as wss://{server.place.rpartition(':')[0]}"
        secure = f"with {ca_by} only wss:// is used; {expected}"
        parser.error(f"{named_by}: got {url!r}: {secure}, or {without_authority(ca_by)}")
    return with_authority(server, parser, path, ca_by)


def with_authority(
    server: Server, parser: argparse.ArgumentParser, path: str, ca_by: str
) -> Server:
    """The server with the authority in the file; exits with 2 if it is wrong."""
    if not path:
        parser.error(f"{ca_by}: got ''; expected a certificate's file")
    try:
        context = trusting(certificate_in(Path(path)))
    except OSError as error:
        parser.error(f"{ca_by}: got {path!r}: {error.strerror}; expected a certificate's file")
    except ValueError as error:
        parser.error(f"{ca_by}: got {path!r}: {error}")
    return replace(server, context=context, ca_by=f"{ca_by} {path}")


def without_authority(ca_by: str) -> str:
    """How to use no authority, which stands in the flag or the variable, maybe with its file."""
    name = ca_by.partition(" ")[0]
    return f"leave out {CA_FLAG}" if name == CA_FLAG else f"unset {name}"


def secured(url: str) -> str:
    """A URL, host:port or host as wss:// if it has no scheme."""
    return url if "://" in url else f"wss://{url}"


def certificate_in(path: Path) -> bytes:
    """What a file contains. Raises OSError, or ValueError if it cannot be a certificate's."""
    expected = "expected a certificate's file"
    if stat.S_ISREG(path.stat().st_mode):
        with path.open("rb") as file:
            content = file.read(MOST_CA_BYTES + 1)
        if len(content) > MOST_CA_BYTES:
            raise ValueError(f"it is larger than {MOST_CA_BYTES // 2**20} MiB; {expected}")
        return content
    raise ValueError(f"it is no regular file; {expected}")


def trusting(certificate: bytes) -> ssl.SSLContext:
    """TLS that trusts this authority and no other; PEM or DER. Raises ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    is_pem = b"-----BEGIN CERTIFICATE" in certificate
    try:
        context.load_verify_locations(
            cadata=certificate.decode("ascii", "ignore") if is_pem else certificate
        )
    except (ssl.SSLError, ValueError) as error:
        expected = "expected such as http://HOST:8000/trust/lanscribe.pem"
        raise ValueError(f"it holds no certificate, as PEM or DER; {expected}") from error
    return context


def given(value: str | None, flag: str, variable: str) -> tuple[str, str]:
    """A flag's value, or that of the variable, and which of them has it.

    A variable that is empty is as good as none.
    """
    if value is not None:
        return unquoted(value), flag
    value = unquoted(os.environ.get(variable, ""))
    return value, variable if value else ""


def unquoted(text: str) -> str:
    """The text without what pasting adds: space or quotes around it, and unseen letters."""
    text = "".join(letter for letter in text if category(letter) != "Cf").strip()
    if len(text) > 1 and text[-1] == QUOTES.get(text[0]):
        return unquoted(text[1:-1])
    return text


def realtime_url(text: str) -> str:
    """The WebSocket address for a URL, host:port or host. Raises ValueError with the reason."""
    parts = split_url(text)
    scheme = SCHEMES[parts.scheme]
    host = host_of(parts)
    usual = default_port(scheme, parts.hostname or "")
    port = parts.port or ("" if usual == DEFAULT_PORTS["wss"] else usual)
    base = quote(ENDPOINT.sub("", re.sub("/+", "/", parts.path)), safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return urlunsplit((scheme, f"{host}:{port}".rstrip(":"), f"{base}/v1/realtime", query, ""))


def default_port(scheme: str, host: str) -> int:
    """The port of a ws:// or wss:// address without one; host: a name or address, no brackets."""
    return HOME_TLS_PORT if scheme == "wss" and is_at_home(host) else DEFAULT_PORTS[scheme]


def is_at_home(host: str) -> bool:
    """Whether a name or an address belongs to a home network, by how it is written."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return HOME_NAME.fullmatch(host) is not None
    return address.is_private or (address.version == 4 and address in SHARED_ADDRESSES)


def split_url(text: str) -> SplitResult:
    """The parts of a URL, host:port or host. Raises ValueError with the reason."""
    text = unquoted(text)
    if any(letter.isspace() or category(letter) == "Cc" for letter in text):
        raise ValueError("a space or a line break is in it")
    scheme, mark, rest = text.partition("://") if "://" in text else ("", "", text)
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"{scheme}:// is not ws://, wss://, http:// or https://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if is_bare_ipv6(authority):
        rest = f"[{authority}]{rest.removeprefix(authority)}"
    try:
        parts = urlsplit(f"{scheme}{mark or '//'}{rest}".replace("%25", "%"))
        is_port = parts.port != 0
    except ValueError:
        is_port = False
    if not is_port:
        raise ValueError("its host or its port is wrong")
    return parts


def is_bare_ipv6(authority: str) -> bool:
    """Whether this is an IPv6 address without its brackets."""
    try:
        return bool(IPv6Address(authority.replace("%25", "%")))
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def host_of(parts: SplitResult) -> str:
    """The host as it stands in a URL. Raises ValueError if it cannot be one."""
    host = parts.hostname or ""
    if not host:
        raise ValueError("it names no host")
    if ":" in host:
        return bracketed(host)
    if re.fullmatch(r"[\d.]+", host):
        return str(ip_address(host))
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{host!r} cannot be the name of a machine") from error


def written(host: str) -> str:
    """The host as a person writes it, with the letters that DNS spells otherwise."""
    with suppress(UnicodeError):
        return host.encode().decode("idna")
    return host


def login_of(text: str) -> str:
    """The Authorization of a URL with user:password@; "" without. Raises ValueError."""
    parts = split_url(text)
    if parts.username is None:
        return ""
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(login.encode()).decode('ascii')}"


def checked_key(key: str) -> str:
    """The key, without a word before it as in a header. Raises ValueError, without the key."""
    key = re.sub(r"^(Authorization:\s*)?Bearer\s+", "", key, flags=re.IGNORECASE)
    for place, letter in enumerate(key, 1):
        if not "!" <= letter <= "~":
            what = f"{letter!r} is letter {place} of the {len(key)} that were given"
            raise ValueError(f"{what}; expected a key of ASCII letters and digits, without spaces")
    return key


# <<< clients/address.py


# >>> clients/discovery.py: edit it there, then run: .venv/bin/python -m clients.generate
KIND = "_lanscribe._tcp.local."
SEARCH_S = 3.0
"""How long servers are looked for."""
OTHERS_S = 0.7
"""How long others are waited for once one has answered."""
MOST_NAMES = 64
"""How many names are asked for their address and port; anybody can announce any number."""
HOME_NETWORKS = (
    *map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")),
    *map(ip_network, ("fc00::/7", "fe80::/10")),
    SHARED_ADDRESSES,
)
"""Where a server of this network can be, besides the networks of this machine."""
LOOPBACK_S = 1.0
NO_ZEROCONF = (
    "finding servers needs the package zeroconf: pip install zeroconf, run this with uv,"
    f" or name the server with {URL_FLAG} ws://HOST:8000"
)


@dataclass(frozen=True)
class Found:
    """A server that announces itself."""

    name: str
    """The machine's name, such as lanscribe.local."""
    address: str
    port: int
    tls_port: int = 0
    """0 without TLS."""
    auth: str = ""
    """Who may come in: lan, key or open; "" if it does not say."""

    @property
    def url(self) -> str:
        """What to type after --url."""
        return f"ws://{bracketed(self.address)}:{self.port}"

    @property
    def secure_url(self) -> str:
        """The same with TLS."""
        return f"wss://{bracketed(self.address)}:{self.tls_port}"

    def url_for(self, server: Server) -> str:
        """What to type for a client that trusts one authority, or any."""
        return self.secure_url if server.context else self.url


def located(server: Server, *, discovers: bool) -> Server:
    """The server; one that is found if the person asks for that, or names none and none runs here.

    Exits with 2 if several are found. Raises Trouble if none is, or if it needs a key.
    """
    if server.named_by or (not discovers and is_running_here(server)):
        return server
    if not discovers:
        tell(f"nothing answers at {server.place}: looking for a server in this network")
    found = search()
    if not found:
        raise Trouble(nobody(server, discovers=discovers))
    fit = [one for one in found if one.tls_port] if server.context else found
    if not fit:
        raise Trouble(no_tls(found[0], server))
    if len(fit) > 1:
        tell("several servers are in this network; name one:")
        for one in fit:
            tell(f"  {URL_FLAG} {one.url_for(server)}   ({one.name})")
        sys.exit(2)
    return named_by_itself(fit[0], server, discovers=discovers)


def named_by_itself(found: Found, server: Server, *, discovers: bool) -> Server:
    """The one server that was found, with the key and the authority of the command line.

    The key goes to a server that nobody named only if TLS proves who that is, or if the person
    asks for a search. Raises Trouble.
    """
    url = found.url_for(server)
    if found.auth == "key" and not server.headers:
        needs = f"{found.name} ({url}) needs a key: pass it with {KEY_FLAG} or in"
        raise Trouble(
            f"{needs} {KEY_VARIABLE}; on the server's machine, bash serve.sh key shows it"
        )
    sends_key = server.context is not None or discovers
    if server.headers and not sends_key and found.auth == "key":
        needs = (
            f"found {found.name}, which needs the key; it is sent only to a server that you name"
        )
        raise Trouble(f"{needs}: {URL_FLAG} {url}, or {DISCOVER_FLAG} with {CA_FLAG} FILE")
    tell(f"found {found.name}: {url}")
    headers = server.headers if sends_key else {}
    named_by = DISCOVER_FLAG if discovers else URL_FLAG
    return replace(server, url=realtime_url(url), headers=headers, named_by=named_by, has_port=True)


def no_tls(found: Found, server: Server) -> str:
    """The line where no server that is found has TLS, and the person names an authority."""
    what = f"found {found.name} ({found.url}), which announces no TLS"
    why = f"with {server.ca_by} only wss:// is used, so nothing was sent"
    turn_on = f"give that server a certificate, or {without_authority(server.ca_by)}"
    return f"{what}; {why}: {turn_on}"


def nobody(server: Server, *, discovers: bool) -> str:
    """The line where no server is found."""
    why = "is serve.sh running, and is this machine in its network?"
    named = f"a network that blocks multicast needs {URL_FLAG} ws://HOST:{DEFAULT_PORTS['ws']}"
    if discovers:
        return f"{DISCOVER_FLAG}: no server answered within {SEARCH_S:g} s: {why} {named}"
    where = "Connection refused, and no server was found in this network"
    return f"{server.place}: {where}: {why} {named}"


def is_running_here(server: Server) -> bool:
    """Whether anything but a refusal comes from the address."""
    try:
        socket.create_connection((server.host, server.port), LOOPBACK_S).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # the connection itself tells what is wrong
    return True


def search() -> list[Found]:
    """The servers that answer, by name. Raises Trouble if this machine cannot look for any."""
    try:
        import zeroconf.asyncio  # noqa: PLC0415  # only who looks for a server needs it
    except ImportError as error:
        raise Trouble(NO_ZEROCONF) from error
    try:
        return asyncio.run(collected(zeroconf))
    except OSError as error:
        why = f"cannot look for servers: {error.strerror or error}"
        raise Trouble(f"{why}; name one with {URL_FLAG} ws://HOST:8000") from error


async def collected(zeroconf: Any) -> list[Found]:
    """What answers until SEARCH_S is over, or for OTHERS_S after the first server."""
    # zeroconf logs a traceback when it sends on some names that others announce
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with zeroconf.asyncio.AsyncZeroconf() as seeker:
        answers = Answers(zeroconf, seeker.zeroconf, own_networks())
        services = zeroconf.asyncio.AsyncServiceBrowser
        browser = services(seeker.zeroconf, KIND, handlers=[answers.note])
        await answers.wait()
        await browser.async_cancel()
    return sorted(answers.found.values(), key=lambda one: (one.name, one.address, one.port))


class Answers:
    """Asks all names that are announced for their address and port, at the same time."""

    def __init__(self, zeroconf: Any, seeker: Any, networks: Iterable[str]) -> None:
        """networks: those of this machine, such as 192.168.1.0/24."""
        self.found: dict[str, Found] = {}
        self._zeroconf, self._seeker, self._networks = zeroconf, seeker, list(networks)
        self._questions: dict[str, asyncio.Task[None]] = {}
        self._deadline = asyncio.timeout(SEARCH_S)

    def note(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        """Ask a name, unless it was asked before, too many were, or it cannot be one."""
        if name in self._questions or len(self._questions) >= MOST_NAMES:
            return
        with suppress(self._zeroconf.Error, ValueError):
            info = self._zeroconf.asyncio.AsyncServiceInfo(KIND, name)
            self._questions[name] = asyncio.create_task(self._ask(name, info))

    async def wait(self) -> None:
        """Until SEARCH_S is over, or for OTHERS_S after the first server."""
        with suppress(TimeoutError):
            async with self._deadline:
                await asyncio.Event().wait()
        for question in self._questions.values():
            question.cancel()
        await asyncio.gather(*self._questions.values(), return_exceptions=True)

    async def _ask(self, name: str, info: Any) -> None:
        with suppress(self._zeroconf.Error, ValueError):
            is_answered = await info.async_request(self._seeker, 1000 * SEARCH_S)
            one = found_by(info, self._networks) if is_answered else None
            if one and not self.found:
                ends_s = asyncio.get_running_loop().time() + OTHERS_S
                self._deadline.reschedule(min(ends_s, self._deadline.when() or ends_s))
            if one:
                self.found[name] = one


def found_by(info: Any, networks: Sequence[str]) -> Found | None:
    """A server by what it announces; None if no client of this network can use it.

    Raises ValueError if it is no announcement at all.
    """
    texts = {key: str(value or "") for key, value in info.decoded_properties.items()}
    name = " ".join(plain(str(info.server or "").rstrip(".")).split())
    addresses = [one for one in info.parsed_scoped_addresses() if is_near(one, networks)]
    if not name or not addresses or not 0 < (info.port or 0) < 65_536:
        return None
    tls = texts.get("tls", "")
    return Found(
        name,
        nearest(addresses, networks),
        info.port,
        int(tls) if re.fullmatch("[0-9]{1,5}", tls) and int(tls) < 65_536 else 0,
        texts.get("auth", ""),
    )


def is_near(address: str, networks: Iterable[str]) -> bool:
    """Whether a server of this network can have the address, which may end with %SCOPE."""
    parsed = ip_address(address.partition("%")[0])
    if parsed.is_unspecified or parsed.is_multicast or parsed.is_loopback:
        return False
    own = [ip_network(one) for one in networks]
    return any(parsed in network for network in (*HOME_NETWORKS, *own))


def nearest(addresses: Sequence[str], networks: Iterable[str]) -> str:
    """The address that this machine most probably reaches: in a network of its own, then IPv4.

    networks: those of this machine, such as 192.168.1.0/24.
    """
    own = [ip_network(one) for one in networks]

    def distance(address: str) -> tuple[bool, bool]:
        parsed = ip_address(address.partition("%")[0])
        return not any(parsed in network for network in own), parsed.version == 6

    return min(addresses, key=distance)


def own_networks() -> list[str]:
    """The networks of this machine; zeroconf brings ifaddr with it."""
    import ifaddr  # noqa: PLC0415  # as zeroconf

    ips = [ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    pairs = [(ip.ip if isinstance(ip.ip, str) else ip.ip[0], ip.network_prefix) for ip in ips]
    return [str(ip_network(f"{address}/{prefix}", strict=False)) for address, prefix in pairs]


def tell(line: str) -> None:
    """Print a remark on stderr."""
    sys.stderr.write(f"{line}\n")


# <<< clients/discovery.py


# >>> clients/reasons.py: edit it there, then run: .venv/bin/python -m clients.generate
CONNECT_ERRORS = (OSError, HTTPException, WebSocketException, LookupError, ValueError, TypeError)
"""The errors of a connection that cannot be made."""
PROGRAMMING = re.compile(r"session\.update|input_audio_buffer|GET /|Authorization|\?api_key=")
"""What stands in the sentences of a server that only help a programmer."""
PROBE_S = 2.0
SELF_SIGNED = 18
UNKNOWN = (SELF_SIGNED, 19, 20, 21)
"""Numbers of OpenSSL (X509_V_ERR) for a certificate by an authority that is not trusted."""
EXPIRED = (10, 9)
"""Those for one that has expired, and for one that is not valid yet."""
NO_HTTP = "did not receive a valid HTTP response"
NO_SERVER = "what answers there is no speech server"


class TlsPort(OSError):
    """The port speaks TLS, and the address says that it does not."""


def explain(error: Exception, server: Server) -> Trouble:
    """A connection error as a line for the person at the terminal."""
    passes = False
    if isinstance(error, ConnectionClosed):
        what, advice = f"it hung up, {error.rcvd or 'without a word'}", "does serve.sh still run?"
        passes = error.rcvd is None or error.rcvd.code != CloseCode.POLICY_VIOLATION
    elif isinstance(error, HTTPError | InvalidStatus):
        what, advice = refused(error, server)
        passes = status_of(error) in (502, 503, 504)
    else:
        reason = error.reason if isinstance(error, URLError) else error
        what, advice = unreached(reason if isinstance(reason, Exception) else error, server)
    return Trouble(": ".join(filter(None, (server.place, what, advice))), passes=passes)


def refused(error: HTTPError | InvalidStatus, server: Server) -> tuple[str, str]:
    """What a status of HTTP means, and what to do; "" if the server says that itself."""
    status, fields = status_of(error), reason_of(error)
    code, text = str(fields.get("code")), str(fields.get("message") or "")[:500]
    name = f"HTTP {status} {text or phrase(status)}"
    if status == 401:
        return without_programming(name), key_advice(server, headers_of(error))
    if status == HTTPStatus.NOT_FOUND:
        what = f"it has no {server.base}/v1"
        return what if server.base else f"{what}: {NO_SERVER}", base_advice(server)
    if text:
        what = without_programming(name)
        is_passing = status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500
        return what, advice_of(code, server) or ("" if is_passing else base_advice(server))
    if 300 <= status < 400:
        return elsewhere(urljoin(server.models_url, headers_of(error).get("Location", "")))
    if status >= 500:
        return name, "is serve.sh running behind it? it may be loading"
    return f"{name}: {NO_SERVER}", base_advice(server)


def unreached(error: Exception, server: Server) -> tuple[str, str]:
    """What kept a connection from being made, and what to do."""
    if isinstance(error, TlsPort | ssl.SSLError):
        return unsafe(error, server)
    if isinstance(error, socket.gaierror):
        return unknown_name(error, server)
    if isinstance(error, TimeoutError):
        on = f"is the machine on and in this network, and its port {server.port} open?"
        return "it does not answer", on
    if is_garbled(error):
        return NO_HTTP, f"does another program have the port in {named(server)}?"
    if isinstance(error, OSError):
        return unroutable(error, server)
    return unfit(error, server)


def is_garbled(error: Exception) -> bool:
    """Whether something else than HTTP came, or the socket was closed instead of an answer."""
    if isinstance(error, HTTPError | InvalidStatus):
        return status_of(error) == HTTPStatus.BAD_REQUEST
    return isinstance(error, BadStatusLine | InvalidMessage | ConnectionResetError | EOFError)


def unfit(error: Exception, server: Server) -> tuple[str, str]:
    """What is wrong with an answer that is HTTP, and what to do."""
    if isinstance(error, InvalidURI):
        return elsewhere(error.uri)
    if isinstance(error, HTTPException | WebSocketException):
        return f"{NO_SERVER} ({str(error) or type(error).__name__})", base_advice(server)
    return f"it names no model: {NO_SERVER}", base_advice(server)


def elsewhere(url: str) -> tuple[str, str]:
    """What to do about a redirection."""
    return f"it sends its clients to {url}", f"if the speech server is there, use {URL_FLAG} {url}"


def unsafe(error: OSError, server: Server) -> tuple[str, str]:
    """Why TLS fails, or would be right, and what to do."""
    if isinstance(error, TlsPort):
        return "this port is TLS", f"use wss://{server.place}{server.base}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return untrusted(error, server)
    reason = str(getattr(error, "reason", "") or error).replace("_", " ").lower()
    if any(word in reason for word in ("wrong version", "record layer", "http request", "packet")):
        return "this port is not TLS", plain_advice(server)
    return f"TLS fails ({reason})", f"is the port in {named(server)} right?"


def plain_advice(server: Server) -> str:
    """What to use instead of TLS at a plain port: the server's other port keeps TLS."""
    plain = f"ws://{server.place}{server.base}"
    if server.ca_by:
        plain += f" ({without_authority(server.ca_by)})"
    if server.port == HOME_TLS_PORT or not (server.ca_by or server.port == DEFAULT_PORTS["ws"]):
        return f"use {plain}"
    host = server.place.rpartition(":")[0]
    return f"use wss://{host}:{HOME_TLS_PORT}{server.base}, or without TLS {plain}"


def untrusted(error: ssl.SSLCertVerificationError, server: Server) -> tuple[str, str]:
    """What is wrong with the certificate of the server, and what to do."""
    code, why = error.verify_code, error.verify_message.rstrip(".")
    or_plain = f"or use ws:// with the plain port, {DEFAULT_PORTS['ws']}"
    if server.ca_by:
        or_plain += f", and {without_authority(server.ca_by)}"
    if "mismatch" in why:
        return why, f"put a name or address into {named(server)} that the certificate has"
    if code in EXPIRED:
        what = "has expired" if code == EXPIRED[0] else "is not valid yet"
        clock = "is the clock of this machine right, and that of the server's?"
        return f"its certificate {what}", f"{clock} else make a new certificate there, {or_plain}"
    if code in UNKNOWN and server.ca_by:
        what = f"its certificate is not by the authority in {server.ca_by}"
        return (
            what,
            f"is that file of this server, and of its newest authority? {get_authority(server)}",
        )
    if code == SELF_SIGNED:
        own = f"{CA_FLAG} FILE with that certificate"
        return (
            "its certificate is signed by itself",
            f"get it from its owner, then {own}, {or_plain}",
        )
    if code in UNKNOWN:
        what = "got a certificate by an authority that this machine does not know"
        return what, f"{get_authority(server)}, {or_plain}"
    return f"its certificate is not trusted ({why})", f"{get_authority(server)}, {or_plain}"


def get_authority(server: Server) -> str:
    """How to get the server's authority, and be sure that it is the server's."""
    host = server.place.rpartition(":")[0]
    where = f"http://{host}:{DEFAULT_PORTS['ws']}/trust/lanscribe.pem"
    check = "compare the fingerprint with that of bash serve.sh trust on the server's machine"
    return f"get {where}, {check}, then {CA_FLAG} FILE"


def unknown_name(error: socket.gaierror, server: Server) -> tuple[str, str]:
    """Why a name has no address, and what to do."""
    what = f"this machine finds no {written(server.host)} ({error.strerror})"
    if server.host.endswith(".local"):
        return what, (
            "is it on and in this network? such names need mDNS on both machines (on Linux: Avahi"
            " and libnss-mdns); the IP address in the banner of serve.sh works without"
        )
    also = ", or its name with .local" if not {".", ":"} & set(server.host) else ""
    return what, f"is the name in {named(server)} right? else take the server's IP address{also}"


def unroutable(error: OSError, server: Server) -> tuple[str, str]:
    """Why the system made no connection, and what to do."""
    number, host = number_of(error), server.host
    what = os.strerror(number) if number else str(error)
    if number == errno.ECONNREFUSED:
        return what, refused_advice(server)
    if number == errno.EINVAL and host.startswith("fe80") and "%" not in host:
        return what, f"such an address needs the network card of this machine: [{host}%eth0]"
    needs = ", and this terminal allowed: System Settings, Privacy & Security, Local Network"
    more = needs if sys.platform == "darwin" and number == errno.EHOSTUNREACH else ""
    return what, f"is this machine in the server's network, and {named(server)} right{more}?"


def refused_advice(server: Server) -> str:
    """What to do when nothing listens at the port."""
    if not server.named_by:
        return f"is serve.sh running? a server elsewhere is named with {URL_FLAG} ws://HOST:8000"
    if not server.has_port:
        tried = f"{server.named_by} names no port, so {server.port} was tried"
        return f"is serve.sh running there? {tried}"
    return f"is serve.sh running there, and is the port in {server.named_by} right?"


def base_advice(server: Server) -> str:
    """What to do when nothing useful is at the address."""
    if server.base:
        scheme = server.url.partition(":")[0]
        return f"is {server.base} in {named(server)} right? without it: {scheme}://{server.place}"
    return f"is the port in {named(server)} right? serve.sh has {DEFAULT_PORTS['ws']}"


def key_advice(server: Server, headers: Any) -> str:
    """What to do when the key is missing or wrong."""
    if str(headers.get("WWW-Authenticate", "")).lower().startswith("basic"):
        return f"it asks for a user: {URL_FLAG} with USER:PASSWORD@ before the host"
    shown = "on the server's machine, bash serve.sh key shows it"
    if server.key_by:
        return f"is the key in {server.key_by} right? {shown}"
    return f"pass the key with {KEY_FLAG} or in {KEY_VARIABLE}; {shown}"


def advice_of(code: str, server: Server) -> str:
    """What a person at the terminal can do about an error code; "" if nothing."""
    if code == "unauthorized":
        return key_advice(server, {})
    if code == "model_not_found" and server.model:
        return f"leave out {MODEL_FLAG} {server.model}, or name one that it has"
    if code == "idle_timeout":
        return "the sound that is sent has stopped for too long"
    if code == "not_allowed":
        return f"the key goes into {KEY_FLAG}, or into {KEY_VARIABLE}"
    return ""


def without_programming(text: str) -> str:
    """A server's message without the sentences that only help a programmer."""
    sentences = re.split(r"(?<=[.;])\s+", text)
    kept = [sentence for sentence in sentences if not PROGRAMMING.search(sentence)]
    return " ".join(kept or sentences).rstrip(".; ")


def named(server: Server) -> str:
    """What the person can change."""
    return server.named_by or URL_FLAG


def number_of(error: OSError) -> int:
    """The number of a system's error, also if several addresses failed; 0 without."""
    numbers = re.findall(r"\[Errno (\d+)\]", str(error))
    return error.errno or next(map(int, numbers), 0)


def phrase(status: int) -> str:
    """What a status is called."""
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return ""


def status_of(error: HTTPError | InvalidStatus) -> int:
    """The status of an answer."""
    return error.code if isinstance(error, HTTPError) else error.response.status_code


def headers_of(error: HTTPError | InvalidStatus) -> Any:
    """The headers of an answer."""
    return error.headers if isinstance(error, HTTPError) else error.response.headers


def reason_of(error: HTTPError | InvalidStatus) -> dict[str, Any]:
    """The server's own reason, with its code and message; empty if it gives none."""
    with suppress(OSError, HTTPException, ValueError, TypeError, LookupError):
        body = error.read(9999) if isinstance(error, HTTPError) else error.response.body
        return dict(json.loads(body or b"")["error"])
    return {}


def speaks_tls(server: Server) -> bool:
    """Whether the port answers a greeting of TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        suppress(OSError),
        socket.create_connection((server.host, server.port), PROBE_S) as plain_socket,
        context.wrap_socket(plain_socket),
    ):
        return True
    return False


# <<< clients/reasons.py


# >>> clients/protocol.py: edit it there, then run: .venv/bin/python -m clients.generate
CONNECT_S = 10.0  # timeout for the greeting
MESSAGE_BYTES = 2**26  # the longest from the server: it fits the text of a day
BEGIN = '{"type":"input_audio_buffer.commit","final":false}'
END = '{"type":"input_audio_buffer.commit","final":true}'
T = TypeVar("T", bool, int, str)


class Unfollowed(HTTPRedirectHandler):
    """Makes an error of a redirection: the WebSocket would not follow it."""

    def redirect_request(self, *_: Any) -> None:
        """None: it is not followed."""


def first_model(server: Server) -> str:
    """The first model that the server lists. Raises one of CONNECT_ERRORS."""
    request = Request(server.models_url, headers=dict(server.headers))
    secure = HTTPSHandler(context=server.context)
    with build_opener(ProxyHandler({}), Unfollowed, secure).open(request, timeout=10) as reply:
        return str(json.load(reply)["data"][0]["id"])


async def open_socket(url: str, server: Server) -> ClientConnection:
    """A connection to the server, by its address or one that resumes. Raises CONNECT_ERRORS."""
    secure = server.context or True if url.startswith("wss:") else None
    return await connect(
        url,
        ssl=secure,
        additional_headers=server.headers,
        proxy=None,
        ping_timeout=None,
        close_timeout=1,
        max_size=MESSAGE_BYTES,
    )


class Event:
    """A message of the server. Raises Trouble if it does not match the protocol."""

    def __init__(self, message: str | bytes) -> None:
        try:
            fields = dict(json.loads(message))
            fields |= fields.get("resume") or {}
            lost = fields.get("lost") or []
            parts = [lost] if isinstance(lost, dict) else lost  # an error has one part, not a list
            self.kind = str(fields["type"])
            self.code = str(fields.get("code"))
            self.text = plain(
                fields.get("error") or fields.get("delta") or fields.get("text") or ""
            )
            self.tentative = plain(fields.get("tentative") or "")
            self.lost = [(float(part["start_s"]), float(part["end_s"])) for part in parts]
            self.no_speech = dict(fields.get("no_speech") or {})
        except (ValueError, TypeError, LookupError, RecursionError):
            line = f"the server broke the protocol: {message[:60]!r}"
            raise Trouble(f"{line}; is it as new as this client?") from None
        self._fields = fields

    def seconds(self, name: str) -> float | None:
        """The field as a time; None if it is absent or not a time."""
        value = self._fields.get(name)
        return value if isinstance(value, float | int) and 0 <= value < 1e6 else None

    def field(self, name: str, default: T) -> T:
        """The field; `default` if it is absent or has another type."""
        value = self._fields.get(name)
        return value if isinstance(value, type(default)) else default


# <<< clients/protocol.py


# >>> clients/stitch.py: edit it there, then run: .venv/bin/python -m clients.generate
HAN_LETTERS = (
    "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # no spaces: each letter is a word
)
WORD = re.compile(rf"[{HAN_LETTERS}][^\w\s]*|[^\s{HAN_LETTERS}]+")
OLD_WORDS = 24
"""The number of last words that are compared."""
NEAR_S = 0.6
"""The most by which two sessions' times of the same word may differ."""
TIE_S = 0.15
"""The assumed length of a word if its start is unknown."""
SLACK_SAMPLES = 19_200
"""1.2 s: word times are late by at most this."""

Said = tuple[str, float | None, float]
"""Text as received, its start in the recording if known, and its end; in s."""
Span = tuple[float, float]
"""The start and the end of a word in the recording; in s."""


class Stitch:
    """Joins the transcript of a new connection to the text `said` before.

    The server hears some audio a second time. While open, the stitch holds the words of that
    audio; when closed, it drops those that were said already, up to `said_s`.
    """

    def __init__(self, said: str, *, is_open: bool, said_s: float = math.inf) -> None:
        self._old, self._said_s = WORD.findall(said)[-OLD_WORDS:], said_s
        is_unspaced = bool(self._old) and is_han(self._old[-1])
        self._held: list[Said] = [(" ", None, 0.0)] if said and not is_unspaced else []
        self.is_open = is_open

    def feed(self, piece: Said) -> list[Said]:
        """Add a piece; return the pieces that can be said now."""
        self._held.append(piece)
        return [] if self.is_open else self._release(0)

    @property
    def has_words(self) -> bool:
        """Whether it holds words."""
        return bool(self._text.strip())

    def close(self) -> list[Said]:
        """Return the held words that were not said before."""
        self.is_open = False
        words = list(WORD.finditer(self._text))
        count = self._count_said([word[0] for word in words], self._spans(words))
        if not count:
            return self._release(0)
        old, new = self._old[-1], words[count - 1]
        if new[0].casefold().startswith(old.casefold()):  # the old word may have been cut short
            return self._release(new.start() + len(old))
        return self._release(new.end())

    def _spans(self, words: Sequence[re.Match[str]]) -> list[Span]:
        """When the words were spoken that may have been said already."""
        until_s = self._said_s + SLACK_SAMPLES / SAMPLE_RATE_HZ
        pairs = ((self._piece_at(w.start() + 1)[1], self._piece_at(w.end())[2]) for w in words)
        spans = ((end_s - TIE_S if start_s is None else start_s, end_s) for start_s, end_s in pairs)
        return list(takewhile(lambda span: span[1] <= until_s, spans))

    def _count_said(self, words: Sequence[str], spans: Sequence[Span]) -> int:
        """How many of the words were said already."""
        has_times = any(start_s is not None for _, start_s, _ in self._held)
        places = [has_times and self._is_later(span) for span in spans]
        count = repeated(self._old, words[: len(spans)], places)
        if count or not self._old or not has_times:
            return count
        return self._count_by_time(words, spans)

    def _count_by_time(self, words: Sequence[str], spans: Sequence[Span]) -> int:
        """How many were said already, by their times; used if no run of words is equal."""
        for index, (start_s, end_s) in enumerate(spans):
            is_near = abs(end_s - self._said_s) < NEAR_S
            is_within = start_s < self._said_s < end_s  # then a beginning of any length is the same
            if is_near and same_words(
                self._old[-1:], words[index : index + 1], 0 if is_within else 2
            ):
                return index + 1
        return sum(not self._is_later(span) for span in spans)

    def _is_later(self, span: Span) -> bool:
        """Whether most of a word lies after all that was said."""
        return sum(span) / 2 > self._said_s

    def _piece_at(self, at: int) -> Said:
        """The piece with the letter before the index `at`."""
        ends = accumulate(len(text) for text, _, _ in self._held)
        return next(piece for piece, end in zip(self._held, ends, strict=True) if at <= end)

    @property
    def _text(self) -> str:
        return "".join(text for text, _, _ in self._held)

    def _release(self, start: int) -> list[Said]:
        """Return the held text without its first `start` letters."""
        released = []
        for text, start_s, end_s in self._held:
            if text[start:]:
                released.append((text[start:], start_s, end_s))
            start = max(0, start - len(text))
        self._held = []
        return released


def repeated(old: Sequence[str], new: Sequence[str], is_later: Sequence[bool]) -> int:
    """How many of the first `new` words repeat the last `old` ones; the very last may differ.

    is_later: of each new word, whether it was spoken after the old ones; then it is none of them.
    """
    for count in range(min(len(old), len(new)), 0, -1):
        for end in range(count, last_end(old, new, count) + 1):
            run = new[end - count : end]
            if same_words(old[-count:], run, 2 if count == 1 else 0):
                return end
            if 1 < count < len(old) and same_words(old[-count - 1 : -1], run):
                return end + (end < len(new) and not is_later[end])
    return 0


def last_end(old: Sequence[str], new: Sequence[str], count: int) -> int:
    """The last index in `new` where a run of `count` old words may end; 1 word: near the start."""
    if count > 1:
        return len(new)
    return min(len(new), 1 if is_han(old[-1]) else 4)  # single letters are often equal


def is_han(word: str) -> bool:
    """Whether the word is a letter of a script without spaces."""
    return bool(re.match(f"[{HAN_LETTERS}]", word))


def same_words(old: Sequence[str], new: Sequence[str], least: int = 2) -> bool:
    """Whether they are equal except for case, punctuation, and a last old word cut short.

    least: a part of a word has more letters.
    """
    *pairs, (a, b) = [(bare(x), bare(y)) for x, y in zip(old, new, strict=True)]
    is_last_same = a == b or (len(a) > least and b.startswith(a))
    return is_last_same and all(x == y for x, y in pairs)


def bare(word: str) -> str:
    """A word's letters and digits, caseless."""
    return re.sub(r"\W", "", word).casefold()


# <<< clients/stitch.py


# >>> clients/story.py: edit it there, then run: .venv/bin/python -m clients.generate
DELTA_S = 0.08  # assumed for a delta without end_s, as from bare vLLM
NO_WORD_S = 3.0  # after so long without a word, the speaker pauses or has ended
CHUNK_SAMPLES = 1_600
UNSURE_SAMPLES = 480_000  # 30 s: an engine writes its words within this time
WORD_SAMPLES = 25_600  # 1.6 s: no word is longer
SAID_LETTERS = 500  # kept for the stitch to the next session


class Story:
    """The transcript of the recording, each word once, over any number of sessions.

    Places are sample indices. `base`, `sent`: start and end of this session's audio. `heard`: how
    far the server has listened; `place`: the end of its newest delta. `safe`: all words before it
    are here, so a new session must listen from there. `last_words`: the last words of a session
    that the server cut; the next session hears them again, so they are said only if none follows.
    `tentative`: the words after all that was said which may still change, as the newest delta has
    them; none while it is not known whether they were said already, or after a cut.
    """

    def __init__(self) -> None:
        self.base = self.sent = self.heard = self.place = self.safe = self._said_end = 0
        self.is_committed = self._is_cut = False
        self.last_words: list[Said] = []
        self.tentative = ""
        self._said, self._stitch = "", Stitch("", is_open=False)
        self._deltas: list[str] = []
        self._text_s = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether all audio was sent and listened to."""
        return self.is_committed and self.heard > self.sent - CHUNK_SAMPLES

    def is_wordless(self, event: Event) -> bool:
        """Whether the whole recording has no word, and its last event may tell the cause."""
        is_bare = event.seconds("duration_s") is None  # bare vLLM sends no cause
        is_known = event.no_speech or is_bare or self.sent < SAMPLE_RATE_HZ
        return bool(is_known) and not event.lost and not self._said.strip()

    def begin(self, place: int) -> None:
        """Begin a session that listens from `place` on."""
        self.base = self.sent = self.heard = self.place = place
        is_open, said_s = place < self._said_end, self._said_end / SAMPLE_RATE_HZ
        self._stitch = Stitch(self._said, is_open=is_open, said_s=said_s)
        self._deltas, self.last_words = [], []
        self.is_committed = self._is_cut = False
        self.tentative = ""

    def cut(self) -> None:
        """Note that the server ends the utterance here, perhaps within a word."""
        self._is_cut = True
        self.tentative = ""

    def hear(self, event: Event, now_s: float) -> list[Said]:
        """Take a delta; return the pieces that can be said now."""
        said, self.tentative = self._feed(event), ""
        if self._stitch.is_open:
            if not self._is_beyond_the_old(event.text, now_s):
                return []
            said = self._stitch.close()
        if self._is_cut:
            self.last_words += said
            return []
        self._secure(event.text)
        self.tentative = event.tentative
        return self._say(said)

    def _feed(self, event: Event) -> list[Said]:
        """Pass a delta to the stitch; return the pieces that it releases."""
        start_s, end_s = event.seconds("start_s"), event.seconds("end_s")
        if end_s is None:
            start_s = len(self._deltas) * DELTA_S
            end_s = start_s + DELTA_S
        self._deltas.append(event.text)
        self.place = self._place(end_s)
        self.heard = max(self.heard, self.place)
        if not event.text:
            return []
        begin_s = None if start_s is None else self._place(start_s) / SAMPLE_RATE_HZ
        return self._stitch.feed((event.text, begin_s, self.place / SAMPLE_RATE_HZ))

    def _secure(self, text: str) -> None:
        """Advance `safe` after a delta with this text."""
        if text:
            is_new_word = any(map(str.isspace, text))  # then the word before it is complete
            whole_to = max(self._said_end if is_new_word else 0, self.place - WORD_SAMPLES)
            self.safe = max(self.safe, whole_to - SLACK_SAMPLES)
            self._said_end = max(self._said_end, self.place)
        self.safe = max(self.safe, self.heard - UNSURE_SAMPLES)

    def end(self, event: Event) -> list[Said]:
        """Take the end of the utterance; return the remaining pieces.

        Without a cut, the server ends it where the client has stopped sending: it is complete.
        """
        self.tentative = ""
        end_s = event.seconds("duration_s")
        if end_s is None and not self.is_committed:
            return []  # the server ended it, and does not say where
        self.heard = self.sent if end_s is None else self._place(end_s)
        if more := self._beyond_the_deltas(event.text):
            self.last_words += self._stitch.feed((more, None, self.heard / SAMPLE_RATE_HZ))
        self.last_words += self._stitch.close()
        is_complete = not self._is_cut and self.heard >= self._said_end
        if not (self.is_whole or is_complete):
            return []
        self.safe = self._said_end = self.heard
        said, self.last_words = self.last_words, []
        return self._say(said)

    def _beyond_the_deltas(self, text: str) -> str:
        """The part of an utterance's full text that follows its deltas."""
        whole, deltas = text.strip(), "".join(self._deltas).strip()
        return whole[len(deltas) :] if whole.startswith(deltas) else ""

    def _is_beyond_the_old(self, text: str, now_s: float) -> bool:
        """Whether this session is past the words of the earlier ones."""
        if text:
            self._text_s = now_s
            return self.place > self._said_end + SLACK_SAMPLES
        if not self._stitch.has_words:
            return self.heard > self._said_end + UNSURE_SAMPLES
        is_pausing = now_s - self._text_s > NO_WORD_S  # an engine that catches up emits words late
        return is_pausing and self.heard > self._said_end + 3 * SLACK_SAMPLES

    def _place(self, time_s: float) -> int:
        return min(self.base + round(time_s * SAMPLE_RATE_HZ), self.sent)

    def _say(self, pieces: list[Said]) -> list[Said]:
        self._said = (self._said + "".join(text for text, _, _ in pieces))[-SAID_LETTERS:]
        return pieces


# <<< clients/story.py


# >>> clients/going_on.py: edit it there, then run: .venv/bin/python -m clients.generate
PASSING = ("engine_unavailable", "internal", "processing_error", "server_busy", "server_stopping")
"""Error codes after which a retry may help."""


def pause_s(failures: int) -> float:
    """How long to wait before the next attempt; random, so that clients do not retry together."""
    return random.uniform(0.06, 0.12) * 2.0 ** min(failures, 5)


class Session:
    """The state that outlives a socket: the server's token, and the number of its last message.

    whole_s: the time in the recording of a time in the audio that is sent.
    """

    def __init__(self, server: Server, whole_s: Callable[[float], float] = float) -> None:
        self._server, self._whole_s = server, whole_s
        self.token, self.keep_s = "", 0.0
        self._seen, self._is_behind = 0, False

    @property
    def address(self) -> str:
        """The address that resumes the session, or starts a new one."""
        url = self._server.url
        if not self.token:
            return url
        query = urlencode({"resume": self.token, "seen": self._seen})
        return f"{url}{'&' if '?' in url else '?'}{query}"

    def greet(self, greeting: Event, story: Story, place: int) -> bool:
        """Continue where the server says, or begin at `place`.

        False if the server has lost the session: connect again for a new one. Raises Trouble if
        the server refuses.
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

    def model(self, name: str, *, tentative: bool = False) -> str:
        """The message that chooses the model; bare vLLM is asked for nothing more.

        tentative: whether to ask for the words that may still change.
        """
        keep = {"resume": True} if self.token else {}
        more = {"tentative": True} if self.token and tentative else {}
        return json.dumps({"type": "session.update", "model": name, **keep, **more})

    def audio(self, pcm: bytes) -> str:
        """The message that adds audio, and acknowledges received messages."""
        seen = {"seen": self._seen} if self.token else {}
        audio = b64encode(pcm).decode("ascii")
        return json.dumps({"type": "input_audio_buffer.append", "audio": audio, **seen})

    def is_new(self, event: Event) -> bool:
        """Whether the event was not received before."""
        number, seen = event.field("seq", 0), self._seen
        self._seen = max(number, seen)
        return number == 0 or number > seen

    def remarks(self, event: Event, story: Story) -> list[str]:
        """Lines about lost audio, audio without any speech, and lag that begins or ends."""
        if event.kind == "transcription.done":
            sent_s = story.sent / SAMPLE_RATE_HZ
            return [no_speech(event, sent_s)] if story.is_wordless(event) else []
        lost = [f"{span} could not be transcribed" for span in self._spans(event, story.base)]
        return lost + self._lag_remarks(event)

    def _spans(self, event: Event, base: int) -> list[str]:
        """The untranscribed parts of audio that begins at sample `base`."""
        base_s = base / SAMPLE_RATE_HZ
        parts = [[self._whole_s(base_s + time_s) for time_s in part] for part in event.lost]
        return [f"{start_s:.1f} to {end_s:.1f} s" for start_s, end_s in parts]

    def _lag_remarks(self, event: Event) -> list[str]:
        lag_s, is_behind = event.seconds("lag_s"), event.field("is_behind", False)
        if lag_s is None or is_behind == self._is_behind:
            return []
        self._is_behind = is_behind
        caught_up = "the server has caught up"
        return [f"the server is behind by {lag_s:.0f} s" if is_behind else caught_up]

    async def unreached(self, error: Exception) -> Trouble:
        """Why no connection was made, as Trouble that passes as in `broken`."""
        may_be_tls = not self.keep_s and self._server.url.startswith("ws:") and is_garbled(error)
        if may_be_tls and await asyncio.to_thread(speaks_tls, self._server):
            error = TlsPort()
        return self.broken(error)

    def broken(self, error: Exception) -> Trouble:
        """A connection error as Trouble; it passes if the server keeps sessions."""
        trouble = explain(error, self._server)
        trouble.passes |= self.keep_s > 0
        return trouble

    def trouble(self, event: Event, base: int) -> Trouble:
        """An error event as Trouble; ends the session, whose audio begins at sample `base`."""
        self.token = ""
        lost = "".join(f" (not transcribed: {span})" for span in self._spans(event, base))
        advice = advice_of(event.code, self._server)
        said = without_programming(event.text) + (f"; {advice}" if advice else "")
        return Trouble(f"the server says: {said}{lost}", passes=event.code in PASSING)


def no_speech(event: Event, sent_s: float) -> str:
    """A line with the probable reason why no speech was heard in so much sound."""
    code, level = event.no_speech.get("code"), event.no_speech.get("level_dbfs")
    level_dbfs = level if isinstance(level, float | int) else -99.0
    allow = permission()
    causes = {
        "zeros": f": each sample is zero: was the microphone muted, or without permission?{allow}",
        "quiet": f": it is never louder than {level_dbfs:.0f} dBFS, and speech is -40 to -15",
    }
    is_short = f": only {sent_s:.2f} s of sound came" if sent_s < 1 else ""
    return f"no speech was heard{causes.get(str(code), is_short)}"


# <<< clients/going_on.py


# >>> lanscribe/speech/captions.py: edit it there, then run: .venv/bin/python -m clients.generate
LINE_WIDTH = 42
SEGMENT_S = 7.0
SEGMENT_GAP_S = 0.8
"""A longer pause between two words begins a segment."""
WORD_S = 1.0
"""The longest assumed length of a word if the engine does not tell its beginning."""
SHOWN_S = 1.0
"""A caption stays for at least this long, unless the next one comes earlier."""
NEVER_S = 1e9
"""The assumed start of a caption after the last one."""
FILE_HEADS = {"srt": "", "vtt": "WEBVTT\n\n"}
"""The formats of caption files, and the first lines of each."""
SENTENCE_END = re.compile(r"""[.!?\u2026\u3002\uff01\uff1f]["')\]\u2019\u201d\u300d]*$""")
ABBREVIATION = re.compile(r"^(?:Mrs?|Ms|Drs?|St|Prof|Sr|Jr|vs|[A-Z])\.$")
ARROW = re.compile("--+>")
UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC")


class Word(NamedTuple):
    """A word and when it was spoken, in seconds from the first sample.

    In a transcript it is as emitted, including the space around it; the server sends clients the
    `bare` word.
    """

    text: str
    start_s: float
    end_s: float

    @property
    def bare(self) -> "Word":
        """The word without the space around it."""
        return self._replace(text=self.text.strip())

    @property
    def key(self) -> str:
        """The letters and digits that make two words equal."""
        folded = unicodedata.normalize("NFKC", self.text).casefold()
        return "".join(letter for letter in folded if letter.isalnum())


def add_word(words: list[Word], text: str, start_s: float | None, end_s: float) -> None:
    """Add a piece of text, not empty, to words in order of time and without overlap.

    A word begins with a piece that starts with a space, or after a piece that ends with one. In
    a script without spaces every piece is a word. Punctuation belongs to the word before.
    start_s: None if the engine cannot tell.
    """
    last = words[-1] if words else Word("", 0.0, 0.0)
    end_s = max(end_s, last.end_s)
    start_s = end_s - WORD_S if start_s is None else start_s
    if not words or opens_word(last.text, text):
        words.append(Word(text, min(max(start_s, last.end_s), end_s), end_s))
    elif last.text.strip():
        words[-1] = Word(last.text + text, last.start_s, end_s)
    else:
        words[-1] = Word(last.text + text, min(max(start_s, 0.0), end_s), end_s)


def opens_word(before: str, text: str) -> bool:
    """Whether `text` after the word `before` begins a new word."""
    if not before.strip() or not text.strip():
        return False
    is_parted = text[0].isspace() or before[-1].isspace()
    return is_parted or (is_unspaced(text[0]) and text[0].isalnum())


def is_unspaced(letter: str) -> bool:
    """Whether the letter belongs to a script without spaces between words."""
    return unicodedata.name(letter, "").startswith(UNSPACED_SCRIPTS)


def in_line(words: Sequence[Word]) -> str:
    """The text of the words, without line breaks and with single spaces."""
    return " ".join("".join(word.text for word in words).split())


def width(text: str) -> int:
    """The width in letters; Chinese, Japanese and Korean letters count twice."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


@dataclass(frozen=True, slots=True)
class Segment:
    """Words that are shown together; at least one."""

    words: tuple[Word, ...]

    @property
    def start_s(self) -> float:
        """Where its first word begins."""
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        """Where its last word ends."""
        return self.words[-1].end_s

    @property
    def text(self) -> str:
        """Its words, in one line."""
        return in_line(self.words)

    @property
    def lines(self) -> list[str]:
        """The text in one line if that is short enough, else in two of about equal length."""
        if width(self.text) <= LINE_WIDTH or len(self.words) == 1:
            return [self.text]
        halves = [
            [in_line(self.words[:cut]), in_line(self.words[cut:])]
            for cut in range(1, len(self.words))
        ]
        return min(halves, key=lambda lines: max(map(width, lines)))


def segments(words: Sequence[Word]) -> list[Segment]:
    """The words in order, cut at ends of sentences, at pauses, and when a segment is full."""
    found: list[Segment] = []
    start = 0
    for index in range(1, len(words) + 1):
        if index == len(words) or ends_segment(words[start:index], words[index]):
            found.append(Segment(tuple(words[start:index])))
            start = index
    return found


def ends_segment(words: Sequence[Word], following: Word) -> bool:
    """Whether a segment with `words` ends before the word `following`."""
    last = words[-1].text.strip()
    if SENTENCE_END.search(last) and not ABBREVIATION.match(last):
        return True
    if following.start_s - words[-1].end_s > SEGMENT_GAP_S:
        return True
    longer = Segment((*words, following))
    is_too_long = following.end_s - words[0].start_s > SEGMENT_S
    return is_too_long or max(map(width, longer.lines)) > LINE_WIDTH


def verbose(words: Sequence[Word], duration_s: float) -> dict[str, Any]:
    """Text, words and segments in the form of OpenAI's `verbose_json`; times in seconds."""
    return {
        "text": in_line(words),
        "duration": round(duration_s, 3),
        "words": [
            {"word": in_line([word]), "start": round(word.start_s, 3), "end": round(word.end_s, 3)}
            for word in words
        ],
        "segments": [
            {
                "id": index,
                "start": round(segment.start_s, 3),
                "end": round(segment.end_s, 3),
                "text": segment.text,
            }
            for index, segment in enumerate(segments(words))
        ],
    }


def caption_file(words: Sequence[Word], kind: str) -> str:
    """The words as a caption file; kind: a key of FILE_HEADS."""
    found = segments(words)
    next_starts_s = [*(segment.start_s for segment in found[1:]), NEVER_S]
    cues = [
        cue(number, segment, next_s, kind)
        for number, (segment, next_s) in enumerate(zip(found, next_starts_s, strict=False), 1)
    ]
    return FILE_HEADS[kind] + "".join(cues)


def cue(number: int, segment: Segment, next_s: float, kind: str) -> str:
    """A segment as an entry of a caption file; next_s: where the next segment begins.

    SRT cannot escape an arrow in the text, so the arrow is shortened there.
    """
    text = "\n".join(segment.lines)
    if kind == "srt":
        return f"{number}\n{cue_times(segment, next_s, ',')}\n{ARROW.sub('->', text)}\n\n"
    return f"{cue_times(segment, next_s, '.')}\n{escape(text, quote=False)}\n\n"


def cue_times(segment: Segment, next_s: float, mark: str) -> str:
    """The times at which a segment is shown; WebVTT requires the end to be after the start."""
    start_ms, next_ms = round(1000 * segment.start_s), round(1000 * next_s)
    shown_ms = min(start_ms + round(1000 * SHOWN_S), next_ms)
    end_ms = max(round(1000 * segment.end_s), shown_ms, start_ms + 1)
    return f"{clock(start_ms, mark)} --> {clock(end_ms, mark)}"


def clock(ms: int, mark: str) -> str:
    """A time as hours:minutes:seconds, with the `mark` before its milliseconds."""
    hours, ms = divmod(ms, 3_600_000)
    minutes, ms = divmod(ms, 60_000)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{mark}{ms % 1000:03}"


# <<< lanscribe/speech/captions.py


# >>> clients/document.py: edit it there, then run: .venv/bin/python -m clients.generate
FORMATS = ("txt", "json", *FILE_HEADS)


def document(
    words: Sequence[Word], kind: str, duration_s: float, more: Mapping[str, object] | None = None
) -> str:
    """The text of a file in one of FORMATS; more: further fields of JSON."""
    words = words if in_line(words) else []
    if kind == "txt":
        return f"{in_line(words)}\n"
    if kind == "json":
        return f"{json.dumps(verbose(words, duration_s) | dict(more or {}))}\n"
    return caption_file(words, kind)


# <<< clients/document.py


# >>> lanscribe/speech/ring.py: edit it there, then run: .venv/bin/python -m clients.generate
_BLOCK_SAMPLES = SAMPLE_RATE_HZ


class SampleRing:
    """A store of samples by their absolute index; its memory is proportional to their number.

    Small appends are merged into blocks of a second, so ten thousand appends of one sample
    cost as much as one append of ten thousand.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, Samples] = {}
        self.oldest = 0
        """The index of the oldest sample in store."""
        self.end = 0
        """The index of the next sample to come."""

    def __len__(self) -> int:
        """How many samples are in store."""
        return self.end - self.oldest

    def append(self, samples: Samples) -> None:
        """Add samples, shape (n,), at the end."""
        while len(samples):
            number, filled = divmod(self.end, _BLOCK_SAMPLES)
            if number not in self._blocks:
                self._blocks[number] = np.empty(_BLOCK_SAMPLES, dtype=np.float32)
            room = min(_BLOCK_SAMPLES - filled, len(samples))
            self._blocks[number][filled : filled + room] = samples[:room]
            self.end += room
            samples = samples[room:]

    def read(self, start: int) -> Samples:
        """Samples from index start on, shape (n,), n up to one second; (0,) at the end.

        Raises IndexError if they were dropped.
        """
        if not self.oldest <= start <= self.end:
            raise IndexError(f"sample {start} of {self.oldest} to {self.end}")
        if start == self.end:
            return np.empty(0, dtype=np.float32)
        number, offset = divmod(start, _BLOCK_SAMPLES)
        return self._blocks[number][offset : self.end - number * _BLOCK_SAMPLES]

    def forget(self, before: int) -> None:
        """Drop samples with an index less than before."""
        for number in range(self.oldest // _BLOCK_SAMPLES, before // _BLOCK_SAMPLES):
            self._blocks.pop(number, None)
        self.oldest = max(self.oldest, min(before, self.end))

    def take(self) -> Samples:
        """Read the oldest samples, shape (n,), and drop them."""
        block = self.read(self.oldest)
        self.forget(self.oldest + len(block))
        return block


# <<< lanscribe/speech/ring.py


# >>> lanscribe/speech/timeline.py: edit it there, then run: .venv/bin/python -m clients.generate
class Timeline:
    """Converts the times of an engine that heard only parts of the audio, joined together."""

    def __init__(self) -> None:
        self._cuts_s: list[float] = []
        self._skipped_s: list[float] = [0.0]

    def skip(self, at_s: float, length_s: float) -> None:
        """Note that length_s of audio was left out after at_s of heard audio."""
        self._cuts_s.append(at_s)
        self._skipped_s.append(self.skipped_s + length_s)

    @property
    def skipped_s(self) -> float:
        """How much audio was left out so far."""
        return self._skipped_s[-1]

    def whole_s(self, heard_s: float) -> float:
        """Convert a time in the heard audio to one in the whole."""
        return heard_s + self._skipped_s[bisect_right(self._cuts_s, heard_s)]

    def placed(self, start_s: float | None, end_s: float) -> tuple[float | None, float]:
        """The times of a word in the whole, where it lies entirely before a cut or after it.

        start_s is None if the engine cannot tell. An engine's times are only approximate, so the
        middle of the word decides.
        """
        first_s = end_s if start_s is None else start_s
        part = bisect_right(self._cuts_s, (first_s + end_s) / 2)
        least_s = self._cuts_s[part - 1] if part else 0.0
        most_s = self._cuts_s[part] if part < len(self._cuts_s) else end_s
        first_s = min(max(first_s, least_s), most_s) + self._skipped_s[part]
        last_s = min(max(end_s, least_s), most_s) + self._skipped_s[part]
        return None if start_s is None else first_s, last_s


# <<< lanscribe/speech/timeline.py


# >>> lanscribe/media/pieces.py: edit it there, then run: .venv/bin/python -m clients.generate
@dataclass(frozen=True, slots=True)
class About:
    """What is known of a recording before its sound; always the first piece.

    number, count: the track that is read, from 1, and how many tracks of sound there are; number is
    0 if all of them are mixed. language, title: as the file has them, or "". why: why this track
    was taken, or "" if there is only one. duration_s: as the file declares or as its size suggests,
    None if unknown.
    """

    number: int = 1
    count: int = 1
    language: str = ""
    title: str = ""
    why: str = ""
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of a recording that cannot be heard.

    start_s, end_s: where it is in the recording, all missing parts included; end_s is None if
    nobody knows, as at the end of a file that was cut off. code: damaged, it could not be decoded;
    cut_off, the recording ends before its end; gap, nothing was recorded in this time; too_long,
    the rest was not read. why: the reason, a sentence without a period. skipped_s: how much time
    the samples after it leave out; the rest of the part is silence in the samples before it.
    """

    start_s: float
    end_s: float | None
    code: Literal["damaged", "cut_off", "gap", "too_long"]
    why: str
    skipped_s: float = 0.0


Piece = About | Samples | Missing
"""A recording is a sequence of these: About, then samples, shape (n,) with n > 0, and Missing."""


class Unreadable(Exception):
    """Nothing of a recording can be heard, and why: a sentence without a period."""


class NoSuchTrack(Unreadable):
    """The recording has no track such as the one that was asked for."""


# <<< lanscribe/media/pieces.py


# >>> lanscribe/media/missing.py: edit it there, then run: .venv/bin/python -m clients.generate
MAX_PARTS = 100
"""The most parts that are told one by one; one more covers all the others."""


class MissingParts:
    """The parts of a recording that cannot be heard: few, and they cover all of them."""

    def __init__(self) -> None:
        self._parts: list[Missing] = []
        self._others: Missing | None = None
        self._due: deque[Missing] = deque()

    def __iter__(self) -> Iterator[Missing]:
        yield from self._parts
        if self._others is not None:
            yield self._others

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, part: Missing) -> None:
        """Add the next part."""
        if len(self._parts) < MAX_PARTS:
            self._parts.append(part)
            self._due.append(part)
        elif self._others is None:
            self._others = part
        else:
            self._others = joined(self._others, part)

    def due(self, before_s: float) -> Iterator[Missing]:
        """Each part that begins before before_s, once."""
        while self._due and self._due[0].start_s < before_s:
            yield self._due.popleft()

    def rest(self) -> Iterator[Missing]:
        """All parts that were not due."""
        yield from self._due
        self._due.clear()
        if self._others is not None:
            yield self._others


def joined(one: Missing, other: Missing) -> Missing:
    """A part that covers two, with the reason of the later one."""
    is_known = one.end_s is not None and other.end_s is not None
    end_s = max(one.end_s or 0.0, other.end_s or 0.0) if is_known else None
    skipped_s = one.skipped_s + other.skipped_s
    return replace(other, start_s=one.start_s, end_s=end_s, skipped_s=skipped_s)


def missing_field(parts: MissingParts) -> dict[str, Any]:
    """All parts; empty if nothing is missing."""
    return {"missing": [part_fields(part) for part in parts]} if parts else {}


def part_fields(part: Missing) -> dict[str, Any]:
    """One part."""
    end = None if part.end_s is None else round(part.end_s, 3)
    return {"start": round(part.start_s, 3), "end": end, "code": part.code, "why": part.why}


def track_field(about: About) -> dict[str, Any]:
    """The track that was heard; empty if there is only one."""
    return {} if about.count < 2 else {"track": track_fields(about)}


def track_fields(about: About) -> dict[str, Any]:
    """A track."""
    return {
        "number": about.number,
        "count": about.count,
        "language": about.language,
        "title": about.title,
        "why": about.why,
    }


# <<< lanscribe/media/missing.py


# >>> lanscribe/media/levels.py: edit it there, then run: .venv/bin/python -m clients.generate
_SCALES = (2.0**15, 2.0**23, 2.0**31)
_LOUD = 16.0
"""24 dB over full scale: no program lets so many samples get there in the scale of [-1, 1]."""
_SHARE = 0.01


class FloatScale:
    """The scale of one stream of sound; once it is known to be that of integers, it stays so."""

    def __init__(self) -> None:
        self._scale = 1.0

    def applied(
        self, channels: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """The sound in [-1, 1], shape (channels, n), and which of n samples were not numbers.

        These are 0 in it.
        """
        is_wrong: npt.NDArray[np.bool_] = np.any(~np.isfinite(channels), axis=0)
        if is_wrong.any():
            channels = np.where(np.isfinite(channels), channels, np.float32(0))
        sizes = np.abs(channels)
        most = sizes.max(initial=0)
        if most < 1 and self._scale == 1:
            return channels, is_wrong
        scale = self._scale
        if _is_of_integers(channels, sizes):
            usual = float(np.quantile(sizes, 1 - _SHARE / 10))
            scale = max(scale, next((one for one in _SCALES if usual <= 1.01 * one), _SCALES[-1]))
        if most > 1:  # a single 1 among zeros may also be a click of the usual scale
            self._scale = scale
        scaled: npt.NDArray[np.float32] = channels / np.float32(scale)
        return scaled, is_wrong


def _is_of_integers(channels: npt.NDArray[np.float32], sizes: npt.NDArray[np.float32]) -> bool:
    """Whether samples have the scale of integers: they are whole numbers, or many are large."""
    if np.array_equal(channels, np.rint(channels)):
        return bool(sizes.max() >= 1)
    return bool(np.mean(sizes > _LOUD) > _SHARE)


# <<< lanscribe/media/levels.py


# >>> lanscribe/media/source.py: edit it there, then run: .venv/bin/python -m clients.generate
_READ_BYTES = 2**16


class Source:
    """Bytes by their place. What a pipe delivers is kept in a temporary file.

    Every method but `close` raises OSError if the file cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        """file: open for reading; it stays open."""
        self.is_complete = file.seekable()
        """Whether the end is known; False while a pipe runs."""
        self._pipe: BinaryIO | io.BufferedReader = file
        self._file = file if self.is_complete else tempfile.TemporaryFile()  # noqa: SIM115 - close
        self._is_own = not self.is_complete
        self.size_bytes = file.seek(0, os.SEEK_END) if self.is_complete else 0
        """How many bytes there are; of a pipe, so far."""

    def read_at(self, place: int, count: int) -> bytes:
        """The bytes from a place on, at most `count`; b"" only at the end. Waits for a pipe."""
        self.drain(place + 1)
        self._file.seek(place)
        return self._file.read(count)

    def head_at(self, place: int, count: int) -> bytes:
        """The bytes from a place on: `count` of them, or all that there will ever be."""
        self.drain(place + count)
        return self.read_at(place, count)

    def drain(self, most_bytes: float = math.inf) -> bool:
        """Read a pipe to its end, or so far; returns whether the end is reached."""
        while not self.is_complete and self.size_bytes < most_bytes:
            self._pull()
        return self.is_complete

    def close(self) -> None:
        """Delete what was kept of a pipe."""
        if self._is_own:
            self._file.close()

    def _pull(self) -> None:
        pipe = self._pipe
        if isinstance(pipe, io.BufferedReader):
            data = pipe.read1(_READ_BYTES)  # `read` would wait for all bytes
        else:
            data = pipe.read(_READ_BYTES)
        self.is_complete = not data
        self._file.seek(self.size_bytes)
        self.size_bytes += self._file.write(data)


# <<< lanscribe/media/source.py


# >>> lanscribe/media/headers.py: edit it there, then run: .venv/bin/python -m clients.generate
_HEADER_BYTES = 2**20
"""The chunks before the sound of a WAV take less."""
_UNKNOWN_SIZE = 0x7F00_0000
"""Programs that write a WAV into a pipe declare about 2 or 4 GiB."""
_UNCOMPRESSED = {1, 3, 6, 7}
"""The codes of PCM, floats, A-law and mu-law."""
_EXTENSIBLE = 0xFFFE
"""The code of a longer header, which has the codec's own later."""
TAG = re.compile(
    rb"ID3[\x02-\x04][\x00-\x0f][\x00-\xf0][\x00-\x7f]{4}"
    rb"|APETAGEX[\xd0-\xe8]\x07\0\0.{16}"
    rb"|TAG(?=.{125}(?:\xff[\xe0-\xff]|ID3|APETAGEX|\Z))",
    re.DOTALL,
)
"""ID3v2 (id3.org, v2.4.0 structure, 3.1), APEv2 and ID3v1."""
TAG_BYTES = 128
"""The length of an ID3v1; the last 32 of an APEv2 are its footer."""
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""The objects of an ASF (WMA, WMV): its header, and the properties of the file in that."""
_ASF_BYTES = 4096
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
"""The elements of a Matroska: its header, and the one that holds everything (RFC 9559)."""
_XING = re.compile(rb"(?:Xing|Info)\0\0\0[\x01\x03\x05\x07\x09\x0b\x0d\x0f](.{4})", re.DOTALL)
_MPEG_HEADER_BYTES = 200
"""The first frame has its Xing header within this."""
_MPEG_RATES_HZ = (44_100, 48_000, 32_000, 0)


def tag_bytes(tag: bytes) -> int:
    """The length of a tag by its first bytes."""
    if tag.startswith(b"TAG"):
        return TAG_BYTES
    if tag.startswith(b"APETAGEX"):
        is_header = tag[23] & 0x20
        return 32 + (int.from_bytes(tag[12:16], "little") if is_header else 0)
    size = 0
    for byte in tag[6:10]:
        size = size << 7 | byte
    return 10 + size + (10 if tag[5] & 0x10 else 0)


def after_tags(source: Source) -> int:
    """Where a file begins behind the ID3v2 tags before it, which may be before any kind."""
    place = 0
    while (found := TAG.match(source.head_at(place, 10))) and found[0].startswith(b"ID3"):
        place += tag_bytes(found[0])
    return place


def ends_with_tag(tail: bytes) -> bool:
    """Whether a file whose last TAG_BYTES these are ends with a tag, which is no damaged sound."""
    return tail.startswith(b"TAG") or tail[-32:].startswith(b"APETAGEX")


def ogg_end_s(first: bytes, tail: bytes) -> float | None:
    """When an Ogg with Opus or Vorbis ends, by the first bytes and the last page; None if unknown.

    By RFC 3533, 6, RFC 7845, 4 and 5.1, and the Vorbis I specification, 4.2.2.
    """
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or page[14:18] != first[14:18]:  # of another track
        return None
    samples = int.from_bytes(page[6:14], "little", signed=True)
    if first[28:36] == b"OpusHead":
        return (samples - int.from_bytes(first[38:40], "little")) / 48_000
    rate_hz = int.from_bytes(first[40:44], "little") if first[28:35] == b"\x01vorbis" else 0
    return samples / rate_hz if rate_hz else None


def is_cut_off_ogg(tail: bytes) -> bool:
    """Whether an Ogg that ends with these bytes lacks its last page, or a part of that."""
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]) or not page[5] & 4


@dataclass(frozen=True, slots=True)
class Wave:
    """What the header of a WAV says: where its sound ends, and how long it is.

    Both None if it does not know, as a program that writes into a pipe. declared_s is also None of
    a codec that compresses, because programs write wrong byte rates for these.
    """

    end: int | None
    declared_s: float | None


def wave_of(source: Source, start: int) -> Wave:
    """The header of the WAV at a place."""
    place, size64, form = start + 12, 0, (0,) * 6
    order = "big" if source.head_at(start, 4) == b"RIFX" else "little"
    while len(chunk := source.head_at(place, 36)) >= 8 and place < start + _HEADER_BYTES:
        name, size = chunk[:4], int.from_bytes(chunk[4:8], order)  # type: ignore[arg-type]
        if name == b"ds64":  # RF64 (EBU Tech 3306)
            size64 = int.from_bytes(chunk[16:24], "little")
        elif name == b"fmt " and len(chunk) >= 24:
            form = struct.unpack_from(f"{'>' if order == 'big' else '<'}HHIIHH", chunk, 8)
            if form[0] == _EXTENSIBLE:
                form = (int.from_bytes(chunk[32:34], order), *form[1:])  # type: ignore[arg-type]
        elif name == b"data":
            return _wave(place + 8, size64 or size, form, source)
        place += 8 + size + size % 2
    return Wave(None, None)


def _wave(sound_at: int, size: int, form: tuple[int, ...], source: Source) -> Wave:
    """form: the codec, channels, rate in Hz, byte rate, bytes of a frame, and bits of a sample."""
    is_there = source.size_bytes >= sound_at + size
    codec, channels, rate_hz, byte_rate, frame_bytes, bits = form
    if not size or (size >= _UNKNOWN_SIZE and not is_there):
        return Wave(None, None)
    if codec not in _UNCOMPRESSED:
        return Wave(sound_at + size, None)
    bytes_per_s = rate_hz * (frame_bytes or channels * bits // 8)  # the byte rate may be wrong
    is_known = byte_rate and bytes_per_s
    return Wave(sound_at + size, size / bytes_per_s) if is_known else Wave(None, None)


def ends_wave(following: bytes, left: float) -> bool:
    """Whether the sound ends before these bytes: there are none, a chunk, a tag, or a WAV."""
    chunk = following[1:] if following[:1] == b"\0" else following  # chunks begin at even places
    size = int.from_bytes(chunk[4:8], "little")
    is_chunk = bool(re.match(rb"[ -~]{4}", chunk)) and size <= left
    return not following or is_chunk or chunk.startswith((b"RIFF", b"ID3", b"TAG", b"APETAGEX"))


def mpeg_length_s(frame: bytes) -> float | None:
    """How long an MP3 is by its Xing header, which some programs write into the first frame."""
    found = _XING.search(frame[:_MPEG_HEADER_BYTES])
    if not found or len(frame) < 4:
        return None
    version = frame[1] >> 3 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    rate_hz = _MPEG_RATES_HZ[frame[2] >> 2 & 3] >> {3: 0, 2: 1}.get(version, 2)
    samples = int.from_bytes(found[1], "big") * (1152 if version == 3 else 576)
    return samples / rate_hz if rate_hz and samples else None


def declared_bytes(source: Source, start: int) -> int:
    """How long a recording is by its header; 0 if that is unknown.

    Known of a RIFF, an IFF, a Wave64, an ASF, a CAF and a Matroska.
    """
    head = source.head_at(start, _ASF_BYTES)
    if head.startswith(_ASF):
        return int.from_bytes(head.partition(_ASF_FILE)[2][24:32], "little")
    if head.startswith(b"riff"):
        return int.from_bytes(head[16:24], "little")
    if head.startswith(b"RIFF"):
        return int.from_bytes(head[4:8], "little")
    if head.startswith((b"FORM", b"RIFX")):
        return int.from_bytes(head[4:8], "big")
    if head.startswith(_EBML):
        return _bytes_of_matroska(head)
    return _bytes_of_caf(source, start) if head.startswith(b"caff") else 0


def _bytes_of_matroska(head: bytes) -> int:
    """The header and the segment, whose size is unknown while it is recorded."""
    first, size = _ebml_size(head, 4)
    segment = first + (size or 0)
    if head[segment : segment + 4] != _SEGMENT:
        return 0
    first, size = _ebml_size(head, segment + 4)
    return first + size if size is not None else 0


def _ebml_size(data: bytes, place: int) -> tuple[int, int | None]:
    """Where the contents of an element begin, and their size; None if unknown (RFC 8794, 4)."""
    width = 9 - data[place : place + 1].ljust(1, b"\1")[0].bit_length()
    most = (1 << 7 * width) - 1
    size = int.from_bytes(data[place : place + width], "big") & most
    return place + width, None if size == most else size


def is_broken_mp4(source: Source, start: int, end: int) -> bool:
    """Whether an MP4 in fragments, which have no index, ends or breaks off within a box."""
    is_fragmented = False
    while start < end:
        box = source.head_at(start, 16)
        size = int.from_bytes(box[:4], "big")
        is_fragmented |= box[4:8] == b"moof"
        if size == 1:
            size = int.from_bytes(box[8:16], "big")
        if not size and box[4:8] == b"mdat":  # it goes to the end
            return False
        if size < 8 or start + size > end:
            return is_fragmented and not TAG.match(source.head_at(start, TAG_BYTES))
        start += size
    return False


def _bytes_of_caf(source: Source, start: int) -> int:
    """Apple's Core Audio Format: chunks with sizes of 64 bits; that of the sound may be -1."""
    place = start + 8
    while len(chunk := source.head_at(place, 12)) == 12 and place < start + _HEADER_BYTES:
        size = int.from_bytes(chunk[4:], "big", signed=True)
        if chunk.startswith(b"data") or size < 0:
            return max(0, place + 12 + size - start)
        place += 12 + size
    return 0


# <<< lanscribe/media/headers.py


# >>> lanscribe/media/kinds.py: edit it there, then run: .venv/bin/python -m clients.generate
READABLE = "WAV, FLAC, Ogg, Opus, MP3, AAC, M4A, MP4, WebM, Matroska, AIFF, AMR, WMA or the like"
_SHOWN_BYTES = 16
_NEVER = (
    (rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II\*\0|MM\0\*|BM.{4}\0\0\0\0|RIFF.{4}WEBP", "a picture"),
    (rb"\0\0\0.ftyp(?:hei[cxms]|hev[cx]|mif1|msf1|avi[fs])", "a picture"),
    (rb"\s*<(?:!doctype html|html|head|body)", "a web page: send the recording, not its page"),
    (rb"#EXTM3U|\[playlist\]|ffconcat|\s*<asx|\s*<\?xml[^>]*>\s*<(?:MPD|playlist|smil)",
     "a playlist: send the recordings that it names"),
    (rb"\s*<(?:\?xml|svg)", "a text in XML"),
    (rb"%PDF-", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive or an office document: unpack it"),
    (rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x28\xb5\x2f\xfd",
     "a packed file: unpack it"),
    (rb"MThd", "a MIDI file: it has notes and no sound"),
    (rb"\x7fELF|MZ.{58}", "a program"),
    (rb"SQLite format 3\0", "a database"),
)  # fmt: skip
_LATER = (
    (rb"\x1f\x43\xb6\x75|\xa3[\x40-\xff].?.?\x81", "a WebM"),
    (rb"....(?:moof|styp|sidx)", "an MP4"),
)
_MOVIE = rb"....(?:ftyp|moov|mdat|free|wide|skip)"
_HEADERS = (
    b"wvpk",
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"FORM",
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\x1a\x45\xdf\xa3",
)


def refusal(head: bytes) -> str:
    """Why a file that begins with these bytes is no recording; "" if it may be one."""
    if not head:
        return "the file is empty: 0 bytes"
    for pattern, what in _NEVER:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"this is {what}" if ":" in what else f"this is {what}; expected {READABLE}"
    return ""


def guess(head: bytes, size_bytes: int) -> str:
    """Why a file that begins with these bytes, and that no decoder reads, is none for them."""
    for pattern, what in _LATER:
        if re.match(pattern, head, re.DOTALL):
            return (
                f"this is a later piece of {what} recording, without the header that is in its"
                " first piece: join the pieces in their order, and send the whole"
            )
    if re.match(_MOVIE, head, re.DOTALL) and b"moov" not in head:
        return (
            "this is an MP4 without its index (moov), which is written last: the recording was cut"
            " off, or its end did not arrive"
        )
    if head.startswith(b"caff"):
        return (
            "this is a CAF without its table of packets, which is written last: the recording was"
            " cut off, or its end did not arrive"
        )
    if head.startswith(_HEADERS) or re.match(_MOVIE, head, re.DOTALL):
        return f"this is the header of a recording, of {size_bytes} bytes, and no sound follows it"
    if text := _as_text(head):
        return f"this is a text that begins with {text!r}; expected {READABLE}"
    return (
        f"it begins with {head[:_SHOWN_BYTES]!r}, as no known kind of recording; expected"
        f" {READABLE}. Raw PCM has no header: give it one, for instance by"
        " ffmpeg -f s16le -ar 16000 -ac 1 -i FILE FILE.wav, with its own encoding, rate and number"
        " of channels"
    )


def _as_text(head: bytes) -> str:
    """The first characters, if all of the head is text."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head[: len(head) // 2 * 2].decode(encoding, "ignore").replace("\ufeff", "")
    is_all = len(text.encode(encoding, "ignore")) >= len(head) - 8
    is_shown = all(letter.isprintable() or letter in "\r\n\t\f" for letter in text)
    return " ".join(text.split())[:30] if is_all and is_shown else ""


# <<< lanscribe/media/kinds.py


# >>> lanscribe/media/times.py: edit it there, then run: .venv/bin/python -m clients.generate
_Item = TypeVar("_Item")

_LEAP_S = 1.0
"""A time that differs by more from the end of the frame before is not believed at once."""
_WITNESSES_S = 6.0
"""So much sound after a leap has to confirm it: damage changes the time of a packet, or of a
cluster of 5 s in Matroska."""
_LAST_LEAP_S = 30.0
_LAST_FRAMES = 3
"""At the end a leap is believed if it is not longer, or if so many frames confirm it."""
_SAME_S = 0.3
"""Times that are as near to those before a leap continue these."""
_UNTIMED_S = 2.0
"""A frame without a time waits so long for one; in a page of an Ogg, one frame has it."""


class FrameTimes(Generic[_Item]):
    """Frames with the times of the file in, the same frames with the times to believe out.

    A time of None means: directly after the frame before.
    """

    def __init__(self) -> None:
        self._held: list[tuple[_Item, float, float | None]] = []
        self._held_s = 0.0
        self._end_s: float | None = None
        """The end of the last frame that is out, by the times of the file."""

    def add(
        self, item: _Item, length_s: float, time_s: float | None, *, is_after_fault: bool = False
    ) -> list[tuple[_Item, float | None]]:
        """Take a frame; returns those that can be placed now."""
        out: list[tuple[_Item, float | None]] = []
        if self._held and is_after_fault and self._held[0][2] is None:
            out += self._released(is_believed=False)
        if self._held and time_s is not None:
            out += self._resolved(time_s)
        self._held.append((item, length_s, time_s))
        self._held_s += length_s
        if self._is_clear():
            out += self._released(is_believed=True)
        return out

    def flush(self) -> list[tuple[_Item, float | None]]:
        """The frames that are held, at the end of the file."""
        leap_s = self._leap_s() if self._held else None
        is_short = leap_s is not None and abs(leap_s) <= _LAST_LEAP_S
        return self._released(is_believed=is_short or len(self._held) >= _LAST_FRAMES)

    def _leap_s(self) -> float | None:
        """How far what is held begins from the end of what is out; None if nobody knows."""
        time_s = self._held[0][2]
        return None if time_s is None or self._end_s is None else time_s - self._end_s

    def _is_clear(self) -> bool:
        """Whether what is held need not be held any longer."""
        _, length_s, time_s = self._held[0]
        if time_s is None:
            return self._held_s > _UNTIMED_S
        leap_s = self._leap_s()
        return leap_s is None or abs(leap_s) <= _LEAP_S or self._held_s - length_s > _WITNESSES_S

    def _resolved(self, time_s: float) -> list[tuple[_Item, float | None]]:
        """What is held, if this time of the frame after it settles where it belongs."""
        item, length_s, first_s = self._held[0]
        if first_s is None:
            self._held[0] = (item, length_s, time_s - self._held_s)
            return self._released(is_believed=True)
        if self._end_s is not None and abs(time_s - self._held_s - self._end_s) <= _SAME_S:
            return self._released(is_believed=False)
        return []

    def _released(self, *, is_believed: bool) -> list[tuple[_Item, float | None]]:
        held, self._held, self._held_s = self._held, [], 0.0
        out: list[tuple[_Item, float | None]] = []
        for item, length_s, time_s in held:
            believed_s = time_s if is_believed else None
            start_s = self._end_s if believed_s is None else believed_s
            self._end_s = None if start_s is None else start_s + length_s
            out.append((item, believed_s))
        return out


# <<< lanscribe/media/times.py


# >>> lanscribe/media/parts.py: edit it there, then run: .venv/bin/python -m clients.generate
_STEP_BYTES = 2**16
_SEEN_BYTES = 200
"""No beginning or tag is recognised by more bytes."""
_TAIL_BYTES = 70_000
"""More than the longest page of an Ogg."""
_PADDING_BYTES = 8
"""A Wave64 counts the bytes that fill it up, and need not have them."""
_SLACK_BYTES = 100
"""The size of a WAV may count its header, too."""
_MP4_BOXES = {b"ftyp", b"moov", b"styp"}
_OGG_BODY = re.compile(rb"OggS\0[\x00\x01\x04\x05]")
"""A page that is not the first of its track."""


def begins(*patterns: bytes) -> re.Pattern[bytes]:
    """What a recording of a kind begins with."""
    return re.compile(b"|".join(patterns), re.DOTALL)


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file, as far as it matters where its recordings begin and end.

    begin: what one begins with. is_stream: whether it can be read without seeking, as from a pipe.
    is_framed: whether it is nothing but frames with tags among them, so that it never ends.
    """

    name: str
    begin: re.Pattern[bytes]
    is_stream: bool = False
    is_framed: bool = False


FILE_KINDS = (
    FileKind("wav", begins(rb"(?:RIFF|RIFX|RF64|BW64).{4}WAVE(?:[ -~]{4})"), is_stream=True),
    FileKind("flac", begins(rb"fLaC[\x00\x80]\0\0\x22"), is_stream=True),
    FileKind("ogg", begins(rb"OggS\0[\x02\x03\x06\x07]"), is_stream=True),
    FileKind("amr", begins(rb"#!AMR(?:-WB)?\n"), is_stream=True),
    FileKind("adts", begins(rb"\xff[\xf0\xf1\xf8\xf9]"), is_stream=True, is_framed=True),
    FileKind(
        "mpeg", begins(rb"ID3[\x02-\x04]", rb"\xff[\xe2-\xff]"), is_stream=True, is_framed=True
    ),
    FileKind("mov", begins(rb"\0\0\0.ftyp")),
    FileKind("matroska", begins(rb"\x1a\x45\xdf\xa3.{1,40}?(?:webm|matroska)")),
    FileKind("asf", begins(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c")),
    FileKind("avi", begins(rb"RIFF.{4}AVI LIST")),
    FileKind("aiff", begins(rb"FORM.{4}AIF[FC](?:COMM|FVER|MARK|INST|COMT|ID3 )")),
    FileKind("caf", begins(rb"caff\0\x01\0\0desc")),
    FileKind("w64", begins(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0")),
    FileKind("au", begins(rb"\.snd\0\0\0.{9}\0\0\0.\0.{2}\0\0\0[\x01-\x20]")),
    FileKind("flv", begins(rb"FLV\x01[\x01\x04\x05]\0\0\0\x09")),
    FileKind("nut", begins(rb"nut/multimedia container\0")),
    FileKind("rm", begins(rb"\.RMF\0\0\0\x12\0")),
    FileKind("voc", begins(rb"Creative Voice File\x1a\x1a\0")),
    FileKind("wv", begins(rb"wvpk.{4}[\x02-\x10]\x04.{6}\0{4}")),
    FileKind("nist", begins(rb"NIST_1A\n   1024\n")),
    FileKind("svx", begins(rb"FORM.{4}(?:8SVX|16SV)")),
    FileKind("smjpeg", begins(rb"\0\nSMJPEG\0{4}")),
    FileKind("mmf", begins(rb"MMMD.{4}CNTI")),
    FileKind("ape", begins(rb"MAC [\x00-\xff]\x0f\0\0\x34\0\0\0")),
    FileKind("wtv", begins(rb"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d")),
    FileKind(
        "mat",
        begins(
            rb"(?:\0{4}\x01\0\0\0\x01\0{7}\x0b\0{3}|\0\0\x03\xe8\0\0\0\x01\0\0\0\x01\0{7}\x0b)samplerate\0"
        ),
    ),
    FileKind("ast", begins(rb"STRM.{4}\0[\x00\x01]\0\x10")),
    FileKind("argo_asf", begins(rb"ASF\0\x02\0[\x00\x01]\0")),
    FileKind("tta", begins(rb"TTA1[\x01-\x03]\0[\x01-\x20]\0[\x01-\x20]\0")),
)
"""Those whose recordings can follow one another in a file; the first that matches holds."""
ANY_STREAM = FileKind("", begins(rb"(?!)"), is_stream=True)
"""Any other kind, read from a pipe while it runs."""


def file_kind(head: bytes) -> FileKind | None:
    """The kind of a file by its first bytes; None if it is none of FILE_KINDS."""
    return next((kind for kind in FILE_KINDS if kind.begin.match(head)), None)


def next_begin(source: Source, kind: FileKind, place: int) -> int | None:
    """Where the next recording of a kind begins, from a place on."""
    data = b""
    while block := source.read_at(place + len(data), _STEP_BYTES):
        data += block
        if found := kind.begin.search(data):
            return place + found.start()
        place += max(0, len(data) - _SEEN_BYTES)
        data = data[-_SEEN_BYTES:]
    return None


class Stream:
    """One recording of a source, read from its beginning to its end without seeking.

    Tags between the frames of an MP3 are left out. So are the chunks after the sound of a WAV.
    """

    def __init__(self, source: Source, kind: FileKind, start: int) -> None:
        self.end: int | None = None
        """The place of the end, as soon as it is reached."""
        self.declared_s: float | None = None
        """How long the recording is by its first bytes; None if they do not say it."""
        self._source = source
        self.kind = kind
        self._start = start
        self.place = start
        """How far the source was read."""
        self.is_live = not source.is_complete
        """Whether it may still run."""
        self._limit: int | None = None
        self._wave_end: int | None = None
        self._ready = self._tail = b""
        if kind.name == "wav":
            wave = wave_of(source, start)
            self._limit, self.declared_s = wave.end, wave.declared_s
            self._wave_end = wave.end or 0

    size_bytes = None
    """It is read to its end in any case."""

    @property
    def is_tagged(self) -> bool:
        """Whether it ends with a tag, which FFmpeg may take for damage."""
        return ends_with_tag(self._tail[-TAG_BYTES:])

    @property
    def lacks(self) -> str:
        """Why the recording may be cut off; "" if it is not, or if its kind cannot tell."""
        if self.end is None:
            return ""
        if self.kind.name == "ogg":
            is_cut_off = is_cut_off_ogg(self._tail)
            return "the file ends without the mark of its end" if is_cut_off else ""
        return _lacks(self._source, self._start, self.end, self._wave_end)

    @property
    def end_s(self) -> float | None:
        """When the sound ends by its own times; None if it does not say it."""
        if self.end is None or self.kind.name != "ogg":
            return None
        return ogg_end_s(self._source.head_at(self._start, _SEEN_BYTES), self._tail)

    def read(self, count: int) -> bytes:
        """The next bytes, at most `count`; b"" only at the end."""
        while not self._ready and self.end is None:
            self._ready = self._next()
            if not self._tail and self.kind.is_framed:
                self.declared_s = mpeg_length_s(self._ready)
            self._tail = (self._tail + self._ready)[-_TAIL_BYTES:]
        data, self._ready = self._ready[:count], self._ready[count:]
        return data

    def _next(self) -> bytes:
        """The next bytes; b"" at the end, and where there are only tags."""
        if self._limit is not None:
            return self._before_limit(self._limit)
        data = self._ahead()
        is_last = len(data) <= _SEEN_BYTES
        at, skipped = len(data) if is_last else len(data) - _SEEN_BYTES, 0
        if mark := self._mark(data):
            at, skipped = mark
        if (mark and not skipped) or (is_last and not mark):
            self.end = self.place + at
        self.place += at + skipped
        return data[:at]

    def _ahead(self) -> bytes:
        """The bytes from here on: more than _SEEN_BYTES, or all that are left."""
        self._source.drain(self.place + _SEEN_BYTES + 1)
        return self._source.read_at(self.place, _STEP_BYTES)

    def _mark(self, data: bytes) -> tuple[int, int] | None:
        """Where the next recording begins in the data, and 0; or a tag, and its length."""
        if self.kind.is_framed:
            tag = TAG.search(data)
            return (tag.start(), tag_bytes(tag[0])) if tag else None
        first = 1 if self.place == self._start else 0
        if self.kind.name == "ogg":  # which begins with a page for each of its tracks
            body = _OGG_BODY.search(self._tail + data)
            first = max(first, body.end() - len(self._tail)) if body else len(data)
        begin = self.kind.begin.search(data, first)
        return (begin.start(), 0) if begin else None

    def _before_limit(self, limit: int) -> bytes:
        """The next bytes up to where the sound of a WAV ends by its header."""
        if self.place < limit:
            data = self._source.read_at(self.place, min(limit - self.place, _STEP_BYTES))
            self.place += len(data)
            if not data:
                self.end = self.place
            return data
        following = self._source.head_at(limit, 12)
        end = self._source.size_bytes if self._source.is_complete else math.inf
        if ends_wave(following, end - limit):
            self.end = limit
        self._limit = None  # else the header was written before the sound, as of a live recording
        return b""


class Window:
    """A part of a source as a file that can be sought in, for the libraries.

    An impossible place is ignored: libraries seek to before the beginning of a damaged file, in
    calls from C, where Python can only print the exception and go on.
    """

    def __init__(self, source: Source, start: int = 0, end: int | None = None) -> None:
        source.drain()
        self._source = source
        self._start = start
        self.end = source.size_bytes if end is None else end
        self.place = start
        self.lacks = _lacks(source, start, self.end)
        """Why the recording may be cut off; "" if it is not, or if its kind cannot tell."""
        self.size_bytes = self.end - start
        tail = source.head_at(max(start, self.end - TAG_BYTES), min(TAG_BYTES, self.size_bytes))
        self.is_tagged = ends_with_tag(tail)
        """Whether it ends with a tag, which FFmpeg may take for damage."""

    def read(self, count: int = -1) -> bytes:
        """The next bytes, at most `count`; b"" only at the end."""
        left = self.end - self.place
        data = self._source.read_at(self.place, left if count < 0 else min(count, left))
        self.place += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer with the next bytes; returns how many there were."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def tell(self) -> int:
        """The place in the part."""
        return self.place - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place in the part and return it."""
        origin = {os.SEEK_SET: self._start, os.SEEK_CUR: self.place, os.SEEK_END: self.end}
        place = origin.get(whence, -offset) + offset
        self.place = place if self._start <= place <= self.end else self.place
        return self.tell()


def _lacks(source: Source, start: int, end: int, wave_end: int | None = None) -> str:
    """Why a recording may be cut off, or damaged so that its rest is not found; "" if it is not.

    wave_end: where the sound of a WAV ends by its header, 0 if that is unknown; sizes count less
    than that, because some programs count the header, too.
    """
    if wave_end is not None:
        is_short = wave_end > end + _SLACK_BYTES
    else:
        is_short = declared_bytes(source, start) > end - start + _PADDING_BYTES
    if is_short:
        return "the file is shorter than its header says"
    is_mp4 = source.head_at(start + 4, 4) in _MP4_BOXES
    if is_mp4 and is_broken_mp4(source, start, end):
        return "the rest of the file is damaged or cut off"
    return ""


# <<< lanscribe/media/parts.py


# >>> lanscribe/media/ffmpeg.py: edit it there, then run: .venv/bin/python -m clients.generate
_DEMUXERS = (
    "mov,matroska,mp3,aac,loas,ogg,flac,wav,w64,aiff,caf,au,amr,asf,avi,flv,mpegts,mpeg,ac3,eac3,wv,"
    "ape,nut,rm,wtv,gxf,mxf,swf,smjpeg,spdif,tta,tak,shn,mpc,mpc8,dts,dtshd,truehd,mlp,dsf,iff,oma,"
    "qcp,nistsphere,ircam,voc,sox,pvf,mmf,adx,alp,apm,argo_asf,ast,kvag,daud,rso"
)
"""The formats that FFmpeg may detect: none that names other files or addresses, as playlists do."""
_TIMED = {"mov", "matroska", "ogg", "flac", "mpegts", "mpeg", "asf", "flv", "nut", "wv", "tta"}
"""The formats in which a frame has its own time; in others it follows the one before."""
_GAPLESS = {"mp3", "aac", "loas", "ac3", "eac3", "amr", "wv", "dts", "truehd", "mlp"}
"""The formats that are frames and nothing else: bytes between them are damage, not headers."""
_EVEN = {"mp3", "ac3", "eac3", "wav", "w64"}
"""Those whose frames have a largest size, or all the same."""
_CHECKED = {"flac", "tta", "wavpack"}
"""Codecs whose frames have a checksum. Of others, FFmpeg must also play what is a little wrong."""
_ANALYSED_US = "100000"
"""How much of a stream that still runs is read before its first frame; FFmpeg's own is 5 s."""
_INDEXED = {"mov", "avi", "wtv", "mpeg"}
"""The formats that may end with an index, or padding, as long as a second of sound and more."""
_REST_S, _REST_BYTES = 1.0, 8192
_NO_SOUND = "these bytes are no sound"
_DAMAGED = ("Invalid data found", "Not yet implemented in FFmpeg", "Error number ")
"""How FFmpeg calls what it cannot decode."""
_UNREAD = "the rest of the file cannot be read"
_JUNK_BYTES, _JUNK_SHARE = 2000, 3
"""A packet of such a stream that is larger, and so many times the usual, has junk in it."""
_PACKET_BYTES = 2**24
"""The largest packet that is decoded; it holds three seconds of the sound with the highest rate."""
_SAMPLES_AT_ONCE = 2**21
"""The most samples of a channel in one packet; the longest real ones, Monkey's Audio, have half."""
_PATIENCE = 100
"""After so many errors in a row nothing more can be read."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be decoded: how long it is as far as its bytes tell, and why."""

    length_s: float
    why: str


def open_container(file: Stream | Window) -> InputContainer:
    """The recording as FFmpeg sees it. Raises av.FFmpegError or Unreadable if it cannot read it."""
    options = {"format_whitelist": _DEMUXERS, "codec_whitelist": _decoders_of_sound()}
    if isinstance(file, Stream):
        options |= {"ignore_length": "1"}  # of a WAV; Stream knows better
        if file.is_live and file.kind is not ANY_STREAM:
            options |= {"analyzeduration": _ANALYSED_US}
        if file.kind.name == "adts":
            options |= {"fflags": "noparse"}  # the parser tells wrong places after damage
    try:
        return av.open(file, "r", metadata_errors="replace", options=options)
    except av.FFmpegError:
        raise
    except ValueError as error:  # of PyAV
        raise Unreadable(str(error)) from error


@cache
def _decoders_of_sound() -> str:
    """The decoders that FFmpeg may use, all of sound: probing a video track may take gigabytes."""
    names = []
    for name in av.codecs_available:
        with suppress(UnknownCodecError):  # it has only an encoder
            if av.Codec(name).type == "audio":
                names.append(name)
    return ",".join(names)


def tracks_of(container: InputContainer) -> list[AudioStream]:
    """The tracks of sound that can be decoded."""
    tracks = [track for track in container.streams.audio if track.codec_context is not None]
    for track in tracks:
        track.codec_context.options = {"max_samples": str(_SAMPLES_AT_ONCE)}
        if track.codec_context.name in _CHECKED:
            track.codec_context.options |= {"err_detect": "crccheck+explode"}
    return tracks


def is_timed(container: InputContainer) -> bool:
    """Whether the frames have their own times."""
    return container.format.name.split(",")[0] in _TIMED


class Frames:
    """The sound of a track frame by frame, and what cannot be decoded of it."""

    def __init__(
        self, container: InputContainer, track: AudioStream, size_bytes: int | None = None
    ) -> None:
        """size_bytes: of the file, if it is not read to its end in any case."""
        self._size_bytes = size_bytes
        self._container = container
        self._track = track
        self._is_even = container.format.name in _EVEN
        self._is_gapless = container.format.name in _GAPLESS
        self._good_end = 0
        self._good_packets, self._good_bytes, self._good_s = 0, 0, 0.0

    def __iter__(self) -> Iterator[AudioFrame | Fault]:
        end: int | None = None
        for packet in self._packets():
            if isinstance(packet, Fault):
                yield packet
                continue
            if end is not None and packet.pos is not None and packet.pos > end:
                yield self._fault(packet.pos - end, _NO_SOUND)
            yield from self._decoded(packet)
            is_placed = self._is_gapless and packet.pos is not None
            end = packet.pos + packet.size if is_placed and packet.pos is not None else None
        if fault := self._rest():
            yield fault

    def _packets(self) -> "Iterator[Packet[AudioStream] | Fault]":
        errors = 0
        while errors < _PATIENCE:
            try:
                for packet in self._container.demux(self._track):
                    errors = 0
                    yield packet
                return
            except EOFError:
                return
            except (av.FFmpegError, ValueError) as error:
                errors += 1
                yield Fault(0.0, reason(error))

    def _decoded(self, packet: "Packet[AudioStream]") -> Iterator[AudioFrame | Fault]:
        if packet.size > _PACKET_BYTES:
            why = f"a packet of {packet.size} bytes is too large to decode"
            yield self._fault_of(packet, why)
            return
        start = self._good_end if packet.pos is None else packet.pos
        try:
            for frame in packet.decode():
                if isinstance(frame, AudioFrame) and frame.samples and frame.sample_rate:
                    self._good_s += frame.samples / frame.sample_rate
                    self._good_end = start + packet.size
                    yield frame
            yield from self._junk_in(packet)
        except EOFError:
            return
        except (av.FFmpegError, ValueError) as error:
            if packet.size:  # else it is the end
                yield self._fault_of(packet, reason(error))

    def _junk_in(self, packet: "Packet[AudioStream]") -> Iterator[Fault]:
        """What follows the frame in a packet that was decoded."""
        self._good_packets += 1
        usual = self._good_bytes / self._good_packets
        if self._is_even and packet.size > max(_JUNK_BYTES, _JUNK_SHARE * usual) and usual:
            self._good_bytes += round(usual)
            yield self._fault(packet.size - round(usual), _NO_SOUND)
        else:
            self._good_bytes += packet.size

    def _rest(self) -> Fault | None:
        """What is behind the last packet with sound, if it is too long for an index."""
        name = self._container.format.name.split(",")[0]
        if not self._size_bytes or name in _INDEXED or len(self._container.streams) > 1:
            return None
        rest_bytes = self._size_bytes - self._good_end
        rest = self._fault(rest_bytes if rest_bytes > _REST_BYTES else 0, _UNREAD)
        return rest if rest.length_s > _REST_S else None

    def _fault_of(self, packet: "Packet[AudioStream]", why: str) -> Fault:
        """A packet without sound, as long as it says, or by its bytes."""
        if packet.stream.codec_context.name in _CHECKED and packet.duration and packet.time_base:
            return Fault(float(packet.duration * packet.time_base), why)
        return self._fault(packet.size, why)

    def _fault(self, size_bytes: int, why: str) -> Fault:
        """Bytes without sound, as long as bytes with sound are on average."""
        return Fault(size_bytes * self._good_s / max(1, self._good_bytes), why)


def reason(error: Exception) -> str:
    """The reason of an error of FFmpeg as a sentence without a period."""
    text = str(error.strerror) if isinstance(error, av.FFmpegError) else str(error)
    if text.startswith(_DAMAGED):
        return "the data are damaged, or of a kind that is not known"
    return text or type(error).__name__


# <<< lanscribe/media/ffmpeg.py


# >>> lanscribe/media/tape.py: edit it there, then run: .venv/bin/python -m clients.generate
PAUSE_S = 1.0
"""Of a hole that is longer, this much is heard as silence, and the rest is left out: a pause
separates two sentences and costs the engine nothing."""
_BLOCK_S = 0.5
_BLOCK_VALUES = 2**18

Form = tuple[int, tuple[str, ...]]
"""The rate in Hz and the names of the channels."""


class Tape:
    """A recording as far as it is read: decoded sound in, pieces out."""

    def __init__(self) -> None:
        self.at_s = 0.0
        """How long the recording is so far, with what is missing in it."""
        self.has_sound = False
        self._form: Form = (0, ())
        self._mixer = Mixer(SAMPLE_RATE_HZ)
        self._resampler = Resampler(SAMPLE_RATE_HZ)
        self._scale = FloatScale()
        self._waiting: list[npt.NDArray[np.float32]] = []
        self._count = 0
        self._ready: list[Samples] = []
        self._ready_count = 0

    def add(
        self, channels: npt.NDArray[np.float32], rate_hz: int, names: Sequence[str]
    ) -> Iterator[Piece]:
        """Add decoded sound, shape (channels, n), with the names of its channels, such as FL.

        Raises Unreadable if the rate cannot be resampled.
        """
        form = (rate_hz, (str(len(channels)), *names))
        if form != self._form:
            yield from self._settle()
            self._mixer = Mixer(rate_hz, weights_of(names))
            self._resampler = _resampler(rate_hz)
            self._form = form
        self._waiting.append(channels)
        self._count += channels.shape[1]
        if self._count >= _BLOCK_S * rate_hz or self._count * len(channels) >= _BLOCK_VALUES:
            yield from self._mix()

    def miss(
        self, code: Literal["damaged", "gap"], why: str, length_s: float, *, is_told: bool = True
    ) -> Iterator[Piece]:
        """Add a part without sound: silence of up to PAUSE_S, and of what is longer nothing."""
        yield from self._mix()
        start_s, paused_s = self.at_s, min(length_s, PAUSE_S)
        silence = np.zeros(round(paused_s * self._rate_hz), dtype=np.float32)
        yield from self._write(self._resampler.feed(silence), len(silence) / self._rate_hz)
        skipped_s = max(0.0, length_s - PAUSE_S)
        if skipped_s:
            yield from self.flush()
            self.at_s += skipped_s
        if is_told:
            yield Missing(start_s, start_s + length_s, code, why, skipped_s)

    def flush(self) -> Iterator[Piece]:
        """The sound that was held back; what is added next is a new stream."""
        yield from self._settle()
        if self._ready_count:
            yield np.concatenate(self._ready)
            self._ready, self._ready_count = [], 0

    @property
    def time_s(self) -> float:
        """How long the recording is with the sound that was not yet mixed."""
        return self.at_s + self._count / self._rate_hz

    @property
    def _rate_hz(self) -> int:
        return self._form[0] or SAMPLE_RATE_HZ

    def _settle(self) -> Iterator[Piece]:
        yield from self._mix()
        yield from self._write(self._resampler.flush(), 0.0)

    def _mix(self) -> Iterator[Piece]:
        if not self._count:
            return
        channels = np.concatenate(self._waiting, axis=1)
        self._waiting, self._count = [], 0
        start_s, length_s = self.at_s, channels.shape[1] / self._rate_hz
        channels, is_wrong = self._scale.applied(channels)
        mono = clipped(self._mixer.feed(channels))
        yield from self._write(self._resampler.feed(mono), length_s)
        if is_wrong.any():
            first, last = np.flatnonzero(is_wrong)[[0, -1]] / self._rate_hz
            yield Missing(start_s + first, start_s + last, "damaged", "samples are not numbers")

    def _write(self, samples: Samples, length_s: float) -> Iterator[Piece]:
        self.at_s += length_s
        if not len(samples):
            return
        self.has_sound = True
        self._ready.append(samples)
        self._ready_count += len(samples)
        if self._ready_count >= _BLOCK_S * SAMPLE_RATE_HZ:
            yield np.concatenate(self._ready)
            self._ready, self._ready_count = [], 0


def _resampler(rate_hz: int) -> Resampler:
    try:
        return Resampler(rate_hz)
    except ValueError as error:
        raise Unreadable(str(error)) from error


# <<< lanscribe/media/tape.py


# >>> lanscribe/media/bounds.py: edit it there, then run: .venv/bin/python -m clients.generate
SECONDS_PER_BYTE = 0.05
"""No codec takes fewer than 20 bytes for a second of sound. Speech takes 600 (AMR at 4.75 kbit/s)
and more, its pauses 25 (Opus with DTX, in packets of 120 ms) to 50 (AMR). Silence in AAC, Vorbis
and Opus takes 64 (AAC at 8 kHz) to 600, as measured."""
SILENCE_SHARE = 0.1
"""The share of digital silence that counts: a second of it takes 7 bytes in WavPack (8 kHz), 13
(4 kHz) to 150 (48 kHz) in FLAC, and next to no work."""
FREE_S = 60.0
"""Any file may be this long."""
LONGEST_S = 86_400.0
"""The longest recording, its missing parts included: a day."""


class Length:
    """The length of a recording so far, checked against what its bytes can hold."""

    def __init__(self) -> None:
        self._samples = self._zeros = self._size_bytes = 0
        self._skipped_s = 0.0

    @property
    def at_s(self) -> float:
        """How long the recording is so far, its missing parts included."""
        return duration_s(self._samples) + self._skipped_s

    def add(self, piece: Piece, size_bytes: int) -> None:
        """Add the next piece of a recording of which so many bytes were there."""
        if isinstance(piece, Missing):
            self._skipped_s += piece.skipped_s
        elif not isinstance(piece, About):
            self._samples += len(piece)
            self._zeros += len(piece) - int(np.count_nonzero(piece))
        self._size_bytes = size_bytes

    def excess(self, *, is_live: bool) -> str:
        """Why the recording is too long; "" if it is not. One that still runs has no longest."""
        counted_s = duration_s(self._samples) - (1 - SILENCE_SHARE) * duration_s(self._zeros)
        if counted_s > FREE_S + SECONDS_PER_BYTE * self._size_bytes:
            return f"no codec holds so much sound in {self._size_bytes} bytes: send it as WAV"
        if self.at_s > LONGEST_S and not is_live:
            return f"it is longer than {LONGEST_S / 3600:g} h: send a part at a time"
        return ""


# <<< lanscribe/media/bounds.py


# >>> lanscribe/media/mixed.py: edit it there, then run: .venv/bin/python -m clients.generate
_STEP = sample_count(0.5)


def together(tracks: Sequence[Iterator[Piece]]) -> Iterator[Channels | Missing]:
    """The sound of all tracks, shape (tracks, n), as long as the longest, and what any misses."""
    lanes = [_Lane(track) for track in tracks]
    while True:
        for lane in lanes:
            yield from lane.fill()
        count = min(_STEP, max(lane.count for lane in lanes))
        if not count:
            return
        yield np.stack([lane.take(count) for lane in lanes])


class _Lane:
    """One track with silence for what is missing in it and after its end."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._sound: Samples = np.empty(0, dtype=np.float32)
        self._silence = 0

    @property
    def count(self) -> int:
        """How many samples are at hand."""
        return len(self._sound)

    def fill(self) -> Iterator[Missing]:
        """Read until a step is at hand, or the end is reached; what is missing is yielded."""
        while len(self._sound) < _STEP:
            if self._silence:
                count = min(self._silence, _STEP - len(self._sound))
                self._silence -= count
                self._sound = np.pad(self._sound, (0, count))
                continue
            piece = next(self._pieces, None)
            if piece is None:
                return
            if isinstance(piece, Missing):
                self._silence = sample_count(piece.skipped_s)
                yield replace(piece, skipped_s=0.0)
            elif not isinstance(piece, About):
                self._sound = np.concatenate([self._sound, piece])

    def take(self, count: int) -> Samples:
        """The next samples, shape (count,), with zeros after the end."""
        taken, self._sound = self._sound[:count], self._sound[count:]
        return np.pad(taken, (0, count - len(taken)))


# <<< lanscribe/media/mixed.py


# >>> lanscribe/media/tracks.py: edit it there, then run: .venv/bin/python -m clients.generate
MIXED = "all"
_DEFAULT = "default"
_MOST_DESCRIBED, _MOST_LETTERS = 20, 50


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What a file says of a track of sound."""

    language: str
    title: str
    is_default: bool


def chosen(
    tracks: Sequence[TrackFacts], best: int, wanted: str, has_sound: Callable[[int], bool]
) -> tuple[int | None, str]:
    """The index of the wanted track, None for all of them mixed, and why.

    best: the index of the one that FFmpeg prefers. has_sound is asked only if the wish leaves the
    choice open. Raises NoSuchTrack.
    """
    wanted = wanted.strip()
    if wanted == MIXED:
        return None, "all tracks were asked for"
    numbers = [str(number) for number in range(1, len(tracks) + 1)]
    if wanted in numbers:
        return numbers.index(wanted), "it was asked for"
    if wanted == _DEFAULT:
        marked = [index for index, track in enumerate(tracks) if track.is_default]
        return (marked[0], "it is the default") if marked else (0, "it is the first")
    if not wanted:
        return _first_with_sound(len(tracks), best, has_sound)
    language = _standard(wanted)
    for index, track in enumerate(tracks):
        if language and _standard(track.language) == language:
            return index, f"its language is {track.language}"
    raise NoSuchTrack(
        f"got the track {wanted[:50]!r}; expected a number from 1 to {len(tracks)}, a language,"
        f" {_DEFAULT} or {MIXED}; the tracks are {described(tracks)}"
    )


def _first_with_sound(count: int, best: int, has_sound: Callable[[int], bool]) -> tuple[int, str]:
    if count == 1:
        return 0, ""
    order = [best, *(index for index in range(count) if index != best)]
    taken = next((index for index in order if has_sound(index)), best)
    if taken == best:
        return best, "it is the default"
    return taken, f"track {best + 1} is silent"


def _standard(language: str) -> str:
    """A code of a language as the shortest of ISO 639, so that de, deu and ger are the same."""
    import langcodes  # noqa: PLC0415  it takes 40 ms, and few ask for a language

    try:
        return langcodes.Language.get(language).language or ""
    except ValueError:
        return ""


def described(tracks: Sequence[TrackFacts]) -> str:
    """The tracks in words, the first of many."""
    words = []
    for number, track in enumerate(tracks[:_MOST_DESCRIBED], start=1):
        facts = [fact[:_MOST_LETTERS] for fact in (track.language, track.title) if fact]
        words.append(f"{number} ({', '.join(facts)})" if facts else str(number))
    others = len(tracks) - len(words)
    return ", ".join(words) + (f" and {others} others" if others else "")


# <<< lanscribe/media/tracks.py


# >>> lanscribe/media/sndfile.py: edit it there, then run: .venv/bin/python -m clients.generate
_READ_VALUES = 2**16
_HEADS = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"NIST", b"Crea",
    b"2BIT", b"PVF1", b" paf", b"fap ", b"MATL", b"Exte", b"d\xa3", b"\1\4", b"caff", b"\0\0",
    b"dns.", b"ALaw",
)  # fmt: skip
"""The beginnings of files that libsndfile gets. It gets no MP3, MIDI or ALAC, and nothing that it
takes for one: libraries that it uses for these write messages to the terminal."""
_HTK = re.compile(rb".{8}\0\x02\0\0", re.DOTALL)
_ITS_OWN = re.compile(
    rb"RIFX|(?:RIFF|RF64).{4}WAVE.{0,200}?fmt .{4}"
    rb"(?:\x40\0|\x38\0.{10}[\x2a\x3e\x52]\0|\xfe\xff.{12}\x20\0.{2}(?!\0\0|\x20\0).{6}\x01\0)",
    re.DOTALL,
)
"""WAV in big-endian order, with G.721, with NMS ADPCM, or with PCM of 24 bits in 32, as Windows
records it: FFmpeg plays noise for these."""


def is_its_own(head: bytes) -> bool:
    """Whether FFmpeg takes a file that begins with these bytes for something else."""
    return bool(_ITS_OWN.match(head))


def by_libsndfile(file: Window, head: bytes, tape: Tape) -> Iterator[Piece]:
    """The sound of a file; nothing if libsndfile cannot read it."""
    if not head.startswith(_HEADS) and not _HTK.match(head):
        return
    try:
        sound = soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, TypeError):
        return
    with sound:
        frames = max(1, _READ_VALUES // sound.channels)
        declared_s = sound.frames / sound.samplerate
        end_s = tape.time_s + declared_s
        try:
            while len(block := sound.read(frames, dtype="float32", always_2d=True)):
                yield from tape.add(block.T, sound.samplerate, ())
        except soundfile.LibsndfileError as error:
            why = str(error.error_string).removeprefix("Error : ").rstrip(".")
            yield from tape.flush()
            yield Missing(tape.time_s, end_s, "damaged", why)
            return
    yield from tape.flush()
    if file.lacks:
        yield Missing(tape.time_s, None, "cut_off", file.lacks)
    elif tape.time_s < end_s - 0.1:
        why = f"the file ends early: it declares {declared_s:.1f} s"
        yield Missing(tape.time_s, end_s, "cut_off", why)


# <<< lanscribe/media/sndfile.py


# >>> lanscribe/media/recording.py: edit it there, then run: .venv/bin/python -m clients.generate
_GAP_S = 0.1
"""A hole in the times that is longer is filled, so that what follows keeps its time."""
_NOTHING = "the file has no sound for this time: nothing was recorded, or it is damaged"
_TOLD_S = 1.0
"""A hole that is longer is told even if nothing is damaged: recorders leave out what is silent."""
_BACK_S = 0.5
"""Times that go back by more begin again, as where recordings are joined."""
_WITHOUT_HOLES = {"flac", "ogg"}
"""The formats in which a hole is always damage."""
_JITTER_S = 0.02
_ROUNDING_S = 0.005
"""Containers round times to a millisecond."""
_SHORT_BY_S = 0.15
"""A recording that ends this much before it says it does was cut off."""
_DECLARING = {
    *("mov", "flac", "mp3", "wav", "aiff", "au", "tta", "ape", "wv", "nistsphere", "mxf", "rm"),
    *("avi", "apm", "ast", "argo_asf", "kvag", "smjpeg"),
}
"""The formats whose header has the length; of others FFmpeg only estimates it. An MP3 has it in a
Xing header; FFmpeg cannot estimate a stream of unknown size. An AIFF with GSM counts packets or
samples, and an AVI with ADPCM counts something else."""


class Recording:
    """One recording, which is read once."""

    def __init__(
        self, container: InputContainer, track: AudioStream, file: Stream | Window, tape: Tape
    ) -> None:
        self._container = container
        self._track = track
        self._file = file
        self._tape = tape
        self._is_timed = is_timed(container)
        self._start_s = tape.time_s
        self._shift_s: float | None = None
        self._converter = _Converter()

    def pieces(self) -> Iterator[Piece]:
        """Its sound, and what is missing. Raises Unreadable if its rate cannot be resampled."""
        faults: list[Fault] = []
        times = FrameTimes[tuple[AudioFrame, list[Fault]]]()
        for event in Frames(self._container, self._track, self._file.size_bytes):
            if isinstance(event, Fault):
                faults.append(event)
                continue
            item, faults = (event, faults), []
            if not self._is_timed:
                yield from self._add(item, None)
                continue
            length_s, is_after_fault = event.samples / event.sample_rate, bool(item[1])
            for placed in times.add(item, length_s, event.time, is_after_fault=is_after_fault):
                yield from self._add(*placed)
        for placed in times.flush():
            yield from self._add(*placed)
        yield from self._tape.flush()
        if faults and not self._tape.has_sound:
            raise Unreadable(f"none of its sound can be decoded: {faults[0].why}")
        yield from self._end(faults)

    def _add(self, item: tuple[AudioFrame, list[Fault]], time_s: float | None) -> Iterator[Piece]:
        """What is missing before a frame, and its sound."""
        frame, faults = item
        yield from self._miss(self._gap_s(time_s, faults), faults)
        names = [channel.name for channel in frame.layout.channels]
        yield from self._tape.add(self._converter.floats(frame), frame.sample_rate, names)

    def _miss(self, gap_s: float, faults: Sequence[Fault]) -> Iterator[Piece]:
        """A gap between frames."""
        if faults and gap_s > _ROUNDING_S:
            yield from self._tape.miss("damaged", faults[0].why, gap_s)
        elif gap_s > _JITTER_S and self._container.format.name in _WITHOUT_HOLES:
            yield from self._tape.miss("damaged", "a part of the file cannot be read", gap_s)
        elif gap_s > _GAP_S:
            is_told = gap_s > _TOLD_S
            yield from self._tape.miss("gap", _NOTHING, gap_s, is_told=is_told)

    def _gap_s(self, time_s: float | None, faults: Sequence[Fault]) -> float:
        """How much time is between the sound so far and a frame that begins at a time."""
        if not self._is_timed or time_s is None:
            return sum(fault.length_s for fault in faults)
        here_s = self._tape.time_s - self._start_s
        if self._shift_s is None:
            start_s = self._container.start_time
            self._shift_s = -(time_s if start_s is None else start_s / av.time_base)
        gap_s = time_s + self._shift_s - here_s
        if gap_s < -_BACK_S:
            self._shift_s -= gap_s
            return sum(fault.length_s for fault in faults)
        return gap_s

    def _end(self, faults: Sequence[Fault]) -> Iterator[Piece]:
        """What is missing at the end."""
        here_s, declared_s = self._tape.time_s, self._declared_s
        if declared_s and here_s - self._start_s < declared_s - _SHORT_BY_S:
            end_s = self._start_s + declared_s
            why = f"the file ends early: it declares {declared_s:.1f} s"
            yield Missing(here_s, end_s, "cut_off", why)
        elif not declared_s and (lost_s := sum(fault.length_s for fault in faults)) > _TOLD_S:
            yield Missing(here_s, here_s + lost_s, "damaged", faults[0].why)
        elif not declared_s and self._is_broken_off(faults):
            yield Missing(here_s, None, "cut_off", "the file ends in the middle of its sound")
        elif self._file.lacks and not self._is_at_end():
            yield Missing(here_s, None, "cut_off", self._file.lacks)

    def _is_at_end(self) -> bool:
        """Whether a file that is short of bytes has its last sound, so that others are missing."""
        if not self._container.format.name.startswith("matroska") or not self._container.duration:
            return False
        end_s = self._tape.time_s - self._start_s + _SHORT_BY_S
        return end_s > self._container.duration / av.time_base

    def _is_broken_off(self, faults: Sequence[Fault]) -> bool:
        """Whether faults at the end of the file are more than padding and a tag."""
        is_damaged = any(not 0 < fault.length_s < _ROUNDING_S for fault in faults)
        return is_damaged and not self._file.is_tagged

    @property
    def _declared_s(self) -> float | None:
        """How long the recording says to be; None if it does not, or only by an estimate."""
        name = self._container.format.name.split(",")[0]
        if isinstance(self._file, Stream) and (self._file.declared_s or name == "wav"):
            return self._file.declared_s
        if name == "ogg":
            return self._declared_of_ogg
        codec = self._track.codec_context.name
        if name == "avi" and codec.startswith("pcm_"):
            return self._track.frames / self._track.rate
        is_counted = codec != "gsm" and (name != "avi" or codec.startswith("mp"))
        is_counted = is_counted and (name != "mov" or self._track.frames > 0)  # not of fragments
        if name in _DECLARING and is_counted and self._track.duration and self._track.time_base:
            return float(self._track.duration * self._track.time_base)
        is_alone = name in {"matroska", "flv"} and len(self._container.streams) == 1
        if is_alone and self._container.duration:
            return self._container.duration / av.time_base
        return None

    @property
    def _declared_of_ogg(self) -> float | None:
        """By the time of the last page; None if that is not there."""
        end_s = self._file.end_s if isinstance(self._file, Stream) else None
        if end_s is None or self._file.lacks:
            return None
        return end_s - (self._container.start_time or 0) / av.time_base


_MOST_PLANES = 2
"""Frames with more channels are packed first: beyond the eighth plane PyAV reads memory that is not
there."""


class _Converter:
    """Frames of any sample format to floats."""

    def __init__(self) -> None:
        self._form: object = None
        self._resampler = av.AudioResampler(format="flt")

    def floats(self, frame: AudioFrame) -> npt.NDArray[np.float32]:
        """The samples of a frame, shape (channels, n)."""
        if frame.format.name == "fltp" and frame.layout.nb_channels <= _MOST_PLANES:
            return np.asarray(frame.to_ndarray(), dtype=np.float32)
        form = (frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate)
        if form != self._form:
            self._resampler = av.AudioResampler(format="flt")
            self._form = form
        parts = [
            packed.to_ndarray().reshape(-1, packed.layout.nb_channels).T
            for packed in self._resampler.resample(frame)
        ]
        return np.concatenate(parts, axis=1).astype(np.float32, copy=False)


# <<< lanscribe/media/recording.py


# >>> lanscribe/media/part.py: edit it there, then run: .venv/bin/python -m clients.generate
_SILENT = 0.001
"""A track that is never louder, -60 dBFS, is silent."""
_SILENT_S = 3600.0
"""A track that has been silent for so long is passed over; to hear it takes some seconds."""
_MOST_MIXED = 16
"""The most tracks that are mixed: each is read on its own, with tables of all of them."""
UNKNOWN_BYTES = 2**26
"""So much of a pipe of unknown content is kept, to find sound by seeking in it."""


class Part:
    """A recording at a place. A context manager; raises av.FFmpegError or Unreadable at the start.

    A part has one track that is read, or all of them mixed.
    """

    def __init__(
        self, source: Source, kind: FileKind | None, place: int, end: int | None = None
    ) -> None:
        """end: where the recording ends, if it was searched before."""
        self._source = source
        self._kind = kind
        self._place = place
        self._end = end
        self._file, self._container = self._opened()
        self._tracks = tracks_of(self._container)

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def end(self) -> int:
        """The place where the recording ends, as far as it was read."""
        return self._file.end if self._file.end is not None else self._file.place

    def choose(self, wanted: str) -> tuple[int | None, About]:
        """The index of the wanted track, None for all of them, and what to tell of it.

        Raises NoSuchTrack.
        """
        facts = [_facts(track) for track in self._tracks]
        best = self._container.streams.best("audio")
        preferred = next((at for at, track in enumerate(self._tracks) if track is best), 0)
        index, why = chosen(facts, preferred, wanted, self._has_sound)
        duration_s = self._duration_s()
        if index is None and len(facts) > _MOST_MIXED:
            raise NoSuchTrack(f"it has {len(facts)} tracks, of which {_MOST_MIXED} can be mixed")
        if index is None:
            return None, About(0, len(facts), why=why, duration_s=duration_s)
        one = facts[index]
        about = About(index + 1, len(facts), one.language, one.title, why, duration_s)
        return index, about

    def pieces(self, index: int | None, tape: Tape) -> Iterator[Piece]:
        """The sound of a track, or of all mixed, and what is missing."""
        if index is None:
            yield from self._mixed(tape)
        elif index < len(self._tracks):  # when opened again, a damaged one may have fewer
            recording = Recording(self._container, self._tracks[index], self._file, tape)
            yield from recording.pieces()

    def _opened(self) -> tuple[Stream | Window, InputContainer]:
        """The recording without seeking if that is enough, and else with."""
        if self._kind and self._kind.is_stream:
            stream = Stream(self._source, self._kind, self._place)
            return stream, _with_tracks(open_container(stream))
        if not self._source.is_complete:
            with suppress(av.FFmpegError, Unreadable):
                stream = Stream(self._source, ANY_STREAM, self._place)
                container = _with_tracks(open_container(stream))
                if not self._source.is_complete:  # else it may have to be sought in
                    return stream, container
                container.close()
            if not self._kind and not self._source.drain(UNKNOWN_BYTES):
                size = UNKNOWN_BYTES // 2**20
                raise Unreadable(f"there is no sound in the first {size} MiB of this pipe")
        if self._kind and self._end is None:
            self._end = next_begin(self._source, self._kind, self._place + 1)
        window = Window(self._source, self._place, self._end)
        self._end = window.end
        return window, _with_tracks(open_container(window))

    def _again(self, index: int, tape: Tape, stack: ExitStack) -> Iterator[Piece]:
        """A track, read on its own from the beginning."""
        other = stack.enter_context(Part(self._source, self._kind, self._place, self._end))
        return other.pieces(index, tape)

    def _has_sound(self, index: int) -> bool:
        with ExitStack() as stack:
            tape = Tape()
            for piece in self._again(index, tape, stack):
                if isinstance(piece, np.ndarray) and np.abs(piece).max() > _SILENT:
                    return True
                if tape.at_s > _SILENT_S:
                    return False
        return False

    def _mixed(self, tape: Tape) -> Iterator[Piece]:
        start_s = tape.time_s
        with ExitStack() as stack:
            tracks = [self._again(index, Tape(), stack) for index in range(len(self._tracks))]
            for piece in together(tracks):
                if isinstance(piece, Missing):
                    end_s = None if piece.end_s is None else piece.end_s + start_s
                    yield replace(piece, start_s=piece.start_s + start_s, end_s=end_s)
                else:
                    yield from tape.add(piece, SAMPLE_RATE_HZ, ())
        yield from tape.flush()

    def _duration_s(self) -> float | None:
        if isinstance(self._file, Stream) and self._file.declared_s:
            return self._file.declared_s
        return self._container.duration / av.time_base if self._container.duration else None


def _with_tracks(container: InputContainer) -> InputContainer:
    """The container, if it has a track of sound; else it is closed. Raises Unreadable."""
    if tracks_of(container):
        return container
    kinds = ", ".join(track.type for track in container.streams) or "none"
    container.close()
    raise Unreadable(f"it has no track of sound that can be read; its tracks: {kinds}")


def _facts(track: AudioStream) -> TrackFacts:
    language = track.language or ""
    title = track.metadata.get("title", "")
    is_default = bool(track.disposition & track.disposition.default)
    return TrackFacts("" if language == "und" else language, title, is_default)


# <<< lanscribe/media/part.py


# >>> lanscribe/media/reader.py: edit it there, then run: .venv/bin/python -m clients.generate
_HEAD_BYTES = 512
_MOST_FAILURES = 20
"""After so many recordings in a row that cannot be opened, the rest of a file is not read."""


def read(file: BinaryIO | Source, track: str = "") -> Generator[Piece, None, None]:
    """The pieces of a recording.

    file: open for reading; a pipe is read while it runs. track: a number from 1, a language,
    "default", "all" (mixed), or "" for the default one, or the first with sound if that is silent.
    Raises Unreadable before the first samples if there are none, NoSuchTrack among them, and
    nothing later on. A Source stays open, and can be read again.
    """
    source = file if isinstance(file, Source) else Source(file)
    is_live, length = not source.is_complete, Length()
    try:
        for piece in _with_sound(_Reader(source, track).pieces()):
            at_s = length.at_s
            length.add(piece, source.size_bytes)
            if why := length.excess(is_live=is_live):
                yield Missing(at_s, None, "too_long", why)
                return
            yield piece
    finally:
        if source is not file:
            source.close()


def _with_sound(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces, the first of them only when it is sure that there is sound.

    If more than MAX_PARTS parts are missing before it, the last one covers all the others.
    """
    before: list[Piece] = []
    for piece in pieces:
        last = before[-1] if len(before) > MAX_PARTS else None
        if isinstance(last, Missing) and isinstance(piece, Missing):
            before[-1] = joined(last, piece)
            continue
        before.append(piece)
        if not isinstance(piece, About | Missing):
            break
    yield from before
    yield from pieces


def _begin(source: Source) -> tuple[int, bytes]:
    """Where the recording begins, behind tags, and its first bytes."""
    start = after_tags(source)
    head = source.head_at(start, _HEAD_BYTES)
    if file_kind(head) or start >= source.size_bytes:
        return start, head
    return 0, source.head_at(0, _HEAD_BYTES)  # FFmpeg finds the sound of an MP3 behind anything


class _Reader:
    """Reads the recordings of a source one after the other; most files are one."""

    def __init__(self, source: Source, track: str) -> None:
        self._source = source
        self._track = track
        self._start, self._head = _begin(source)
        self._kind = file_kind(self._head)
        self._tape = Tape()
        self._has_told = False
        self._is_broken = False

    def pieces(self) -> Iterator[Piece]:
        """About the first recording, then the sound of all. Raises Unreadable if there is none."""
        if why := refusal(self._head):
            raise Unreadable(why)
        end, why = yield from self._part(self._start)
        if self._tape.has_sound and why:
            yield Missing(self._tape.time_s, None, "cut_off", why)
        if not self._tape.has_sound:
            raise Unreadable(why or guess(self._head, self._source.size_bytes))
        failures = 0
        while (place := self._next_place(end)) is not None and failures < _MOST_FAILURES:
            end, why = yield from self._part(place)
            failures = failures + 1 if why else 0
            if failures == 1:
                yield Missing(self._tape.time_s, None, "damaged", why)

    def _part(self, place: int) -> Generator[Piece, None, tuple[int, str]]:
        """The recording at a place; returns where it ends, and why it could not be read."""
        head, start_s = self._source.head_at(place, _HEAD_BYTES), self._tape.time_s
        end, why = place + 1, ""
        if not is_its_own(head):
            end, why = yield from self._by_ffmpeg(place)
        if self._tape.time_s > start_s:
            return end, why
        if self._kind or self._source.drain(UNKNOWN_BYTES):
            next_place = self._next_place(place + 1)
            window = Window(self._source, place, next_place)
            yield from self._by_libsndfile(window, head)
            if self._tape.time_s > start_s:
                return window.end, ""
        return end, why

    def _by_ffmpeg(self, place: int) -> Generator[Piece, None, tuple[int, str]]:
        end, why = place + 1, ""
        try:
            with Part(self._source, self._kind, place) as part:
                yield from self._sound_of(part)
                end = max(part.end, end)
        except av.FFmpegError as error:
            is_told = self._tape.has_sound or isinstance(error, MemoryError)
            why = reason(error) if is_told else ""
        except NoSuchTrack:
            raise
        except Unreadable as error:
            why = str(error)
        except OSError as error:
            why, self._is_broken = f"it cannot be read: {error.strerror}", True
        yield from self._tape.flush()  # not in a `finally`: a reader that is closed must not yield
        return end, why

    def _sound_of(self, part: Part) -> Iterator[Piece]:
        """The wanted track of a recording; of a later one the default, if it has no such track."""
        try:
            index, about = part.choose(self._track)
        except NoSuchTrack:
            if not self._has_told:
                raise
            index, about = part.choose("")
        if not self._has_told:
            yield about
        self._has_told = True
        yield from part.pieces(index, self._tape)

    def _by_libsndfile(self, window: Window, head: bytes) -> Iterator[Piece]:
        if not self._has_told:
            yield About()
        self._has_told = True
        with suppress(Unreadable):  # its rate is out of range, which FFmpeg has told
            yield from by_libsndfile(window, head, self._tape)

    def _next_place(self, end: int) -> int | None:
        if self._is_broken or self._kind is None or self._kind.is_framed:
            return None
        return next_begin(self._source, self._kind, end)


# <<< lanscribe/media/reader.py


# >>> clients/audio_source.py: edit it there, then run: .venv/bin/python -m clients.generate
STDIN = "-"


class WrongTrack(Trouble):
    """The recording has no such track: wrong usage."""


class AudioSource:
    """A recording as 16 kHz mono, read while it is sent.

    What may have to be sent again stays in memory. Raises Trouble if nothing can be heard.
    """

    def __init__(self, path: str, track: str = "") -> None:
        name = "stdin" if path == STDIN else shown(path)
        self.about, self.missing, self.timeline = About(), MissingParts(), Timeline()
        self._ring, self._is_over = SampleRing(), False
        self._coming: asyncio.Future[list[Piece | OSError]] | None = None
        self._file = opened(path, name)
        self._pieces = read(self._file, track)
        try:
            first = batch(self._pieces, 1)
            if isinstance(first[-1], OSError):
                raise first[-1]
        except (Unreadable, OSError) as error:
            self.close()
            raise refusal_of(name, error) from error
        self._take(first)

    async def chunk(self, start: int, length_s: float) -> bytes:
        """PCM from the sample `start`, up to length_s of it; b"" at the end.

        Raises Trouble if the sample was forgotten.
        """
        end = start + sample_count(length_s)
        while self._ring.end < end and not self._is_over:
            await self._read_on(end - self._ring.end)
        if start < self._ring.oldest:
            raise Trouble("the server asks for audio that it has had; start once more")
        samples = self._ring.read(min(start, self._ring.end))
        return samples_to_pcm16(samples[: end - start])

    def forget(self, before: int) -> None:
        """Release the memory of the samples before this one."""
        self._ring.forget(before)

    def stop(self) -> None:
        """End the recording here, even if a pipe has more to come."""
        self._is_over = True
        if self._coming and not self._coming.done():
            self._coming.set_result([])

    def close(self) -> None:
        """Close the file, unless a thread still waits for a pipe."""
        with suppress(ValueError):
            self._pieces.close()
            self._file.close()

    @property
    def told(self) -> dict[str, Any]:
        """The track if there are several, and what is missing if there is, as fields of JSON."""
        return missing_field(self.missing) | track_field(self.about)

    async def _read_on(self, least: int) -> None:
        """Wait for the next samples, `least` or more; if cancelled, the next call gets them."""
        self._coming = self._coming or self._begin(least)
        await asyncio.wait([self._coming])  # does not cancel it
        pieces, self._coming = self._coming.result(), None
        self._is_over |= not pieces
        self._take(pieces)

    def _begin(self, least: int) -> asyncio.Future[list[Piece | OSError]]:
        """Read in a thread for which the program does not wait at its end: a pipe may be silent."""
        loop = asyncio.get_running_loop()
        coming: asyncio.Future[list[Piece | OSError]] = loop.create_future()

        def settle(set_result: Callable[[], None]) -> None:
            if not coming.done():
                set_result()

        def work() -> None:
            try:
                set_result = partial(coming.set_result, batch(self._pieces, least))
            except BaseException as error:  # noqa: BLE001 - it is raised where the pieces are awaited
                set_result = partial(coming.set_exception, error)
            with suppress(RuntimeError):  # the program has ended
                loop.call_soon_threadsafe(settle, set_result)

        Thread(target=work, daemon=True).start()
        return coming

    def _take(self, pieces: list[Piece | OSError]) -> None:
        for piece in pieces:
            if isinstance(piece, About):
                self.about = piece
            elif isinstance(piece, Missing):
                self.timeline.skip(duration_s(self._ring.end), piece.skipped_s)
                self.missing.add(piece)
            elif isinstance(piece, OSError):
                end_s = self.timeline.whole_s(duration_s(self._ring.end))
                why = f"it cannot be read: {piece.strerror}"
                self.missing.add(Missing(end_s, None, "cut_off", why))
            else:
                self._ring.append(piece)


def batch(pieces: Iterator[Piece], least: int) -> list[Piece | OSError]:
    """The next pieces, with `least` samples or more in all; fewer at the end or at an error."""
    taken, count = list[Piece | OSError](), 0
    try:
        for piece in pieces:
            taken.append(piece)
            count += 0 if isinstance(piece, About | Missing) else len(piece)
            if count >= least:
                break
    except OSError as error:
        taken.append(error)
    return taken


def opened(path: str, name: str) -> BinaryIO:
    """The file, pipe or stdin, without a buffer. Raises Trouble."""
    if path == STDIN and not sys.stdin:
        raise Trouble("cannot read stdin: it is closed; name a file instead of -")
    try:
        file = io.FileIO(0 if path == STDIN else path, closefd=path != STDIN)
    except OSError as error:
        raise refusal_of(name, error) from error
    if file.isatty():
        file.close()
        raise Trouble(f"{name} is a terminal: expected a recording, such as a file or a pipe")
    with suppress(AttributeError, OSError):  # Windows lacks it
        os.set_blocking(file.fileno(), True)  # else a pipe that is silent would seem to end
    return file


def refusal_of(name: str, error: Unreadable | OSError) -> Trouble:
    """Why a file is no recording, as a line for a person."""
    if isinstance(error, OSError):
        hint = hint_of(name) if isinstance(error, FileNotFoundError) else ""
        return Trouble(f"cannot read {name}: {error.strerror}{hint}")
    kind = WrongTrack if isinstance(error, NoSuchTrack) else Trouble
    return kind(f"{name}: {error}")


def hint_of(name: str) -> str:
    """What is wrong with the name of a file that is not there, if it shows."""
    if "://" in name:
        return "; it reads files, and with - what a pipe brings: curl -sL URL | ... --audio_path -"
    if name.startswith("~"):
        return "; the shell left the ~ in it: write the folder in full"
    if name[:1] in QUOTES or name != name.strip():
        return "; the quotes and spaces around it are part of the name"
    return ""


def missing_line(part: Missing) -> str:
    """A missing part as a line for a person."""
    if part.end_s is None:
        return f"missing from {part.start_s:.1f} s on: {plain(part.why)}"
    return f"missing: {part.start_s:.1f} s to {part.end_s:.1f} s: {plain(part.why)}"


def track_line(about: About) -> str:
    """Which track was taken and why, as a line for a person; "" if there is only one."""
    if about.count == 1:
        return ""
    which = f"track {about.number} of {about.count}" if about.number else f"{about.count} tracks"
    title = " ".join(plain(about.title).split())
    names = ", ".join(filter(None, (about.language, title)))
    return plain(f"{which}{f' ({names})' if names else ''}: {about.why}")


# <<< clients/audio_source.py


@dataclass
class Tally:
    """The received transcript and its times, in seconds.

    timeline: of the recording; of what is sent, some parts may be left out.
    """

    timeline: Timeline = field(default_factory=Timeline)
    story: Story = field(default_factory=Story)
    texts: list[str] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    lost_s: list[tuple[float, float]] = field(default_factory=list)
    no_speech: dict[str, Any] = field(default_factory=dict)
    first_text_s: float | None = None
    started_s: float = field(default_factory=time.monotonic)

    @property
    def sent_s(self) -> float:
        """How far the recording was sent."""
        return self.timeline.whole_s(duration_s(self.story.sent))

    @property
    def heard_s(self) -> float:
        """How far the server has listened to it."""
        return self.timeline.whole_s(duration_s(self.story.heard))

    @property
    def waiting_s(self) -> float:
        """How much of what was sent the server has not listened to."""
        return duration_s(self.story.sent - self.story.heard)

    def take(self, event: Event) -> str:
        """Take a delta or the end of the utterance; return the text to say."""
        base_s = duration_s(self.story.base)
        if event.kind == "transcription.done":
            self.no_speech = event.no_speech if self.story.is_wordless(event) else {}
            return self._say(self.story.end(event))
        whole_s = self.timeline.whole_s
        self.lost_s += [
            (whole_s(base_s + start), whole_s(base_s + end)) for start, end in event.lost
        ]
        said = self._say(self.story.hear(event, time.monotonic()))
        self.lags_s.append(duration_s(self.story.sent - self.story.place))
        return said

    def settle(self) -> str:
        """Return the last words of a session that was cut, because no other session follows."""
        pieces, self.story.last_words = self.story.last_words, []
        return self._say(pieces)

    def _say(self, pieces: list[Said]) -> str:
        for text, start_s, end_s in pieces:
            self.texts.append(text)
            add_word(self.words, text, *self.timeline.placed(start_s, end_s))
            self.first_text_s = self.first_text_s or time.monotonic() - self.started_s
        return "".join(text for text, _, _ in pieces)

    @property
    def text(self) -> str:
        """The transcript so far."""
        return "".join(self.texts).strip()

    def figures(self) -> dict[str, Any]:
        """The figures for --json."""
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
    """Lower case, no punctuation, single spaces; a hyphen separates two words."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower().replace("-", " ")).split())


class Screen:
    """The transcript on stdout, the progress on stderr; on one terminal, the latter is below."""

    def __init__(self, whole_s: float | None, *, shows_text: bool) -> None:
        """whole_s: how long the recording is, None if unknown."""
        self._whole_s = whole_s
        self._shows_text = shows_text
        self._console = Console(stderr=True)
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._is_joint = is_live and shows_text and sys.stdout.isatty()
        self._line, self._space, self._held, self._has_begun = "", "", "", False
        self._progress = Progress(BarColumn(), TextColumn("{task.description}"))
        self._bar = self._progress.add_task("connecting", total=whole_s)
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            transient=True,
            redirect_stdout=False,  # else the transcript would go to the live display's stream
        )
        self._is_live = is_live

    def start(self) -> None:
        """Show the progress."""
        if self._is_live:
            self._live.start()

    def write(self, text: str) -> None:
        """Extend the transcript; white space waits for the word after it."""
        text = self._space + text if self._has_begun else text.lstrip()
        self._space = text[len(text.rstrip()) :]
        self._held = ""  # else it would appear twice once it is kept
        self._has_begun |= bool(text)
        if self._is_joint:
            self._scroll(text.rstrip())
        elif self._shows_text:
            put(sys.stdout, text.rstrip())

    def show(self, tally: Tally) -> None:
        """Update the progress."""
        text = str(timedelta(seconds=round(tally.heard_s)))
        if self._whole_s is not None:
            text += f" / {timedelta(seconds=round(self._whole_s))}"
        text += f"  lag {tally.waiting_s:.1f} s"
        self._held = "".join(text for text, _, _ in tally.story.last_words)
        self._progress.update(self._bar, completed=tally.heard_s, description=text)

    def tell(self, line: str) -> None:
        """Print a remark on stderr."""
        self._console.print(Text(line), soft_wrap=True)

    def close(self, *, is_whole: bool) -> None:
        """Restore the terminal, with the transcript on it and a newline at its end."""
        self._live.stop()
        if self._shows_text and (is_whole or self._has_begun):
            put(sys.stdout, f"{self._line}\n")

    def _scroll(self, text: str) -> None:
        """Print full lines above the progress; keep the last line in the live display."""
        self._line += text
        width = self._console.width - 1
        while len(self._line) > width:
            cut = max(self._line.rfind(" ", 0, width + 1), 0) or width
            full, self._line = self._line[:cut], self._line[cut:].lstrip(" ")
            self._console.print(Text(full), soft_wrap=True)

    def _picture(self) -> Group:
        tail = Text.assemble(self._line, (self._held, "dim"))
        return Group(*([tail] if self._is_joint and tail else []), self._progress)


class Transcription:
    """One file, over one connection, or over several if the server keeps sessions.

    A session that the server kept is resumed; a new one listens again from the place up to which
    all words are safe.
    """

    def __init__(self, options: argparse.Namespace, recording: AudioSource, screen: Screen) -> None:
        self._options = options
        self._recording = recording
        self._screen = screen
        self._stop = asyncio.Event()
        self._deadline = asyncio.Timeout(None)
        self._session = Session(options.server, recording.timeline.whole_s)
        self._failures, self._away_since_s = 0, 0.0
        self._is_there = self._is_done = False
        self.model = options.server.model
        self.tally = Tally(recording.timeline)

    async def run(self) -> None:
        """Transcribe the file, or as much as is sent before a signal. Raises Trouble."""
        try:
            with ending(self._interrupt):
                self._screen.start()
                if line := track_line(self._recording.about):
                    self._screen.tell(line)
                async with self._deadline:
                    while not self._is_done:
                        await self._try()
        except TimeoutError:
            line = f"the last words did not come within {LAST_WORDS_S:g} s"
            self._screen.tell(f"{line}; transcribed: {self.progress}")
        finally:
            self._tell_missing(self._recording.missing.rest())
            self._screen.write(self.tally.settle())

    @property
    def was_interrupted(self) -> bool:
        """Whether a signal ended the audio early."""
        return self._stop.is_set()

    @property
    def progress(self) -> str:
        """How far the server has listened, as text."""
        whole_s = self._recording.about.duration_s
        whole = "" if whole_s is None else f" of {whole_s:.1f} s"
        return f"{self.tally.heard_s:.1f} s{whole}"

    def figures(self, reference: str) -> dict[str, Any]:
        """The figures for --json; reference: the words said, "" if unknown."""
        figures = self.tally.figures() | {"missing": []} | self._recording.told
        figures |= {"model": self.model, "url": self._options.server.url.partition("?")[0]}
        if reference:
            figures["wer"] = float(jiwer.wer(reference, normalised(self.tally.text)))
        return figures

    def _interrupt(self) -> None:
        """End the audio here; the second time, or before any audio, end the program."""
        if self._stop.is_set() or not self.tally.sent_s:
            with suppress(OutputTrouble):
                self._screen.write(self.tally.settle())
                self._screen.close(is_whole=False)
            os._exit(130)
        self._stop.set()
        self._recording.stop()
        self._deadline.reschedule(asyncio.get_running_loop().time() + LAST_WORDS_S)

    async def _try(self) -> None:
        """Use one connection; pause after it breaks. Raises Trouble that will not pass."""
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
            await asyncio.sleep(pause_s(self._failures))

    async def _converse(self) -> None:
        server = self._options.server
        try:
            self.model = self.model or await asyncio.to_thread(first_model, server)
            ws = await open_socket(self._session.address, server)
        except CONNECT_ERRORS as error:
            raise await self._session.unreached(error) from error
        try:
            async with ws, asyncio.TaskGroup() as tasks:
                await self._receive(ws, tasks)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _send(self, ws: ClientConnection) -> None:
        session, story, is_live = self._session, self.tally.story, self._options.realtime
        with suppress(ConnectionClosed):  # the receiver sees it too, and reports it
            await ws.send(session.model(self.model))
            await ws.send(BEGIN)
            while chunk := await self._chunk(0.1 if is_live else 0.5):
                story.sent += len(chunk) // 2
                await ws.send(session.audio(chunk))
                self._recording.forget(story.safe if session.keep_s else story.sent)
                if is_live:
                    due_s = self.tally.started_s + duration_s(story.sent) - time.monotonic()
                    await asyncio.sleep(due_s)
            story.is_committed = True
            await ws.send(END)

    async def _chunk(self, length_s: float) -> bytes:
        """The next audio to send; b"" at the end, and after a signal."""
        chunk = await self._recording.chunk(self.tally.story.sent, length_s)
        self._tell_missing(self._recording.missing.due(math.inf))
        return b"" if self._stop.is_set() else chunk

    def _tell_missing(self, parts: Iterator[Missing]) -> None:
        for part in parts:
            self._screen.tell(missing_line(part))

    async def _receive(self, ws: ClientConnection, tasks: asyncio.TaskGroup) -> None:
        """Print the transcript until the utterance is done. Raises Trouble."""
        story = self.tally.story
        try:
            async with asyncio.timeout(CONNECT_S):
                if not self._greet(Event(await ws.recv())):
                    return
            sender = None if story.is_committed else tasks.create_task(self._send(ws))
            while self._take(Event(await next_message(ws))):
                self._screen.show(self.tally)
        except (ConnectionClosed, TimeoutError) as error:
            ws.transport.abort()  # no close: after one, the server would not keep the session
            why = self._session.broken(error)
            raise Trouble(f"stopped at {self.progress}: {why}", passes=why.passes) from error
        self._session.token = ""
        if sender:
            sender.cancel()
        if not story.is_whole:
            line = f"the server ended the transcript early, at {self.progress}"
            raise Trouble(line, passes=True)
        self._is_done = True

    def _greet(self, greeting: Event) -> bool:
        """Begin or resume; False if the server has lost the session. Raises Trouble."""
        self._is_there = True
        if not self._failures:
            self.tally.started_s = time.monotonic()
        if not self._session.greet(greeting, self.tally.story, self.tally.story.safe):
            return False
        if self._failures:
            self._screen.tell("connected again")
        return True

    def _take(self, event: Event) -> bool:
        """Take an event; return whether more will follow. Raises Trouble for an error."""
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
    """The next message. Raises TimeoutError if none comes and no ping is answered."""
    for _ in range(MAX_SILENCES):
        try:
            async with asyncio.timeout(SILENCE_S):
                return await ws.recv()
        except TimeoutError:
            async with asyncio.timeout(SILENCE_S):
                await (await ws.ping())
    raise TimeoutError


def read_reference(path: Path) -> str:
    """The reference text from a file, UTF-8 or UTF-16. Raises Trouble if it has no words."""
    try:
        data = path.read_bytes()
        is_utf16 = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except OSError as error:
        raise Trouble(f"cannot read the reference {shown(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = f"the reference {shown(path)} is not text in UTF-8, or in UTF-16 with a mark"
        raise Trouble(line) from error
    if not normalised(text):
        raise Trouble(f"the reference {shown(path)} has no words")
    return normalised(text)


def summary(figures: dict[str, Any], *, is_live: bool) -> str:
    """The figures as a line for a person; the lag only if the sound was sent as live."""
    line = f"{figures['audio_s']:.1f} s of audio in {figures['wall_s']:.1f} s"
    if figures["time_to_first_delta_s"] is not None:
        line += ", first words after {time_to_first_delta_s:.1f} s".format(**figures)
        if is_live:
            line += ", lag {lag_p50_s:.1f} s (95 %: {lag_p95_s:.1f} s)".format(**figures)
    return line + (f", word error rate {figures['wer']:.1%}" if "wer" in figures else "")


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 if it is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add(
        "--audio_path",
        "--audio-path",
        required=True,
        metavar="FILE",
        help="the recording, of any kind that FFmpeg or libsndfile reads; - for stdin",
    )
    add_server_options(parser)
    tracks = "if it has several: a number from 1, a language, default, or all (mixed)"
    add("--track", default="", help=tracks)
    add("--realtime", action="store_true", help="send at the speed of speech")
    add(
        "--reference",
        type=file_name,
        metavar="FILE",
        help="the words said; adds the word error rate",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    formats = "txt as it arrives (the default), or at the end json, srt or vtt, with times"
    output.add_argument("--format", choices=FORMATS, default="txt", help=formats)
    return parse_server_options(parser, arguments)


def transcribe(options: argparse.Namespace) -> int:
    """Transcribe and print; the exit status. Raises Trouble."""
    reference = read_reference(options.reference) if options.reference else ""
    with closing(AudioSource(options.audio_path, options.track)) as recording:
        options.server = located(options.server, discovers=options.discover)
        shows_text = options.format == "txt" and not options.json
        screen = Screen(recording.about.duration_s, shows_text=shows_text)
        run = Transcription(options, recording, screen)
        trouble: Trouble | None = None
        try:
            asyncio.run(run.run())
        except Trouble as caught:
            trouble = caught
        finally:
            screen.close(is_whole=trouble is None)
    figures = run.figures(reference)
    if options.json:
        error = str(trouble) if trouble else None
        put(sys.stdout, f"{json.dumps(figures | {'error': error})}\n")
    elif not shows_text and (run.tally.words or not trouble):
        words, audio_s = run.tally.words, run.tally.sent_s
        put(sys.stdout, document(words, options.format, audio_s, recording.told))
    if trouble:
        raise trouble
    if not options.json:
        screen.tell(summary(figures, is_live=options.realtime))
    return 130 if run.was_interrupted and not run.tally.text else 0


def main() -> int:
    """Run the program; its exit status."""
    try:
        open_streams()
        options = parse_options()
        return transcribe(options)
    except Trouble as trouble:
        sys.stderr.write(f"{Path(__file__).name}: {trouble}\n")
        return 2 if isinstance(trouble, WrongTrack) else 1


if __name__ == "__main__":
    sys.exit(main())
