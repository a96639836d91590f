"""Reads a recording in a process of its own, which may crash, hang or run out of memory."""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

from lanscribe import PROJECT_DIR, errors
from lanscribe.media.frames import HEAD, MAX_PAYLOAD_BYTES, Kind, piece_of
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece, Unreadable
from lanscribe.speech.audio import duration_s

log = logging.getLogger(__name__)

COMMAND = ("-P", "-m", "lanscribe.media.worker")
"""The arguments of Python that run the process; the track follows."""
PATIENCE_S = 300.0
"""How long the process may decode without a result. To find that the first track of a film is
silent takes 16 s for each hour."""


class _Lost(Exception):
    """The process did not read its recording to the end, and why."""


@asynccontextmanager
async def opened(
    file: BinaryIO, track: str = "", *, patience_s: float = PATIENCE_S
) -> AsyncIterator[AsyncIterator[Piece]]:
    """The pieces of a recording, as `lanscribe.media.reader.read` has them.

    file: one with a descriptor, and nothing in Python's own buffers. Iterating raises Unreadable or
    NoSuchTrack before the first samples, and LanscribeError there for a defect of the reader; if
    the process is lost after them, the last piece is Missing. After the context no process is left.
    """
    process = await _start(file, track)
    try:
        yield _pieces(process, patience_s)
    finally:
        await asyncio.shield(asyncio.ensure_future(_end(process)))


async def _start(file: BinaryIO, track: str) -> Process:
    path = {"PYTHONPATH": str(PROJECT_DIR), "OPENBLAS_NUM_THREADS": "1"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *COMMAND, track),
        env=os.environ | path,
        stdin=file.fileno(),
        stdout=PIPE,
        stderr=DEVNULL,  # libraries write there
        limit=MAX_PAYLOAD_BYTES,
        start_new_session=True,  # only the server handles a terminal's Ctrl-C
    )


async def _end(process: Process) -> None:
    """Kill the process, drop what it wrote, and wait until nothing of it is left."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


async def _pieces(process: Process, patience_s: float) -> AsyncIterator[Piece]:
    has_sound, position_s = False, 0.0
    try:
        async for piece in _received(process, patience_s):
            if isinstance(piece, Missing):
                position_s += piece.skipped_s
            elif not isinstance(piece, About):
                has_sound = True
                position_s += duration_s(len(piece))
            yield piece
    except _Lost as error:
        log.warning("a recording was not read to its end: %s", error)
        if not has_sound:
            raise Unreadable(str(error)) from error
        yield Missing(position_s, None, "damaged", str(error))
    except errors.LanscribeError as error:
        if not has_sound:
            raise
        yield Missing(position_s, None, "damaged", error.public_message)


async def _received(process: Process, patience_s: float) -> AsyncIterator[Piece]:
    """What the process decodes. Raises _Lost or LanscribeError if that is not all."""
    while (frame := await _next_frame(process, patience_s))[0] is not Kind.END:
        _check(*frame)
        yield piece_of(*frame)


async def _next_frame(process: Process, patience_s: float) -> tuple[Kind, bytes]:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(patience_s):
            kind, length = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
            return Kind(kind), await process.stdout.readexactly(length)
    except TimeoutError as error:
        raise _Lost(f"the decoder hung: nothing came of it for {patience_s:g} s") from error
    except asyncio.IncompleteReadError as error:
        raise _ending(await process.wait()) from error


def _check(kind: Kind, payload: bytes) -> None:
    """Raise what the process raised, if the frame says so."""
    match kind:
        case Kind.UNREADABLE:
            raise Unreadable(payload.decode())
        case Kind.NO_SUCH_TRACK:
            raise NoSuchTrack(payload.decode())
        case Kind.LOST:
            raise _Lost(payload.decode())
        case Kind.DEFECT:
            log.error("a recording was not read by a defect:\n%s", payload.decode())
            raise errors.defect()


def _ending(status: int) -> Exception:
    """The error that a process with this status had."""
    if status < 0:
        return _Lost(f"the decoder crashed ({signal.Signals(-status).name})")
    log.error("a decoder ended with status %d; bash setup.sh --check finds what is broken", status)
    return errors.defect()
