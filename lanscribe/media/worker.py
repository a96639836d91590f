"""Decodes one recording, in a process of its own: a crash of a decoder ends nothing else.

    python -m lanscribe.media.worker [TRACK] < RECORDING

It writes the frames of `lanscribe.media.frames` to stdout, and ends when nobody reads them any
more. A server that stops still needs it, so it ignores the signals that stop a server.
"""

import os
import resource
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import BinaryIO

from lanscribe.media.frames import Kind, frame, piece_frames, text_frame
from lanscribe.media.pieces import NoSuchTrack, Unreadable
from lanscribe.media.reader import read

MOST_MEMORY_BYTES = 512 * 2**20
"""What it may allocate."""
_NICENESS = 5
"""Live streams go first."""


def main(arguments: Sequence[str]) -> None:
    """Decode what stdin holds; `arguments`: the track, or nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, MOST_MEMORY_BYTES)
    pipe = _taken_stdout()
    threading.Thread(target=_end_when_alone, args=(pipe.fileno(),), daemon=True).start()
    with pipe, open(0, "rb", closefd=False) as file:
        _decode(file, "".join(arguments), pipe)


def _decode(file: BinaryIO, track: str, pipe: BinaryIO) -> None:
    try:
        for piece in read(file, track):
            for part in piece_frames(piece):
                pipe.write(part)
        pipe.write(frame(Kind.END))
    except NoSuchTrack as error:
        pipe.write(text_frame(Kind.NO_SUCH_TRACK, str(error)))
    except Unreadable as error:
        pipe.write(text_frame(Kind.UNREADABLE, str(error)))
    except MemoryError:
        most = MOST_MEMORY_BYTES // 2**20
        pipe.write(text_frame(Kind.LOST, f"the decoder needs more than {most} MiB of memory"))
    except BrokenPipeError:
        pass  # nobody waits for it
    except Exception:  # noqa: BLE001  the border of the process: the server's log has it
        pipe.write(text_frame(Kind.DEFECT, traceback.format_exc()))


def _taken_stdout() -> BinaryIO:
    """Stdout, unbuffered, and out of reach of the libraries: what they print there is dropped."""
    pipe = os.dup(1)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    return open(pipe, "wb", buffering=0)  # noqa: PTH123  the caller closes it


def _end_when_alone(pipe: int) -> None:
    """End this process when the other end of its pipe is closed, even if a decoder hangs."""
    waiting = select.poll()
    waiting.register(pipe, 0)  # an error, which is all that is awaited, needs no mask
    waiting.poll()
    os._exit(1)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (bound, bound))


if __name__ == "__main__":
    main(sys.argv[1:])
