"""The QR code of the page's https address: `serve.sh qr`, and at the end of the start banner.

It holds the address and the fingerprint of the box's authority, never a key.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import segno

from lanscribe.admin import control, machine
from lanscribe.admin.records import Record
from lanscribe.installation import say

_QUIET_MODULES = 2
"""Of the light margin in a terminal; four in a picture, as the standard wants."""
_PICTURE_QUIET_MODULES = 4
_PICTURE_SCALE = 8
_INK = "\x1b[38;5;16;48;5;231m"
"""Black on white, whatever the colours of the terminal are."""
_PAPER_CELL, _INK_CELL = "\x1b[48;5;231m  ", "\x1b[48;5;16m  "
_PLAIN = "\x1b[0m"
_HALVES = {(0, 0): " ", (1, 0): "\u2580", (0, 1): "\u2584", (1, 1): "\u2588"}
"""Two modules above each other, in the colour of the text where they are 1."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What a terminal, or a file in its place, can show."""

    columns: int
    has_colours: bool
    has_blocks: bool
    """Whether its encoding has U+2588 and its like."""
    is_inverted: bool = False
    """Whether letters are darker than what is behind them; asked only without colours."""


def screen(stream: TextIO | None, environ: Mapping[str, str], *, is_inverted: bool) -> Screen:
    """What a stream can show."""
    is_terminal = stream is not None and not stream.closed and stream.isatty()
    has_colours = (
        is_terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
    )
    columns = shutil.get_terminal_size().columns if is_terminal else sys.maxsize
    return Screen(columns, has_colours, _has_blocks(stream), is_inverted)


def _has_blocks(stream: TextIO | None) -> bool:
    try:
        "".join(_HALVES.values()).encode((stream and stream.encoding) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def drawn(address: str, screen: Screen) -> str:
    """The code of an address for a terminal, or how wide the terminal has to be for it."""
    rows = [list(row) for row in _code(address).matrix_iter(border=_QUIET_MODULES)]
    width = len(rows[0]) * (1 if screen.has_blocks else 2)
    if width > screen.columns:
        return (
            f"The QR code needs a terminal of {width} columns; this one has {screen.columns}:"
            " make it wider, or bash serve.sh qr --svg FILE"
        )
    return "\n".join(_in_blocks(rows, screen) if screen.has_blocks else _in_cells(rows, screen))


def at_start(address: str, stream: TextIO | None, environ: Mapping[str, str]) -> str:
    """The code for the end of the start banner; "" if nobody reads it in a terminal."""
    if not address or stream is None or stream.closed or not stream.isatty():
        return ""
    return f"\n{drawn(address, screen(stream, environ, is_inverted=False))}"


def below(address: str, fingerprint: str) -> str:
    """What is printed below the code: the address as it is typed, and what has to be compared."""
    shown = f"  {address.partition('#')[0]}\n"
    if not fingerprint:
        return shown
    half = len(fingerprint) // 2
    first, second = fingerprint[:half], fingerprint[half + 1 :]
    return f"{shown}  fingerprint  {first}\n               {second}\n"


def _code(address: str) -> segno.QRCode:
    return segno.make_qr(address, error="l")


def _in_blocks(rows: Sequence[Sequence[int]], screen: Screen) -> Iterator[str]:
    """Two rows in a line. Without colours the light modules are drawn, as letters are light."""
    ink = 1 if screen.has_colours or screen.is_inverted else 0
    start, end = (_INK, _PLAIN) if screen.has_colours else ("", "")
    paper = [0] * len(rows[0])
    for at in range(0, len(rows), 2):
        lower = rows[at + 1] if at + 1 < len(rows) else paper
        pairs = zip(rows[at], lower, strict=True)
        yield start + "".join(_HALVES[int(a == ink), int(b == ink)] for a, b in pairs) + end


def _in_cells(rows: Sequence[Sequence[int]], screen: Screen) -> Iterator[str]:
    """A row in a line, each module two letters wide, in ASCII."""
    if screen.has_colours:
        cells = (_PAPER_CELL, _INK_CELL)
    else:
        cells = ("  ", "##") if screen.is_inverted else ("##", "  ")
    end = _PLAIN if screen.has_colours else ""
    for row in rows:
        yield "".join(cells[module] for module in row) + end


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where to draw the code."""
    parser.add_argument("--svg", type=Path, metavar="FILE", help="save the code as a picture")
    parser.add_argument("--png", type=Path, metavar="FILE", help="the same, of pixels")
    parser.add_argument("--port", type=int, help="only the server on this port")
    parser.add_argument(
        "--invert",
        action="store_true",
        help="swap light and dark, for a light terminal where NO_COLOR is set",
    )


def main(options: argparse.Namespace) -> int:
    """Print and save the code of a running server; 1 if that is not possible."""
    with control.running(options.port) as servers:
        gateways = [record for record, _ in servers if record.kind == "gateway"]
    if not gateways:
        where = f" on port {options.port}" if options.port else ""
        say("serve", f"no server runs{where}, so it has no address yet; start it: bash serve.sh")
        return 1
    found = _ask(gateways[0])
    if isinstance(found, str):
        say("serve", f"{gateways[0]}: {found}")
        return 1
    address, fingerprint = found
    if not _save(address, options):
        return 1
    shown = screen(sys.__stdout__, os.environ, is_inverted=options.invert)
    sys.stdout.write(f"{drawn(address, shown)}\n{below(address, fingerprint)}")
    return 0


def _ask(record: Record) -> tuple[str, str] | str:
    """The address for the code and the fingerprint of a server, or why it has none."""
    answer = machine.trust(record.host, record.port) if record.port else None
    if answer is None:
        return "does not answer; try again when it is ready"
    try:
        told: dict[str, Any] = json.loads(answer[1])
        if answer[0] != 200:
            return str(told["error"]["message"])
        return str(told["address"]), str(told["fingerprint"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"answers HTTP {answer[0]} where its address was expected; is it an older lanscribe?"


def _save(address: str, options: argparse.Namespace) -> bool:
    """Save the pictures that are asked for; False, after one line, if that fails."""
    for kind, path in (("svg", options.svg), ("png", options.png)):
        if path is None:
            continue
        try:
            with path.open("wb") as file:
                _code(address).save(
                    file,
                    kind=kind,
                    scale=_PICTURE_SCALE,
                    border=_PICTURE_QUIET_MODULES,
                    light="white",
                )
        except OSError as error:
            say("serve", f"--{kind} {path}: {error.strerror}")
            return False
        say("serve", f"the QR code is in {path}")
    return True
