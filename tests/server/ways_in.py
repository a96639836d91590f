"""Runs a server in a namespace, and prints who comes in: from each address, by each protocol."""

import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from lanscribe.identity import home_networks
from lanscribe.identity.network import url_host
from tests.server.test_networks import WAYS
from tests.servers import start_here
from tests.support import DEADLINE_S

Ask = Callable[[str, str, int], Any]


def over_http(source: str, target: str, port: int) -> int:
    """The status that a program at the address `source` gets."""
    return _get(source, target, port, {})


def through_a_proxy(source: str, target: str, port: int) -> int:
    """The status that a proxy on this machine gets for a client at `source`."""
    local = "::1" if ":" in target else "127.0.0.1"
    return _get(local, target, port, {"X-Forwarded-For": source})


def _get(source: str, target: str, port: int, headers: dict[str, str]) -> int:
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport, timeout=DEADLINE_S) as client:
        url = f"http://{url_host(target)}:{port}/v1/models"
        return client.get(url, headers=headers).status_code


def over_websocket(source: str, target: str, port: int) -> str:
    """The type of the first event, or the status of the refusal."""

    async def begun() -> str:
        url = f"ws://{url_host(target)}:{port}/v1/realtime"
        try:
            async with connect(url, local_addr=(source, 0)) as one:
                return str(json.loads(await one.recv())["type"])
        except InvalidStatus as refusal:
            return str(refusal.response.status_code)

    return asyncio.run(begun())


def over_wyoming(source: str, target: str, port: int) -> str:
    """The type of the first event that answers describe."""
    with socket.create_connection((target, port), DEADLINE_S, (source, 0)) as one:
        one.sendall(b'{"type": "describe"}\n')
        return str(json.loads(one.makefile("rb").readline())["type"])


def main(networks: list[str]) -> dict[str, Any]:
    """What everybody gets of a server with these networks."""
    auth = {"networks": networks, "proxies": ["127.0.0.1", "::1"]}
    with tempfile.TemporaryDirectory() as folder:
        server = start_here(Path(folder), None, {"server": {"host": "::"}, "auth": auth})
        ports = {"http": server.port, "websocket": server.port, "proxy": server.port}
        ports["wyoming"] = server.wyoming_port
        asks: dict[str, Ask] = {"http": over_http, "websocket": over_websocket}
        asks |= {"proxy": through_a_proxy, "wyoming": over_wyoming}
        try:
            return {
                "at hand": home_networks.at_hand(),
                **{
                    name: {f"{source} {to}": ask(source, to, ports[name]) for source, to in WAYS}
                    for name, ask in asks.items()
                },
            }
        finally:
            server.stop()


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))  # noqa: T201
