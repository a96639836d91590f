"""Firefox of the system, driven by WebDriver BiDi, which it speaks itself.

https://w3c.github.io/webdriver-bidi/
"""

import json
import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from tests.browser.driving import NAMES_HERE, Cookie, Page, Refused, expression, make_store
from tests.support import DEADLINE_S

PROGRAM = "/usr/bin/firefox-esr"
PREFERENCES: dict[str, str | int | bool] = {
    "network.dns.localDomains": ",".join(NAMES_HERE),
    "network.http.speculative-parallel-limit": 0,
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "dom.security.https_first": False,  # else plain http is tried as https first
    "dom.security.https_first_schemeless": False,
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}
"""Names that lead here, a microphone that is a tone, and no word to its maker."""
_KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": " "}
"""As WebDriver writes them: https://w3c.github.io/webdriver/#keyboard-actions"""


class _Session:
    """A session of WebDriver BiDi."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = count()
        self.events: deque[dict[str, Any]] = deque()
        """Those that came since it was cleared."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command. Raises Refused for a page that does not load."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := self._receive()).get("id") != number:
            self.events.append(answer)
        if answer["type"] == "error":
            match = re.search(r"(\w+_ERROR_\w+)\)?$", answer["message"])
            raise Refused(match[1]) if match else RuntimeError(answer["message"])
        result: dict[str, Any] = answer["result"]
        return result

    def event(self) -> dict[str, Any]:
        """The next event."""
        return self.events.popleft() if self.events else self._receive()

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(DEADLINE_S))
        return message


class FirefoxPage:
    """A tab of Firefox, in a container of its own."""

    def __init__(self, session: _Session, context: str) -> None:
        self._session = session
        self._context = context

    def open(self, url: str) -> None:
        self._session.call(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    def run(self, function: str, *arguments: Any) -> Any:
        done = self._session.call(
            "script.evaluate",
            expression=expression(function, arguments),
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        assert done["type"] == "success", done["exceptionDetails"]["text"]
        return json.loads(done["result"]["value"])

    def press(self, *keys: str) -> None:
        presses = [
            {"type": kind, "value": _KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        keyboard = {"type": "key", "id": "keyboard", "actions": presses}
        self._session.call("input.performActions", context=self._context, actions=[keyboard])

    def submit(self, *keys: str) -> str:
        self._session.events.clear()
        self.press(*keys)
        while (loaded := self._session.event()["params"])["context"] != self._context:
            pass
        return str(urlsplit(loaded["url"]).path)

    def cookies(self) -> list[Cookie]:
        partition = {"type": "context", "context": self._context}
        return [
            Cookie(
                name=one["name"],
                value=one["value"]["value"],
                domain=one["domain"],
                path=one["path"],
                is_secure=one["secure"],
                is_http_only=one["httpOnly"],
                same_site=one["sameSite"],
                expires_s=one.get("expiry", -1),
            )
            for one in self._session.call("storage.getCookies", partition=partition)["cookies"]
        ]


class Firefox:
    """A running Firefox."""

    name = "firefox"

    def __init__(self, session: _Session) -> None:
        self._session = session

    @contextmanager
    def page(self) -> Iterator[Page]:
        container = self._session.call("browser.createUserContext")["userContext"]
        tab = self._session.call("browsingContext.create", type="tab", userContext=container)
        try:
            yield FirefoxPage(self._session, tab["context"])
        finally:
            self._session.call("browser.removeUserContext", userContext=container)


@contextmanager
def running(
    authorities: Sequence[Path], sound_card: Mapping[str, str] | None = None
) -> Iterator[Firefox]:
    """Firefox with an empty profile, which trusts these authorities (PEM) too.

    sound_card: the environment by which programs reach one; None: the microphone is a tone.
    """
    with TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as home:
        profile = Path(home, "profile")
        make_store(profile, authorities)
        preferences = PREFERENCES | {"media.navigator.streams.fake": sound_card is None}
        lines = (
            f"user_pref({json.dumps(key)}, {json.dumps(value)});\n"
            for key, value in preferences.items()
        )
        (profile / "user.js").write_text("".join(lines), encoding="utf-8")
        with _started(profile, {**(sound_card or {}), "HOME": home}) as process:
            url = _url_of(process)
            with connect(url + "/session", max_size=None, ping_timeout=None) as connection:
                session = _Session(connection)
                session.call("session.new", capabilities={})
                session.call("session.subscribe", events=["browsingContext.load"])
                yield Firefox(session)
                session.call("browser.close")
            process.wait(DEADLINE_S)


@contextmanager
def _started(profile: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Its process, which ends with that of the tests, however that ends."""
    command = ["setpriv", "--pdeathsig", "KILL", PROGRAM, "--headless", "--no-remote"]
    command += ["--profile", str(profile), "--remote-debugging-port", "0"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _url_of(process: subprocess.Popen[str]) -> str:
    """Where it listens; what it writes after that is read and forgotten."""
    assert process.stderr
    for line in process.stderr:
        if match := re.search(r"ws://\S+", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return match[0]
    raise AssertionError("Firefox ended before it listened")
