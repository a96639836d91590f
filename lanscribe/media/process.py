"""Reads recordings in processes of their own, which may crash, hang or run out of memory."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import BinaryIO

from lanscribe import PROJECT_DIR, errors
from lanscribe.media.frames import HEAD, Kind, piece_of
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece, Unreadable
from lanscribe.speech.audio import duration_s

log = logging.getLogger(__name__)

COMMAND = ("-P", "-m", "lanscribe.media.forker")
"""The arguments of Python that run the process that forks the others."""
PATIENCE_S = 300.0
"""How long a process may decode without a result. To find that the first track of a film is
silent takes 16 s for each hour."""
END_S = 30.0
"""How long the end of a killed process may take. The forker may still be importing."""
_SOCKET_BYTES = 2**16
"""What the system may keep of frames that are not read; Linux takes twice as much."""
_STATUS_BYTES = 64


class _Lost(Exception):
    """The process did not read its recording to the end, and why."""


class Decoders:
    """The processes that decode for a server, and the forker, which forks them.

    The forker starts when it is needed first. If it dies, the recordings under way are lost, and
    the next recording starts another.
    """

    def __init__(self) -> None:
        self._forker: _Forker | None = None
        self._is_closed = False

    def start(self) -> None:
        """Start the forker if none runs; ready in 0.3 s. Raises LanscribeError when closed."""
        self._running()

    @asynccontextmanager
    async def opened(
        self, file: BinaryIO, track: str = "", *, patience_s: float = PATIENCE_S
    ) -> AsyncIterator[AsyncIterator[Piece]]:
        """The pieces of a recording, as `lanscribe.media.reader.read` has them.

        file: one with a descriptor, and nothing in Python's own buffers. Iterating raises
        Unreadable or NoSuchTrack before the first samples, and LanscribeError there for a defect of
        the reader; if the process is lost after them, the last piece is Missing. After the context
        its process has ended.
        """
        job = _Job(self._running(), file, track)
        try:
            yield _pieces(job, patience_s)
        finally:
            await asyncio.shield(asyncio.ensure_future(job.end()))

    def close(self) -> None:
        """End all processes. Recordings under way are lost, and no others can be opened."""
        self._is_closed = True
        if self._forker:
            self._forker.kill()

    def _running(self) -> "_Forker":
        if self._is_closed:
            raise errors.stopping()
        if self._forker is None or not self._forker.is_alive():
            self._forker = _Forker()
        return self._forker


class _Forker:
    """A running `python -m lanscribe.media.forker`."""

    def __init__(self) -> None:
        path = {"PYTHONPATH": str(PROJECT_DIR), "OPENBLAS_NUM_THREADS": "1"}
        with ExitStack() as ours, ExitStack() as others:
            self._orders, theirs = _pair(ours, others)
            self._process = subprocess.Popen(
                (sys.executable, *COMMAND),
                env=os.environ | path,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,  # libraries write there
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # only the server handles a terminal's Ctrl-C
            )
            ours.pop_all()

    def fork(self, track: str, *descriptors: int) -> None:
        """Have a recording decoded; if this process has died, `descriptors` are only closed."""
        with suppress(ConnectionError):
            socket.send_fds(self._orders, [json.dumps(track).encode()], descriptors)

    def is_alive(self) -> bool:
        """Whether it runs. If it has died, nothing of it is left."""
        try:
            self._orders.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True  # it sends nothing, so all else is its end
        except OSError:
            pass
        self.kill()
        return False

    def kill(self) -> None:
        """End it at once, and on Linux with it all that it has forked."""
        self._orders.close()
        self._process.kill()
        self._process.wait()

    def wait(self) -> int:
        """Wait for its end; its exit status, or minus its signal."""
        return self._process.wait()


class _Job:
    """A recording that is decoded in a process of its own."""

    def __init__(self, forker: _Forker, file: BinaryIO, track: str) -> None:
        self._forker = forker
        with ExitStack() as ours, ExitStack() as theirs:
            self._frames, frames = _pair(ours, theirs)
            self._life, life = _pair(ours, theirs)
            frames.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
            forker.fork(track, file.fileno(), frames.fileno(), life.fileno())
            self._sockets = ours.pop_all()

    async def read(self, count: int) -> bytes:
        """The next `count` bytes of its frames. Raises EOFError when the process has ended."""
        data = bytearray()
        while len(data) < count:
            part = await _received(self._frames, count - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    async def status(self) -> int:
        """Wait for the end of the process; its exit status, or minus its signal."""
        status = await _received(self._life, _STATUS_BYTES)
        return int(status) if status else await asyncio.to_thread(self._forker.wait)

    async def end(self) -> None:
        """Kill the process, and wait until nothing of it is left."""
        with self._sockets:
            with suppress(OSError):  # macOS, if it has ended before
                self._life.shutdown(socket.SHUT_WR)
            try:
                async with asyncio.timeout(END_S):
                    while await _received(self._life, _STATUS_BYTES):
                        pass
            except TimeoutError:
                log.error("the process that forks decoders hangs, and is killed")
                self._forker.kill()


def _pair(ours: ExitStack, theirs: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, of which ours does not block."""
    one, other = socket.socketpair()
    one.setblocking(False)
    return ours.enter_context(one), theirs.enter_context(other)


async def _received(connection: socket.socket, most: int) -> bytes:
    return await asyncio.get_running_loop().sock_recv(connection, most)


async def _pieces(job: _Job, patience_s: float) -> AsyncIterator[Piece]:
    has_sound, position_s = False, 0.0
    try:
        async for piece in _sent(job, patience_s):
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


async def _sent(job: _Job, patience_s: float) -> AsyncIterator[Piece]:
    """What the process decodes. Raises _Lost or LanscribeError if that is not all."""
    while (frame := await _next_frame(job, patience_s))[0] is not Kind.END:
        _check(*frame)
        yield piece_of(*frame)


async def _next_frame(job: _Job, patience_s: float) -> tuple[Kind, bytes]:
    try:
        async with asyncio.timeout(patience_s):
            try:
                kind, length = HEAD.unpack(await job.read(HEAD.size))
                return Kind(kind), await job.read(length)
            except EOFError as error:
                raise _ending(await job.status()) from error
    except TimeoutError as error:
        raise _Lost(f"the decoder hung: nothing came of it for {patience_s:g} s") from error


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
