"""The program: `python -m lanscribe WORD ...`, which setup.sh and serve.sh call."""

import os
import signal
import sys

_STDERR = 2


def _begin_to_serve() -> bool:
    """Write the record by which a stop finds this server; False if a stop came before."""
    from lanscribe.admin import orders, records  # noqa: PLC0415  after SIGINT is set

    if not orders.begin():
        records.remove_own()
        return False
    records.begin()
    return True


def _occupy_closed_streams() -> None:
    """Let no file or socket take the number of a standard stream that was closed, as by `>&-`."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def main() -> int:
    """Run the word on the command line; return its exit status."""
    _occupy_closed_streams()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    if sys.argv[1:2] == ["serve"] and not _begin_to_serve():
        return 0
    from lanscribe.admin import commands  # noqa: PLC0415  only after the record is written

    return commands.dispatch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
