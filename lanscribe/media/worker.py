"""Decodes one recording, in a process of its own: a crash of a decoder ends nothing else.

The process is forked by `lanscribe.media.forker`, and killed by it when nobody waits for more.
"""

import os
import resource
import socket
import traceback
from collections.abc import Callable
from typing import BinaryIO

from lanscribe.media.frames import Kind, frame, piece_frames, text_frame
from lanscribe.media.pieces import NoSuchTrack, Unreadable
from lanscribe.media.reader import read

MOST_MEMORY_BYTES = 512 * 2**20
"""What it may allocate."""
_NICENESS = 5
"""Live streams go first."""


def work(recording: int, frames: int, track: str) -> None:
    """Decode a recording and write the frames of `lanscribe.media.frames`.

    recording, frames: descriptors of the file and of a socket; track: as `read` has it.
    """
    os.nice(_NICENESS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, MOST_MEMORY_BYTES)
    with socket.socket(fileno=frames) as out, open(recording, "rb") as file:
        _decode(file, track, out.sendall)


def _decode(file: BinaryIO, track: str, send: Callable[[bytes], None]) -> None:
    try:
        for piece in read(file, track):
            for part in piece_frames(piece):
                send(part)
        send(frame(Kind.END))
    except NoSuchTrack as error:
        send(text_frame(Kind.NO_SUCH_TRACK, str(error)))
    except Unreadable as error:
        send(text_frame(Kind.UNREADABLE, str(error)))
    except MemoryError:
        most = MOST_MEMORY_BYTES // 2**20
        send(text_frame(Kind.LOST, f"the decoder needs more than {most} MiB of memory"))
    except ConnectionError:
        pass  # nobody waits for it
    except Exception:  # noqa: BLE001  the border of the process: the server's log has it
        send(text_frame(Kind.DEFECT, traceback.format_exc()))


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (bound, bound))
