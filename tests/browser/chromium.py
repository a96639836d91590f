"""Chromium of the system, driven by Playwright in a thread of its own.

Playwright's other interface keeps an event loop in the thread that calls it, where no test could
run another.
"""

import asyncio
import json
import os
import re
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit

from playwright import async_api

from tests.browser.driving import NAMES_HERE, Cookie, Page, Refused, expression, make_store
from tests.support import DEADLINE_S

PROGRAM = "/usr/bin/chromium"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    "--host-resolver-rules=" + ",".join(f"MAP {name} 127.0.0.1" for name in NAMES_HERE),
)
FULL_SPEED = (
    *("--disable-renderer-backgrounding", "--disable-background-timer-throttling"),
    "--disable-backgrounding-occluded-windows",
)
"""What Playwright adds so that tabs in the background are not slowed down; here they are."""
ERROR_PAGE = "chrome-error://chromewebdata/"
T = TypeVar("T")


class Loop:
    """An event loop in a thread, in which all of Playwright runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="playwright")
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(DEADLINE_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class ChromiumPage:
    """A tab of Chromium; `tab` and `do` are for what only Chromium is asked."""

    def __init__(self, loop: Loop, tab: async_api.Page) -> None:
        self.tab = tab
        self.do = loop.run
        self._loop = loop
        self.complaints: list[str] = []
        tab.on("console", self._note)
        tab.on("pageerror", lambda error: self.complaints.append(error.message))

    def _note(self, message: async_api.ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def beside(self) -> "ChromiumPage":
        """A new tab, with the same cookies and the same store; it ends with this one."""

        async def opened() -> ChromiumPage:
            return ChromiumPage(self._loop, await self.tab.context.new_page())

        return self.do(opened())

    def open(self, url: str) -> None:
        self.do(self._opened(url))

    async def _opened(self, url: str) -> None:
        if self.tab.url == ERROR_PAGE:
            await self.tab.goto("about:blank")  # so that the next error page can be told from it
        try:
            await self.tab.goto(url)
        except async_api.Error as error:
            if match := re.search(r"net::(ERR_\w+)", error.message):
                await self.tab.wait_for_url(ERROR_PAGE)  # it comes later, and would stop the next
                raise Refused(match[1]) from error
            raise

    def run(self, function: str, *arguments: Any) -> Any:
        return json.loads(self.do(self.tab.evaluate(expression(function, arguments))))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.do(self.tab.keyboard.press(key))

    def submit(self, *keys: str) -> str:
        return self.do(self._submitted(keys))

    async def _submitted(self, keys: Sequence[str]) -> str:
        async with self.tab.expect_navigation():
            for key in keys:
                await self.tab.keyboard.press(key)
        return urlsplit(self.tab.url).path

    def cookies(self) -> list[Cookie]:
        return [
            Cookie(
                name=one["name"],
                value=one["value"],
                domain=one["domain"],
                path=one["path"],
                is_secure=one["secure"],
                is_http_only=one["httpOnly"],
                same_site=one["sameSite"].lower(),
                expires_s=one["expires"],
            )
            for one in self.do(self.tab.context.cookies())
        ]


class Chromium:
    """A running Chromium."""

    name = "chromium"

    def __init__(self, loop: Loop, browser: async_api.Browser) -> None:
        self.loop = loop
        self.browser = browser

    @contextmanager
    def page(self, **options: Any) -> Iterator[Page]:
        """A new tab. options: of Playwright's new_context, as its screen and its colours."""
        page = self.loop.run(self._opened(options))
        try:
            yield page
        finally:
            self.loop.run(page.tab.context.close())

    async def _opened(self, options: dict[str, Any]) -> ChromiumPage:
        """A coroutine, because nothing of Playwright may be called in another thread than its."""
        context = await self.browser.new_context(**options)
        context.set_default_timeout(DEADLINE_S * 1000)
        return ChromiumPage(self.loop, await context.new_page())


@contextmanager
def running(
    authorities: Sequence[Path], microphone: Path | None = None, program: str | Path = PROGRAM
) -> Iterator[Chromium]:
    """Chromium with an empty profile, which trusts these authorities (PEM) too.

    microphone: what its microphone hears (WAV), from the start each time it is opened, again and
    again; None: a beep each second. program: what starts it, somewhere else perhaps.
    """
    flags = [f"--use-file-for-fake-audio-capture={microphone}"] if microphone else []
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as home:
        make_store(Path(home, ".pki/nssdb"), authorities)
        loop = Loop()
        try:
            playwright = loop.run(async_api.async_playwright().start())
            try:
                environment: dict[str, str | float | bool] = {
                    **os.environ,
                    "HOME": home,
                    "XDG_CONFIG_HOME": f"{home}/config",
                }
                browser = loop.run(
                    playwright.chromium.launch(
                        executable_path=program,
                        args=[*FLAGS, *flags],
                        ignore_default_args=FULL_SPEED,
                        env=environment,
                        timeout=DEADLINE_S * 1000,
                    )
                )
                yield Chromium(loop, browser)
                loop.run(browser.close())
            finally:
                loop.run(playwright.stop())
        finally:
            loop.close()
