"""Shows why the microphone client may crash as it starts: a fault of libjack, without the client.

    python -m tests.clients.late_jack 0.5    # the thread is late, but not too late: "alive"
    python -m tests.clients.late_jack 4      # Segmentation fault

PortAudio, and ALSA's plugin for JACK, ask libjack for a server whenever they look for devices.
libjack (jack2 1.9.21, and 1.9.22, the newest) first starts a thread for its messages and waits for
it: 1,000 naps of a millisecond. Where the thread has not run by then, JackMessageBuffer::Create
deletes the object that JackPosixThread::ThreadHandler is about to call. So a program in which that
thread is late by more than a second, as on a machine that pauses, dies of SIGSEGV before it
records, by a jump into the heap or to whatever else is in the freed memory by then.
"""

import ctypes
import sys
import time

BODY = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
CREATOR = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, BODY, ctypes.c_void_p)
NO_START_SERVER = 1


def main() -> None:
    """Have libjack's thread run late, look for a server as PortAudio does, and wait for it."""
    late_s, libc, jack = float(sys.argv[1]), ctypes.CDLL(None), ctypes.CDLL("libjack.so.0")
    kept = []

    def create(thread: int, attributes: int, body: object, argument: int) -> object:
        def late(of: int) -> object:
            time.sleep(late_s)
            return body(of)  # type: ignore[operator]

        kept.append((BODY(late), body))
        pointers = map(ctypes.c_void_p, (thread, attributes))
        return libc.pthread_create(*pointers, kept[-1][0], ctypes.c_void_p(argument))

    creator = CREATOR(create)
    jack.jack_set_thread_creator(creator)
    jack.jack_client_open(b"late", NO_START_SERVER, None)
    time.sleep(late_s + 1)
    sys.stdout.write("alive\n")


if __name__ == "__main__":
    main()
