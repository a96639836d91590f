"""Attacks on the door, as docs/operations.md lists them; tests/browser has some by browsers."""

import itertools
import logging
import random
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lanscribe import PROJECT_DIR
from lanscribe.config import AuthSettings
from lanscribe.server.doorkeeper import Doorkeeper
from lanscribe.server.home import Home
from lanscribe.server.key_check import KeyCheck
from lanscribe.server.trust import Trust
from tests.server.test_doors import HOME, KEY, WORLD, Guest, knock
from tests.server.test_sign_in import BROWSER, Box
from tests.server.test_tls import make_certificate, settings_of
from tests.server.test_trust import AUTHORITY, Shown
from tests.servers import ServeHere
from tests.support import DEADLINE_S, get_json

EVIL = "https://evil.example"
BOX, BOX_PORT = "192.168.1.2", 8443
OWN_PAGE, OTHER_PORT = f"https://{BOX}:{BOX_PORT}", f"https://{BOX}:8123"
PATHS = ("/v1/models", "/v1/audio/transcriptions", "/v1/realtime/client_secrets", "/health", "/x")
PUBLIC = ("/trust", "/trust/check", "/sign-in", "/pages/style.css")
PAGE_NAMES = ("https://ha.example", "app://obsidian.md", "null")


class Door:
    """A doorkeeper with a browser that has signed in, and everything that may be asked of it."""

    def __init__(self, folder: Path, mode: str = "lan", **auth: Any) -> None:
        settings = {"mode": mode, "key": KEY, **auth}
        self.auth = AuthSettings.model_validate(settings)
        self.secret = folder / "sign-in"
        self.cookie = f"__Host-lanscribe={self.keys().new_pass()}"

    def keys(self) -> KeyCheck:
        return KeyCheck(self.auth, self.secret)

    def ask(
        self,
        peer: str = HOME,
        kind: str = "http",
        path: str = "/v1/models",
        *,
        method: str = "GET",
        scheme: str = "https",
        **headers: str,
    ) -> int:
        """The status of one request to a fresh server; 101 for an accepted WebSocket."""
        home = Home(self.auth, lambda: ["nas", "nas.lan"], list)
        guest = Guest()
        one = Doorkeeper(guest, self.auth, key_check=self.keys(), home=home)
        if kind == "websocket":
            scheme = scheme.replace("http", "ws")
        names = {"host": f"{BOX}:{BOX_PORT}", **headers}
        sent = knock(one, peer, kind, path, method=method, scheme=scheme, **names)
        status = int(sent[0].get("status", 101))
        assert (guest.scope is not None) == (status in {101, 200})
        return status


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def statuses(door: Door, peer: str = HOME, scheme: str = "https", **headers: str) -> set[int]:
    """What a page gets that tries everything: all paths, by GET, POST and WebSocket."""
    got = {
        door.ask(peer, path=path, method=method, scheme=scheme, **headers)
        for path, method in itertools.product(PATHS, ("GET", "POST"))
    }
    return got | {door.ask(peer, "websocket", "/v1/realtime", scheme=scheme, **headers)}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["evil.example:8000", "evil.example", "nas.lan.evil.example:8443"])
def test_dns_rebinding(door: Door, scheme: str, host: str) -> None:
    """A name of the attacker that leads to the box: to the browser it is one site."""
    own = {"origin": f"{scheme}://{host}", "sec_fetch_site": "same-origin", "host": host}
    assert statuses(door, scheme=scheme, **own) == {403}
    assert statuses(door, scheme=scheme, host=host) == {403}
    for path in PUBLIC:
        assert door.ask(path=path, scheme=scheme, **own) == 200
        assert door.ask(path=path, scheme=scheme, method="PUT", **own) == 403
        assert door.ask(kind="websocket", path=path, scheme=scheme, **own) == 403


@pytest.mark.parametrize("peer", [HOME, "127.0.0.1", WORLD])
@pytest.mark.parametrize("mode", ["lan", "key"])
def test_a_page_of_another_site_with_and_without_the_cookie(
    tmp_path: Path, mode: str, peer: str
) -> None:
    door = Door(tmp_path, mode)
    for headers in (
        {"origin": EVIL},
        {"origin": EVIL, "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site"},
        {"origin": "null", "sec_fetch_site": "cross-site"},
    ):
        assert statuses(door, peer, **headers) <= {401, 403}
        assert statuses(door, peer, cookie=door.cookie, **headers) <= {401, 403}


@pytest.mark.parametrize("mode", ["lan", "key"])
def test_another_port_of_the_same_host(tmp_path: Path, mode: str) -> None:
    """The same site to browsers, which send it the cookie too; also by the name localhost."""
    door = Door(tmp_path, mode)
    for headers in (
        {"origin": OTHER_PORT},
        {"origin": OTHER_PORT, "sec_fetch_site": "same-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
        {"origin": f"http://{BOX}:{BOX_PORT}"},
    ):
        for cookie in ({}, {"cookie": door.cookie}):
            assert statuses(door, **headers, **cookie) <= {401, 403}
    plain = {"origin": f"http://{BOX}:8123", "host": f"{BOX}:8000"}
    assert statuses(door, scheme="http", **plain) <= {401, 403}


def test_a_link_on_any_page_opens_the_box_and_nothing_else(door: Door) -> None:
    link = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    for site in ("cross-site", "same-site"):
        assert door.ask(path="/", sec_fetch_site=site, **link) == 200
        assert door.ask(path="/", method="POST", sec_fetch_site=site, **link) == 403
        assert door.ask(WORLD, cookie=door.cookie, sec_fetch_site=site, **link) == 403


@pytest.mark.parametrize("origin", PAGE_NAMES)
def test_a_web_client_of_others_needs_the_key_and_may_read_then(door: Door, origin: str) -> None:
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "x-api-key"}
    one = Doorkeeper(Guest(), door.auth)
    for path in (*PATHS, "/no/such/path"):
        start, _ = knock(one, WORLD, path=path, method="OPTIONS", origin=origin, **asked)
        headers = dict(start["headers"])
        assert start["status"] == 204
        assert headers[b"access-control-allow-origin"] == origin.encode()
        assert headers[b"access-control-allow-headers"] == b"x-api-key"
    for sent, status in (({"x_api_key": KEY}, 200), ({"x_api_key": "wrong"}, 401), ({}, 403)):
        start, _ = knock(one, HOME, origin=origin, **sent)
        headers = dict(start["headers"])
        assert start["status"] == status
        assert headers[b"access-control-allow-origin"] == origin.encode()
        assert b"Origin" in headers[b"vary"]
        assert b"access-control-allow-credentials" not in headers
    assert door.ask(method="OPTIONS", origin=origin) == 403, "not a preflight"


def test_origins_of_the_settings_are_as_good_as_the_boxs_own(tmp_path: Path) -> None:
    door = Door(tmp_path, origins=["https://HA.example"])
    for site in ({}, {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}):
        assert door.ask(origin="https://ha.example", **site) == 200
        assert door.ask(kind="websocket", origin="https://ha.example", **site) == 101
        assert door.ask(origin="https://ha.example:444", **site) == 403
    assert door.ask(WORLD, origin="https://ha.example") == 403
    assert door.ask(WORLD, origin="https://ha.example", cookie=door.cookie) == 200


def test_a_cookie_that_was_seen_over_http_or_by_a_program(door: Door) -> None:
    """It is Secure, so browsers send it over TLS alone; and the server takes it nowhere else."""
    own = {"origin": OWN_PAGE, "cookie": door.cookie}
    assert door.ask(WORLD, **own) == 200
    plain = {**own, "origin": f"http://{BOX}:{BOX_PORT}"}
    for headers in (own, plain, {**plain, "x_forwarded_proto": "https"}):
        assert door.ask(WORLD, scheme="http", **headers) == 403
    assert door.ask(WORLD, cookie=door.cookie) == 403, "without Origin and Sec-Fetch-Site"


@dataclass(frozen=True)
class Case:
    """One request, as any of those who may send it."""

    mode: str
    kind: str
    scheme: str
    peer: str
    host: str
    origin: str
    site: str
    cookie: str
    key: str

    def headers(self, good_cookie: str) -> dict[str, str]:
        name = {"good": good_cookie, "bad": good_cookie[:-2] + "AA", "": ""}[self.cookie]
        given = {"origin": self.origin, "sec_fetch_site": self.site, "cookie": name}
        given |= {"x_api_key": {"right": KEY, "wrong": "wrong", "": ""}[self.key]}
        return {"host": self.host, **{name: value for name, value in given.items() if value}}

    @property
    def is_foreign(self) -> bool:
        """Whether a page of another origin has sent it."""
        own = {f"{self.scheme}://{self.host}", "https://ha.example", ""}
        is_friend = self.origin == "https://ha.example"
        return self.origin not in own or (
            self.site in {"cross-site", "same-site"} and not is_friend
        )


def cases(rng: random.Random) -> Iterator[Case]:
    hosts = [f"{BOX}:{BOX_PORT}", "nas.lan:8443", "evil.example", "nas.lan.evil.example"]
    while True:
        host, scheme = rng.choice(hosts), rng.choice(["http", "https"])
        own = f"{scheme}://{host}"
        origins = ["", "", own, EVIL, "null", OTHER_PORT, "https://ha.example", own + ".evil"]
        yield Case(
            rng.choice(["lan", "key", "open"]),
            rng.choice(["http", "websocket"]),
            scheme,
            rng.choice([HOME, WORLD, "127.0.0.1", "2001:db8::1", "fd00::1", "100.64.0.9"]),
            host,
            rng.choice(origins),
            rng.choice(["", "", "same-origin", "none", "same-site", "cross-site"]),
            rng.choice(["", "good", "good", "bad"]),
            rng.choice(["", "", "right", "wrong"]),
        )


@pytest.mark.parametrize("seed", range(20))
def test_nobody_foreign_comes_in_without_key_or_cookie(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    doors = {mode: Door(tmp_path, mode, origins=["https://ha.example"]) for mode in ("lan", "key")}
    doors["open"] = Door(tmp_path, "key", origins=["https://ha.example"])
    doors["open"].auth = doors["open"].auth.model_copy(update={"mode": "open"})
    for case in itertools.islice(cases(rng), 150):
        door = doors[case.mode]
        headers = case.headers(door.cookie)
        status = door.ask(case.peer, case.kind, scheme=case.scheme, **headers)
        why, is_in = f"seed {seed}: {case}", status in {101, 200}
        has_key, is_open = case.key == "right", case.mode == "open"
        is_home = case.mode == "lan" and case.peer in {HOME, "127.0.0.1", "fd00::1"}
        is_home = is_home and "evil" not in case.host and not case.is_foreign
        is_told = bool(case.origin or case.site)
        has_cookie = case.cookie == "good" and case.scheme == "https"
        has_cookie = has_cookie and is_told and not case.is_foreign
        if case.is_foreign:
            assert is_in == (has_key or is_open), why
        if not (has_key or is_open or is_home):
            assert is_in == has_cookie, why
        if is_home or has_key or is_open:
            assert is_in, why
        assert is_in or status in {401, 403}, why


def test_a_stolen_qr_opens_the_pages_and_no_more(tmp_path: Path) -> None:
    """It holds the address and a fingerprint, which are no secrets."""
    (tmp_path / "key").write_text(KEY)
    box = Box(tmp_path, Trust(Shown(AUTHORITY), BOX_PORT))
    for path in (*PUBLIC, "/trust/lanscribe.pem", "/trust/lanscribe.mobileconfig"):
        answer = box.ask(path, headers=BROWSER)
        assert (answer.status_code, KEY in answer.text) == (200, False)
    assert not box.is_let_in()
    box.gateway.close()


def test_a_guest_without_the_authority(door: Door, tmp_path: Path) -> None:
    """At home he is served over plain http, as all programs there; in key mode he is not."""
    assert door.ask(scheme="http", host=f"{BOX}:8000") == 200
    assert door.ask(scheme="https") == 200, "who goes on after the warning of his browser"
    locked = Door(tmp_path, "key")
    for scheme in ("http", "https"):
        assert statuses(locked, scheme=scheme) - {401} == {200}, "/health alone needs no key"


@pytest.mark.parametrize("path", ["/", "/trust", "/sign-in", "/docs", "/v1/models"])
@pytest.mark.parametrize("peer", [HOME, WORLD])
def test_no_page_may_frame_one_of_the_box(tmp_path: Path, peer: str, path: str) -> None:
    """Clickjacking: each page that is shown says so, the ones that refuse too."""
    (tmp_path / "key").write_text(KEY)
    box = Box(tmp_path, Trust(Shown(AUTHORITY), BOX_PORT), mode="lan")
    answer = box.ask(path, peer=peer, base=OWN_PAGE, headers=BROWSER)
    if "text/html" in answer.headers.get("content-type", ""):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    else:
        assert answer.status_code in {303, 503}
    box.gateway.close()


def test_a_flood_of_preflights_costs_what_other_requests_do(serve_here: ServeHere) -> None:
    """They are paced with all requests of the address, log nothing, and are no guesses."""
    server = serve_here(auth={"mode": "key", "key": KEY})
    asked = b"OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n"
    asked += b"Access-Control-Request-Method: GET\r\n"
    count, at_once, rate_per_s = 240, 200, 50
    with socket.create_connection((server.host, server.port), DEADLINE_S) as flood:
        began_s = time.monotonic()
        flood.sendall((asked + b"\r\n") * (count - 1) + asked + b"Connection: close\r\n\r\n")
        received = b"".join(iter(lambda: flood.recv(2**16), b""))
    assert received.count(b"HTTP/1.1 204 ") == count
    assert time.monotonic() - began_s > (count - at_once - 10) / rate_per_s
    assert get_json(f"{server.http_url}/v1/models", **{"X-API-Key": KEY})[0] == 200
    assert "turned away" not in server.log


def test_guesses_over_tls_are_counted_with_all_others(
    serve_here: ServeHere, tmp_path: Path
) -> None:
    tls = {"mode": "own", **settings_of(make_certificate(tmp_path, "-nodes"))}
    server = serve_here(tls=tls, auth={"mode": "key", "key": KEY})
    secure = server.secure_url.replace("wss://", "https://").removesuffix("/v1/realtime")
    for number in range(6):
        url = (secure if number % 2 else server.http_url) + "/v1/models"
        assert status_of(url, f"wrong-{number}") == 401
    for url in (secure, server.http_url):
        assert status_of(f"{url}/v1/models", KEY) == 429


def status_of(url: str, key: str) -> int:
    headers = {"X-API-Key": key}
    return httpx.get(url, headers=headers, verify=False, timeout=DEADLINE_S).status_code


PAGES_GUESS: list[tuple[str, str, dict[str, str]]] = [
    ("http", "api_key=wrong-{}", {}),
    ("http", "", {"origin": EVIL, "authorization": "Bearer wrong-{}"}),
    ("http", "", {"origin": "null", "x_api_key": "wrong-{}"}),
    ("http", "", {"host": "evil.example:8000", "x_api_key": "wrong-{}"}),
    (
        "http",
        "api_key=wrong-{}",
        {"host": "evil.example:8000", "origin": "http://evil.example:8000"},
    ),
    ("https", "api_key=wrong-{}", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}),
    ("https", "api_key=wrong-{}", {"origin": OTHER_PORT, "sec_fetch_site": "same-site"}),
]
"""What a page of another site can send: its scheme, query and headers."""
PEOPLE_SEND: list[tuple[str, str, dict[str, str]]] = [
    ("http", "", {"authorization": f"Bearer {KEY}"}),
    ("https", "", {"x_api_key": KEY}),
    ("https", "", {"host": "box.example:8443", "x_api_key": KEY}),
    ("https", f"api_key={KEY}", {"origin": OWN_PAGE}),
    ("https", f"api_key={KEY}", {"sec_fetch_site": "none"}),
    ("http", f"api_key={KEY}", {"authorization": "Bearer some-dummy"}),
]


def knock_with(one: Doorkeeper, scheme: str, query: str, headers: dict[str, str]) -> int:
    names = {"host": f"{BOX}:{BOX_PORT}", **headers}
    return int(knock(one, WORLD, scheme=scheme, query=query, **names)[0]["status"])


@pytest.mark.parametrize("person", PEOPLE_SEND)
@pytest.mark.parametrize("page", PAGES_GUESS)
def test_a_page_that_guesses_pauses_no_other_sender_of_the_key(
    tmp_path: Path, page: tuple[str, str, dict[str, str]], person: tuple[str, str, dict[str, str]]
) -> None:
    auth = AuthSettings.model_validate({"mode": "key", "key": KEY})
    keys = KeyCheck(auth, tmp_path / "sign-in", lambda: 0.0)
    home = Home(auth, lambda: ["nas"], list)
    one = Doorkeeper(Guest(), auth, clock=lambda: 0.0, key_check=keys, home=home)
    scheme, query, headers = page
    got = [
        knock_with(
            one,
            scheme,
            query.format(number),
            {name: value.format(number) for name, value in headers.items()},
        )
        for number in range(12)
    ]
    assert got == [401] * 6 + [429] * 6, "they wait as everybody does"
    assert knock_with(one, *person) == 200


def test_the_sign_in_form_is_taken_while_a_page_guesses(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    box = Box(tmp_path)
    for number in range(12):
        sent = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        status = box.ask(f"/v1/models?api_key=wrong-{number}", headers=sent).status_code
    assert status == 429
    assert box.sign_in().status_code == 303
    box.gateway.close()


def test_no_page_of_another_site_may_read_which_box_it_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    box = Box(tmp_path, Trust(Shown(AUTHORITY), BOX_PORT))
    for path in ("/trust", "/trust/check", "/trust/lanscribe.pem", "/trust/x"):
        for origin in (EVIL, "null", "app://box", "https://box.evil.example", "https://box@evil"):
            answer = box.ask(path, headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers, (path, origin)
    for origin in ("http://box.local:8000", "https://192.168.1.20:8443", "http://[fd00::20]:8000"):
        answer = box.ask("/trust/check", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"] == "Origin"
    box.gateway.close()


def test_a_flood_of_refusals_leaves_few_warnings_and_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = [0.0]
    auth = AuthSettings.model_validate({"mode": "key", "key": KEY})
    one = Doorkeeper(Guest(), auth, clock=lambda: now_s[0])
    caplog.set_level(logging.DEBUG, "lanscribe")
    for number in range(1000):
        now_s[0] += 0.02
        knock(one, f"203.0.{number // 2 % 250}.1", x_api_key=f"wrong-{number}")
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 20 <= len(warned) <= 20 + 20 + 2
    assert sum("turned away" in record.getMessage() for record in caplog.records) == 1000
    now_s[0] += 11
    caplog.clear()
    for _ in range(3):
        assert knock(one, "203.0.113.7", x_api_key=KEY)[0]["status"] == 200
    told = [record.getMessage() for record in caplog.records if "were left out" in record.msg]
    assert len(told) == 1
    assert int(told[0].split()[0]) >= 1000 - len(warned)


def test_each_attack_in_the_documents_names_its_tests() -> None:
    text = (PROJECT_DIR / "docs/operations.md").read_text(encoding="utf-8")
    section = text.partition("\n## Attacks, and what stops them\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 12
    for row in rows:
        named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", row)
        assert named, row
        for file, test in named:
            code = (PROJECT_DIR / file).read_text(encoding="utf-8")
            assert f"def {test}(" in code, f"{file}::{test}"
