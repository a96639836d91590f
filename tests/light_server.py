"""A server without an engine, for tests of what lanscribe does with signals and records.

Its life is that of `python -m lanscribe serve`, in the same order and by the same modules; only
there is nothing to import and nothing to load. It takes PORT and DRAIN_S from the environment.
"""

import sys

from lanscribe.admin import orders, records

if not orders.begin():
    records.remove_own()
    sys.exit(0)
records.begin()

import asyncio  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402

ANSWER = b'{"status": "ok", "engine": "none", "model": "none", "sessions": 0, "capacity": 0}'


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that all is well."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
    await writer.drain()
    writer.close()


async def serve(listener: socket.socket, given: orders.Orders) -> None:
    """Until an order comes; then drain."""
    loop, is_stopped = asyncio.get_running_loop(), asyncio.Event()
    given.take(lambda: loop.call_soon_threadsafe(is_stopped.set))
    async with await asyncio.start_server(answer, sock=listener):
        await is_stopped.wait()
    await asyncio.sleep(float(os.environ["DRAIN_S"]))
    given.served()


def main() -> None:
    """Listen, serve, and start again where that is wished."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", int(os.environ["PORT"])))
        listener.listen()
    except OSError:
        sys.exit(1)
    given = orders.Orders()
    with records.recorded("gateway", *listener.getsockname()[:2]):
        asyncio.run(serve(listener, given))
        if given.wants_restart and given.hold_back():
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


main()
