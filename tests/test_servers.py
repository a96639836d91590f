"""The servers that other tests rely on."""

import asyncio
from typing import Any, NoReturn

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from lanscribe.config import EngineSettings, Settings
from lanscribe.engines.fake import spoken
from lanscribe.errors import EngineUnavailable
from lanscribe.server import transport
from lanscribe.server.gateway import Gateway
from lanscribe.server.transport import make_server
from tests.servers import Parts, ServeHere
from tests.support import DEADLINE_S, client


def test_each_has_its_own_log(serve_here: ServeHere) -> None:
    first, second = serve_here(), serve_here()

    async def talk() -> None:
        async with client(first.url, "fake-numbers") as one:
            assert (await one.transcribe(spoken([1])))["text"] == "1"

    asyncio.run(talk())
    first.stop()
    assert "open (1 of" in first.log
    assert "open" not in second.log


def test_a_defect_is_a_traceback_in_its_log(serve_here: ServeHere) -> None:
    """On which every check that there is none relies."""

    def make(_: ASGIApp, *arguments: Any, **more: Any) -> transport.Server:
        return make_server(Starlette(routes=[Route("/health", fail)]), *arguments, **more)

    def fail(_: Request) -> NoReturn:
        raise ZeroDivisionError

    server = serve_here(Parts(web=make))
    assert httpx.get(f"{server.http_url}/health", timeout=DEADLINE_S).status_code == 500
    server.stop()  # it answers first, and logs then
    assert "Traceback" in server.log


def test_parts_get_the_settings_of_the_test(serve_here: ServeHere) -> None:
    given: list[Settings] = []

    def make(settings: Settings, **others: Any) -> Gateway:
        given.append(settings)
        return Gateway(settings, **others)

    serve_here(Parts(gateway=make), limits={"lag_s": 7.5}, log={"level": "error"})
    assert given[0].limits.lag_s == 7.5
    assert given[0].wyoming.port == 0  # apart from every other one, also beside these


def test_what_keeps_it_from_starting_is_raised(serve_here: ServeHere) -> None:
    def fail(_: EngineSettings) -> NoReturn:
        raise EngineUnavailable("no engine today")

    with pytest.raises(EngineUnavailable, match="no engine today"):
        serve_here(Parts(engine=fail))
    with pytest.raises(ValidationError, match=r"limits\.lag_x"):
        serve_here(limits={"lag_x": 1})
