"""Tabs of Chromium that may be in the background: Playwright keeps its own ones in sight.

They speak the Chrome DevTools Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from playwright import async_api

from tests.browser.chromium import Chromium, Loop
from tests.browser.driving import expression
from tests.support import DEADLINE_S

LOADED = """() => new Promise((resolve) => {
  if (document.readyState === "complete") resolve();
  else addEventListener("load", () => resolve());
})"""


class PlainTab:
    """A tab of a `Window`."""

    def __init__(self, loop: Loop, devtools: async_api.CDPSession, target: str) -> None:
        self._loop = loop
        self._devtools = devtools
        self._target = target
        self._numbers = count()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        """Those of the domains that are enabled."""

    async def attach(self) -> None:
        attached = await self._devtools.send(
            "Target.attachToTarget", {"targetId": self._target, "flatten": False}
        )
        self._session: str = attached["sessionId"]
        self._devtools.on("Target.receivedMessageFromTarget", self._receive)

    def _receive(self, event: dict[str, Any]) -> None:
        if event["sessionId"] != self._session:
            return
        message = json.loads(event["message"])
        if "id" in message:
            self._answers.pop(message["id"]).set_result(message)
        else:
            self.events.append(message)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        return self._loop.run(self._sent(method, parameters))

    async def _sent(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._devtools.send(
            "Target.sendMessageToTarget",
            {"sessionId": self._session, "message": json.dumps(message)},
        )
        said = await asyncio.wait_for(answer, DEADLINE_S)
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result

    def open(self, url: str) -> None:
        """Load a page, and wait until it is loaded."""
        went = self.send("Page.navigate", url=url)
        assert "errorText" not in went, went
        self.run(LOADED)

    def run(self, function: str, *arguments: Any) -> Any:
        """What a function of JavaScript, which may be async, returns: as JSON carries it."""
        done = self.send(
            "Runtime.evaluate",
            expression=expression(function, arguments),
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return json.loads(done["result"]["value"])

    def prefer(self, scheme: str) -> None:
        """Let the person want colours that are "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def bring_to_front(self) -> None:
        """Show it; the other tabs of its window are in the background then."""
        activate = self._devtools.send("Target.activateTarget", {"targetId": self._target})
        self._loop.run(activate)


class Window:
    """A window with cookies and a store of its own, and no tab at first."""

    def __init__(self, loop: Loop, devtools: async_api.CDPSession, context: str) -> None:
        self._loop = loop
        self._devtools = devtools
        self._context = context

    def tab(self) -> PlainTab:
        """A new tab, which is in front."""
        return self._loop.run(self._opened())

    async def _opened(self) -> PlainTab:
        wanted = {"url": "about:blank", "browserContextId": self._context}
        target = (await self._devtools.send("Target.createTarget", wanted))["targetId"]
        tab = PlainTab(self._loop, self._devtools, target)
        await tab.attach()
        return tab

    async def close(self) -> None:
        await self._devtools.send(
            "Target.disposeBrowserContext", {"browserContextId": self._context}
        )
        await self._devtools.detach()


@contextmanager
def window(chromium: Chromium) -> Iterator[Window]:
    """A window of its own; its tabs are closed with it."""
    loop, browser = chromium.loop, chromium.browser

    async def opened() -> Window:
        devtools = await browser.new_browser_cdp_session()
        made = await devtools.send("Target.createBrowserContext", {"disposeOnDetach": True})
        return Window(loop, devtools, made["browserContextId"])

    one = loop.run(opened())
    try:
        yield one
    finally:
        loop.run(one.close())
