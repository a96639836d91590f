#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "ifaddr>=0.2", "numpy>=2", "rich>=14", "sounddevice>=0.5", "soxr>=1", "websockets>=15",
#   "zeroconf>=0.140",
# ]
# ///
"""Speak, and read along: sends the microphone to a server with vLLM's realtime protocol.

    uv run stream_microphone.py --url ws://box:8000

The transcript goes to stdout, everything else to stderr. While the server is away, your speech is
kept; it is sent once the server is back. Ctrl-C waits for the last words; a second one quits.
Exit status: 0 done, also if no speech was heard, 1 failed, 2 wrong usage, 130 quit.
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
import queue
import random
import re
import socket
import ssl
import stat
import sys
import unicodedata
from argparse import ArgumentTypeError
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import escape
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import accumulate, pairwise, takewhile
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar
from unicodedata import category
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

import numpy as np
import numpy.typing as npt
import soxr  # type: ignore[import-untyped]
from rich.console import Console, Group
from rich.live import Live
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

SILENCE_S = 15.0  # the longest wait for a message, and then for the answer to a ping
LAST_WORDS_S = 10.0  # after Ctrl-C, and again after each progress of the server
PORTAUDIO_TIMED_OUT = -9987  # paTimedOut: a sound card did not start within a second
PORTAUDIO_INVALID_RATE = -9997  # paInvalidSampleRate
PORTAUDIO_UNAVAILABLE = -9985  # paDeviceUnavailable
USUAL_RATES_HZ = (48_000.0, 44_100.0, 16_000.0)
GONE_S = 5.0  # without a block from the sound card
MUTED_S, QUIET_S, QUIET_PEAK = 5.0, 20.0, 0.001
NO_MICROPHONE = "no microphone: plug one in, or allow this terminal to use it"
MUTED = "the microphone sends only silence: is it muted?"
TICK_S = 0.05


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
        """Add samples, clipped; the oldest ones are dropped."""
        self._pcm16 += samples_to_pcm16(samples)
        excess_bytes = max(0, len(self._pcm16) - self._limit_bytes)
        del self._pcm16[:excess_bytes]
        self.start += excess_bytes // 2

    def read(self, at: int, most: int) -> bytes:
        """Up to `most` samples from the index `at`, which must still be kept."""
        first = 2 * (at - self.start)
        return bytes(self._pcm16[first : first + 2 * most])


class Meter:
    """The audio level; gives one remark each time nothing is heard."""

    def __init__(self) -> None:
        self.level_dbfs = -math.inf
        self._zero_s = self._quiet_s = 0.0

    @property
    def is_muted(self) -> bool:
        """Whether the microphone has sent only zeros for MUTED_S seconds."""
        return self._zero_s >= MUTED_S

    def feed(self, samples: Samples) -> str:
        """Take at least one sample, 16 kHz; return a remark if one is due, else ""."""
        peak, duration_s = float(np.abs(samples).max()), len(samples) / SAMPLE_RATE_HZ
        rms = math.sqrt(np.square(samples, dtype=np.float64).mean())
        self.level_dbfs = 20 * math.log10(rms) if rms else -math.inf
        zero_s, quiet_s = self._zero_s, self._quiet_s
        self._zero_s = 0.0 if peak else zero_s + duration_s
        self._quiet_s = 0.0 if peak > QUIET_PEAK else quiet_s + duration_s
        if zero_s < MUTED_S <= self._zero_s:
            return MUTED + permission()
        if quiet_s < QUIET_S <= self._quiet_s and self._zero_s < MUTED_S:
            right = "is this the right microphone? --list-devices shows all"
            return f"hardly any sound for {QUIET_S:g} s: {right}"
        return ""


class Lines:
    """Breaks a growing text into lines, at the end of a sentence where possible."""

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
                ends_sentence = re.search(r"\w{4}[.!?]+$", self.line)  # but not after "Mrs."
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
    """The index of the input device with the index `wanted`, or with it in its name."""
    inputs = [device for device in devices if device["max_input_channels"]]
    found = [d for d in inputs if wanted in (str(d["index"]), d["name"])]
    found = found or [d for d in inputs if wanted.casefold() in d["name"].casefold()]
    if len(found) == 1:
        return int(found[0]["index"])
    if not inputs:
        raise Trouble(NO_MICROPHONE)
    names = ", ".join(f"{d['index']} {d['name']}" for d in found or inputs)
    problem = "several microphones match" if found else "no microphone matches"
    raise Trouble(f"{problem} --device {wanted!r}; choose from: {names}")


def sounddevice() -> Any:
    """The sounddevice module. Raises Trouble if PortAudio is missing."""
    try:
        import sounddevice as module  # type: ignore[import-untyped]  # noqa: PLC0415
    except OSError as error:
        hint = "sudo apt install libportaudio2, or on macOS: brew install portaudio"
        raise Trouble(f"no sound without PortAudio ({error}); try: {hint}") from error
    except Exception as error:  # its own PortAudioError, which has no name before the import
        hint = "do other programs record? on Linux ~/.asoundrc may be wrong"
        raise Trouble(f"no sound: {error}; {hint}") from error
    return module


def no_recording(error: Exception) -> Trouble:
    """Why a microphone cannot be recorded from, and what to do."""
    advice = "see --list-devices"
    if PORTAUDIO_INVALID_RATE in error.args:
        advice = "no usual rate works either; choose another with --device, see --list-devices"
    elif PORTAUDIO_UNAVAILABLE in error.args:
        advice = "does another program have it? or choose another with --device"
    return Trouble(f"no microphone to record from: {error}; {advice}")


class Microphone:
    """A sound card at its own rate; its callback puts blocks into a bounded queue."""

    def __init__(self, wanted: str | None) -> None:
        sd = sounddevice()
        self.lost_blocks = 0
        self._blocks: queue.Queue[Samples] = queue.Queue(1_000)  # of 10 to 100 ms each
        try:
            index = choose_device(sd.query_devices(), wanted) if wanted else None
            device = sd.query_devices(index, "input")
            self.name = plain(device["name"])
            self._stream = self._record(sd, index, device)
        except (sd.PortAudioError, ValueError) as error:
            raise no_recording(error) from error
        self._mixer, self._resampler = Mixer(self.rate_hz), Resampler(self.rate_hz)

    def _record(self, sd: Any, index: int | None, device: Mapping[str, Any]) -> Any:
        """A stream that runs, at the card's own rate; at a usual one if the card refuses that."""
        channels, own_hz = int(device["max_input_channels"]), float(device["default_samplerate"])
        rates_hz = list(dict.fromkeys((own_hz, *USUAL_RATES_HZ)))
        for self.rate_hz in rates_hz:
            try:
                stream = self._start(sd, index, channels)
            except sd.PortAudioError as error:
                if PORTAUDIO_INVALID_RATE not in error.args or self.rate_hz == rates_hz[-1]:
                    raise
            else:
                break
        return stream

    def _start(self, sd: Any, index: int | None, channels: int) -> Any:
        """Start a stream in up to three attempts: a sound system may be busy or waking up."""
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
        """A stream: mono if the device supports it, else with all its channels."""
        settings = {"device": index, "samplerate": self.rate_hz, "callback": self._keep}
        with suppress(sd.PortAudioError):
            return sd.InputStream(channels=1, dtype="float32", **settings)
        return sd.InputStream(channels=channels, dtype="float32", **settings)

    def _keep(self, block: Samples, _frames: int, _time: object, status: Any) -> None:
        """PortAudio calls this in its own thread; block: shape (frames, channels)."""
        self.lost_blocks += bool(status.input_overflow)
        try:
            self._blocks.put_nowait(block.copy())
        except queue.Full:
            self.lost_blocks += 1

    @property
    def is_gone(self) -> bool:
        """Whether it stopped recording: it was unplugged, or it failed otherwise."""
        return not self._stream.active

    def take(self, *, is_last: bool = False) -> Samples:
        """The audio recorded since the last call, 16 kHz mono."""
        blocks = [self._blocks.get_nowait() for _ in range(self._blocks.qsize())]
        mixed = [self._mixer.feed(np.concatenate(blocks).T)] if blocks else []
        samples = [self._resampler.feed(sound) for sound in mixed]
        rest = [self._resampler.flush()] if is_last else []
        return np.concatenate([np.empty(0, dtype=np.float32), *samples, *rest])

    def close(self) -> None:
        """Stop recording; `take` still returns the audio recorded so far."""
        self._stream.close(ignore_errors=True)


class CaptionFile:
    """A growing caption file, replaced as a whole, so that a player never reads half of it."""

    def __init__(self, path: Path) -> None:
        self._path, self._kind = path, path.suffix[1:]
        self._done, self._count = FILE_HEADS[self._kind], 0
        self._words: list[Word] = []  # of the caption that still grows
        self._replace(self._done)

    def add(self, text: str, start_s: float | None, end_s: float) -> None:
        """Extend the last caption, or begin another. Raises OutputTrouble."""
        add_word(self._words, text, start_s, end_s)
        found = segments(self._words)
        for segment, following in pairwise(found):
            self._count += 1
            self._done += cue(self._count, segment, following.start_s, self._kind)
        self._words = list(found[-1].words)
        if in_line(self._words):
            growing = cue(self._count + 1, found[-1], NEVER_S, self._kind)
            self._replace(self._done + growing)

    def _replace(self, text: str) -> None:
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            line = f"cannot write --captions {shown(self._path)}: {error.strerror}"
            raise OutputTrouble(line) from error


class Screen:
    """The transcript on stdout and in files; level, time and lag on stderr.

    If both are the same terminal, or stdout gets another format at the end, the transcript
    scrolls above the live line.
    """

    def __init__(self, save: Path | None, kind: str, captions: Path | None) -> None:
        try:
            self._file = save.open("a", encoding="utf-8") if save else None
        except OSError as error:
            line = f"cannot write --save {shown(error.filename)}: {error.strerror}"
            raise Trouble(line) from error
        self._captions = CaptionFile(captions) if captions else None
        self._kind, self._words, self._recorded_s = kind, list[Word](), 0.0
        self._console = Console(stderr=True)
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self.is_joint = is_live and (kind != "txt" or sys.stdout.isatty())
        """Whether the transcript is above the live line, so that text may be held there."""
        self._lines, self._status, self._held = Lines(), Text(), ""
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            refresh_per_second=10,  # a word that may still change is soon out of date
            transient=True,
            redirect_stdout=False,  # else the transcript would go to the live display's stream
        )
        self._is_live = is_live

    def start(self) -> None:
        """Show the live line."""
        if self._is_live:
            self._live.start()

    def write(self, text: str, start_s: float | None, end_s: float) -> None:
        """Extend the transcript. Raises OutputTrouble."""
        add_word(self._words, text, start_s, end_s)
        if self._captions:
            self._captions.add(text, start_s, end_s)
        before = self._lines.line
        text = self._lines.feed(text)
        if self.is_joint:
            for line in f"{before}{text}".split("\n")[:-1]:
                self._console.print(Text(line), soft_wrap=True)
        if self._kind == "txt":
            self._put(text, to_stdout=not self.is_joint)

    def hold(self, text: str) -> None:
        """Show `text` dim after the transcript, on a terminal only, in place of what was held."""
        self._held = text

    def _put(self, text: str, *, to_stdout: bool) -> None:
        try:
            if to_stdout:
                put(sys.stdout, text)
        finally:
            if self._file:
                put(self._file, text)

    def tell(self, line: str) -> None:
        """Print a remark on stderr."""
        self._console.print(Text(line, style="dim"), soft_wrap=True)

    def show(self, state: str, level_dbfs: float, recorded_s: float, lag_s: float) -> None:
        """Update the live line."""
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
        """Restore the terminal, with the full transcript on it. Raises OutputTrouble."""
        self._live.stop()
        end = "\n" if self._lines.line else ""
        if self._kind == "txt":
            on_stdout, in_file = self._lines.line + end if self.is_joint else end, end
        else:
            on_stdout = in_file = document(self._words, self._kind, self._recorded_s)
        with ExitStack() as afterwards:
            if self._file:
                afterwards.enter_context(self._file)
                afterwards.callback(put, self._file, in_file, replaces=self._kind != "txt")
            put(sys.stdout, on_stdout)

    def _picture(self) -> Group:
        line = self._lines.line
        tail = Text.assemble(line, (self._held if line else self._held.lstrip(), "dim"))
        return Group(*([tail] if self.is_joint and tail else []), self._status)


class Talk:
    """Sends the ring to the server and prints the transcript, over any number of connections.

    A session that the server kept is resumed; a new one listens again from the place up to which
    all words are safe.
    """

    def __init__(self, options: argparse.Namespace, ring: Ring, screen: Screen) -> None:
        self._options, self.ring, self.screen = options, ring, screen
        self.state = "connecting"
        self.deadline = asyncio.Timeout(None)
        self._session, self._story = Session(options.server), Story()
        self._model = options.server.model
        self.meter, self._failures = Meter(), 0
        self._is_proven = self._is_done = False

    @property
    def lag_s(self) -> float:
        """How much recorded audio the server has not listened to yet."""
        return max(0, self.ring.end - self._story.heard) / SAMPLE_RATE_HZ

    async def find(self) -> None:
        """Look for the server if nobody names it; the microphone keeps what is said meanwhile."""
        server, discovers = self._options.server, self._options.discover
        self._options.server = await asyncio.to_thread(located, server, discovers=discovers)
        self._session = Session(self._options.server)

    async def run(self) -> None:
        """Run until the last words arrive. Raises Trouble."""
        try:
            async with self.deadline:
                while not self._is_done:
                    await self._try()
        except TimeoutError:
            raise Trouble(f"the last {self.lag_s:.1f} s were not transcribed in time") from None
        finally:
            self.settle()

    def settle(self) -> None:
        """Say the last words of a session that was cut, because no other session follows."""
        said, self._story.last_words, self._story.tentative = self._story.last_words, [], ""
        self._hold()
        self._say(said)

    def extend_deadline(self) -> None:
        """Restart the deadline for the last words."""
        self.deadline.reschedule(asyncio.get_running_loop().time() + LAST_WORDS_S)

    async def _try(self) -> None:
        """Use one connection; pause after it breaks. Raises Trouble that will not pass."""
        try:
            await self._converse()
        except Trouble as trouble:
            if isinstance(trouble, OutputTrouble) or not (trouble.passes or self._is_proven):
                raise
            self._story.tentative = ""
            self._hold()
            if self._failures == 0:
                self.screen.tell(f"{trouble} (what you say is kept; trying again)")
            self.state = "reconnecting"
            self._failures += 1
            await asyncio.sleep(pause_s(self._failures))

    async def _converse(self) -> None:
        server = self._options.server
        try:
            if not server.model and not self._session.token:
                self._model = await asyncio.to_thread(first_model, server)
            ws = await open_socket(self._session.address, server)
        except CONNECT_ERRORS as error:
            raise await self._session.unreached(error) from error
        try:
            async with ws, asyncio.TaskGroup() as tasks:
                await self._receive(ws, tasks)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    def _greet(self, greeting: Event) -> bool:
        """Resume, or go back to where the words are safe, as far as the ring reaches.

        False if the server has lost the session.
        """
        safe, place = self._story.safe, max(self._story.safe, self.ring.start)
        if not self._session.greet(greeting, self._story, place):
            return False
        self.screen.hold("")
        if greeting.kind == "session.created" and place > safe:
            times = [timedelta(seconds=at // SAMPLE_RATE_HZ) for at in (safe, place)]
            self.screen.tell("lost, because it was too long ago: {} to {}".format(*times))
        if self.state == "reconnecting":
            self.screen.tell("connected again")
        self.state = "connected"
        return True

    async def _send(self, ws: ClientConnection) -> None:
        session, story = self._session, self._story
        with suppress(ConnectionClosed):  # the receiver sees it too, and reports it
            await ws.send(session.model(self._model, tentative=self.screen.is_joint))
            await ws.send(BEGIN)
            while (waiting := self.ring.end - story.sent) > 0 or not self.ring.is_closed:
                if story.sent < self.ring.start:
                    session.token = ""
                    raise Trouble("the server is behind by more than --keep-minutes", passes=True)
                if waiting < CHUNK_SAMPLES and not self.ring.is_closed:
                    await asyncio.sleep(TICK_S)
                    continue
                chunk = self.ring.read(story.sent, SAMPLE_RATE_HZ)
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
            ws.transport.abort()  # no close: after one, the server would not keep the session
            raise self._session.broken(error) from error
        self._session.token = ""
        if sender:
            sender.cancel()
        if not self._story.is_whole:
            raise Trouble("the server ended the transcript", passes=True)
        self._is_done = True

    def _take(self, event: Event) -> bool:
        """Take an event; return whether more will follow. Raises Trouble for an error."""
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
        self._hold()
        return event.kind != "transcription.done"

    def _hear(self, event: Event) -> None:
        heard, now_s = self._story.heard, asyncio.get_running_loop().time()
        self._failures, self._is_proven = 0, True
        self._say(self._story.hear(event, now_s))
        if self.ring.is_closed and self._story.heard > heard:
            self.extend_deadline()
        self._tell(self._session.remarks(event, self._story))
        if event.field("notice", "") == "zeros" and not self.meter.is_muted:
            self._tell([MUTED + permission()])

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            self.screen.tell(line)

    def _hold(self) -> None:
        """Show what may still change: the last words of a cut session, or tentative ones."""
        last_words = "".join(text for text, _, _ in self._story.last_words)
        self.screen.hold(last_words + self._story.tentative)

    def _say(self, pieces: list[Said]) -> None:
        if pieces:
            self.screen.hold("")  # else they might be seen twice for a moment
        for piece in pieces:
            self.screen.write(*piece)


async def next_message(ws: ClientConnection) -> str | bytes:
    """The next message. Raises TimeoutError if none comes and no ping is answered."""
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                return await ws.recv()
        except TimeoutError:
            async with asyncio.timeout(SILENCE_S):
                await (await ws.ping())


async def record(mic: Microphone, talk: Talk, stop: asyncio.Event) -> bool:
    """Fill the ring and update the live line; False if the microphone stopped by itself."""
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
        screen.show(talk.state, meter.level_dbfs, talk.ring.end / SAMPLE_RATE_HZ, talk.lag_s)
    mic.close()
    talk.ring.append(mic.take(is_last=True))
    talk.ring.is_closed = True
    talk.extend_deadline()
    return stop.is_set()


async def listen(options: argparse.Namespace, screen: Screen) -> int:
    """Record and transcribe until a signal comes; the exit status. Raises Trouble."""
    with closing(Microphone(options.device)) as mic:  # PortAudio calls it until closed
        screen.tell(f"recording from {mic.name} at {mic.rate_hz:g} Hz; Ctrl-C ends")
        ring = Ring(round(options.keep_minutes * 60 * SAMPLE_RATE_HZ))
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
            await talk.find()
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
    """Print every microphone, the default one with a star. Raises Trouble if none is found."""
    sd = sounddevice()
    inputs = [device for device in sd.query_devices() if device["max_input_channels"]]
    for device in inputs:
        mark = "*" if device["index"] == sd.default.device[0] else " "
        rate_hz, name = device["default_samplerate"], plain(device["name"])
        put(sys.stdout, f"{mark} {device['index']:2} {name} ({rate_hz:g} Hz)\n")
    if not inputs:
        raise Trouble(NO_MICROPHONE)
    return 0


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 if it is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add_server_options(parser)
    add("--device", help="index or part of the name; default: the system's default")
    add("--list-devices", action="store_true", help="show the microphones")
    formats = "txt as you speak (the default), or at the end json, srt or vtt, with times"
    add("--format", choices=FORMATS, default="txt", help=formats)
    saved = "also write it to FILE; txt is appended, the other formats replace it"
    add("--save", type=file_name, metavar="FILE", help=saved)
    captions = ".srt or .vtt: captions that grow; replaces FILE"
    add("--captions", type=file_name, metavar="FILE", help=captions)
    add("--keep-minutes", type=float, default=10.0, help="kept while the server is away: 10")
    options = parse_server_options(parser, arguments)
    if not 0 < options.keep_minutes <= 600:
        parser.error(
            f"--keep-minutes: got {options.keep_minutes:g}, expected more than 0, up to 600"
        )
    if options.captions and options.captions.suffix not in (".srt", ".vtt"):
        expected = "expected a name that ends in .srt or .vtt"
        parser.error(f"--captions: got {options.captions}, {expected}")
    return options


def main() -> int:
    """Run the program; its exit status."""
    try:
        open_streams()
        options = parse_options()
        if options.list_devices:
            return list_devices()
        with closing(Screen(options.save, options.format, options.captions)) as screen:
            return asyncio.run(listen(options, screen))
    except Trouble as trouble:
        sys.stderr.write(f"{Path(__file__).name}: {trouble}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
