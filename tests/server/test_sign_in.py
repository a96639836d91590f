"""Signing in: the gateway's own application, asked by browsers that a test makes up."""

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lanscribe.server import keys, passes
from lanscribe.server.gateway import Gateway
from lanscribe.server.trust import Trust
from tests.server.test_trust import Shown
from tests.servers import APART, SettingsHere

KEY, OTHER_KEY = "a-key-of-the-tests", "another-key-of-the-tests"
HOME, WORLD = "192.168.1.7", "203.0.113.9"
BOX = "https://box.example:8443"
OWN = {"Origin": BOX}
BROWSER = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}


class Box:
    """The application of a gateway, and its files."""

    def __init__(self, folder: Path, trust: Trust | None = None, **auth: Any) -> None:
        self.key_file, self.state = folder / "key", folder / "state"
        tables = {name: dict(table) for name, table in APART.items()}
        tables["server"]["state_dir"] = str(self.state)
        tables["auth"] = {"mode": "key", "key_file": str(self.key_file), **auth}
        self.gateway = Gateway(SettingsHere.model_validate(tables), trust=trust)
        self.app = self.gateway.app()

    def ask(
        self, path: str, method: str = "GET", peer: str = WORLD, **options: Any
    ) -> httpx.Response:
        """One request of a client at the address `peer`."""
        base = options.pop("base", BOX)

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(peer, 5))
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **options)

        return asyncio.run(asked())

    def sign_in(self, key: str = KEY, peer: str = WORLD, **headers: str) -> httpx.Response:
        """Send the form."""
        headers = headers or OWN
        return self.ask("/sign-in", "POST", peer, data={"key": key}, headers=headers)

    def cookie(self) -> dict[str, str]:
        """The Cookie header of a browser that has signed in."""
        return {"Cookie": cookie_of(self.sign_in())}

    def is_let_in(self, peer: str = WORLD, base: str = BOX, **headers: str) -> bool:
        """Whether a request with these headers is served."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        status = self.ask("/v1/models", peer=peer, base=base, headers=names).status_code
        assert status in {401, 403, 429, 503}, "503: it comes in, and the engine is loading"
        return status == 503


def cookie_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(KEY + "\n")
    return tmp_path


@pytest.fixture
def box(folder: Path) -> Iterator[Box]:
    made = Box(folder)
    yield made
    made.gateway.close()


def test_the_key_is_shown_once_and_then_the_cookie_is_as_good(box: Box) -> None:
    form = box.ask("/sign-in", headers=BROWSER)
    assert (form.status_code, 'action="/sign-in"' in form.text) == (200, True)
    assert "frame-ancestors 'none'" in form.headers["content-security-policy"]
    assert not box.is_let_in(**OWN)
    answer = box.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie, *rules = answer.headers["set-cookie"].split("; ")
    assert cookie.startswith("__Host-lanscribe=")
    assert {*rules} == {"Max-Age=7776000", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    assert box.is_let_in(**OWN, Cookie=cookie_of(answer))
    assert box.is_let_in(Sec_Fetch_Site="same-origin", Cookie=cookie_of(answer))
    assert box.is_let_in(Sec_Fetch_Site="none", Cookie=f"a=b; {cookie_of(answer)}; c")
    secret = box.state / "sign-in"
    assert secret.stat().st_mode & 0o777 == 0o600


def test_the_form_says_whether_a_browser_is_signed_in(box: Box) -> None:
    cookie = box.cookie()
    page = {**BROWSER, "Sec-Fetch-Site": "same-origin"}
    assert "This browser is signed in." in box.ask("/sign-in", headers={**page, **cookie}).text
    linked = {**page, "Sec-Fetch-Site": "cross-site"}
    for headers in (page, {**linked, **cookie}, {**page, "Cookie": f"{passes.COOKIE}=x"}):
        assert "is signed in." not in box.ask("/sign-in", headers=headers).text


def test_a_wrong_key_is_told_and_counted_with_all_others(box: Box) -> None:
    assert box.sign_in("").status_code == 400
    for number in range(3):
        answer = box.sign_in(f"wrong-{number}")
        assert (answer.status_code, "not the key" in answer.text) == (401, True)
        assert "set-cookie" not in answer.headers
    for number in range(3):
        assert not box.is_let_in(X_API_Key=f"wrong-{number}")
    answer = box.sign_in()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert re.search(r"Wait \d+ s", answer.text)
    assert box.sign_in(peer="203.0.113.10").status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "https://box.example:9000"},
        {"Origin": "http://box.example:8443"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {**OWN, "Sec-Fetch-Site": "cross-site"},
        {"X-Nothing": "told"},
    ],
)
def test_login_csrf_is_refused_whatever_the_key(box: Box, headers: dict[str, str]) -> None:
    for path in ("/sign-in", "/sign-out"):
        answer = box.ask(path, "POST", data={"key": KEY}, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_over_http_the_key_is_not_taken_and_the_way_to_https_is_shown(folder: Path) -> None:
    box = Box(folder, Trust(Shown(None, ("box.example",)), 8443))
    plain = "http://box.example:8000"
    for method in ("GET", "POST"):
        answer = box.ask(
            "/sign-in", method, base=plain, headers={"Origin": plain}, content=f"key={KEY}"
        )
        assert answer.status_code == (403 if method == "POST" else 200)
        assert 'href="https://box.example:8443/sign-in"' in answer.text
        assert "set-cookie" not in answer.headers
    box.gateway.close()


def test_behind_a_named_proxy_its_word_for_the_scheme_counts(folder: Path) -> None:
    box = Box(folder, proxies=["10.0.0.2"])
    plain = "http://box.example"
    headers = {"Origin": "https://box.example", "X-Forwarded-For": WORLD}
    secure = {**headers, "X-Forwarded-Proto": "https"}

    def sign_in(sent: dict[str, str], peer: str) -> httpx.Response:
        return box.ask("/sign-in", "POST", peer, base=plain, headers=sent, data={"key": KEY})

    assert sign_in(headers, "10.0.0.2").status_code == 404, "http, and no TLS here"
    assert sign_in(secure, "10.0.0.9").status_code == 404, "not a proxy of ours"
    cookie = cookie_of(sign_in(secure, "10.0.0.2"))
    shown = {"base": plain, "peer": "10.0.0.2"}
    assert box.is_let_in(**shown, Cookie=cookie, **secure)
    assert not box.is_let_in(**shown, Cookie=cookie, **headers)
    box.gateway.close()


def test_where_there_is_nothing_to_sign_in_to_the_page_says_so(tmp_path: Path) -> None:
    for mode, status, words in (("open", 200, "everybody"), ("lan", 404, "serve.sh key make")):
        box = Box(tmp_path, mode=mode)
        for method in ("GET", "POST"):
            answer = box.ask("/sign-in", method, headers=OWN, content="key=x")
            assert (answer.status_code, words in answer.text) == (status, True)
        box.gateway.close()


def test_a_new_key_or_a_new_secret_signs_everybody_out_at_once(box: Box) -> None:
    first = box.cookie()
    assert box.is_let_in(**OWN, **first)
    box.key_file.write_text(OTHER_KEY)
    assert not box.is_let_in(**OWN, **first)
    assert not box.is_let_in(X_API_Key=KEY)
    assert box.is_let_in(X_API_Key=OTHER_KEY)
    second = {"Cookie": cookie_of(box.sign_in(OTHER_KEY))}
    assert box.is_let_in(**OWN, **second)
    keys.replace(box.state / "sign-in")
    assert not box.is_let_in(**OWN, **second)
    assert box.is_let_in(X_API_Key=OTHER_KEY)


def test_a_key_file_that_goes_or_breaks_admits_nobody(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    cookie = box.cookie()
    box.key_file.write_text("short")
    with caplog.at_level(logging.WARNING):
        assert not box.is_let_in(X_API_Key=KEY, **OWN, **cookie)
        assert not box.is_let_in(X_API_Key="short", peer="203.0.113.10")
    told = [record for record in caplog.records if "serve.sh key new" in record.getMessage()]
    assert len(told) == 1
    box.key_file.unlink()
    assert not box.is_let_in(X_API_Key=KEY, peer="203.0.113.11")
    assert box.sign_in(peer="203.0.113.12").status_code == 404
    keys.make(box.key_file)
    assert box.is_let_in(X_API_Key=str(keys.read(box.key_file)))


def test_signing_out_takes_the_cookie_back(box: Box) -> None:
    answer = box.ask("/sign-out", "POST", headers={**OWN, **box.cookie()})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "__Host-lanscribe=; Max-Age=0;" in answer.headers["set-cookie"]


def test_a_secret_that_cannot_be_stored_is_told(box: Box) -> None:
    box.state.write_text("a file in the place of the folder")
    answer = box.sign_in()
    assert (answer.status_code, "could not store" in answer.text) == (500, True)


def test_a_secret_that_is_none_is_told(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    box.state.mkdir()
    (box.state / "sign-in").write_text("short")
    assert box.sign_in().status_code == 500
    assert "serve.sh key --sign-out" in caplog.text
    assert not box.is_let_in(**OWN, Cookie=f"{passes.COOKIE}=x")


@pytest.mark.parametrize("content", [b"\xff", b"key=%ff", b"&".join([b"a=1"] * 99), b"kei=x", b""])
def test_a_form_without_a_key_is_no_guess(box: Box, content: bytes) -> None:
    for _ in range(9):
        answer = box.ask("/sign-in", "POST", headers=OWN, content=content)
        assert answer.status_code in {400, 401, 429}
    if content != b"key=%ff":
        assert box.sign_in().status_code == 303


def test_a_large_form_is_refused(box: Box) -> None:
    answer = box.ask("/sign-in", "POST", headers=OWN, content=b"key=" + b"x" * 5000)
    assert answer.status_code == 400


@pytest.mark.parametrize(("peer", "status"), [(WORLD, 401), (HOME, 401)])
def test_a_browser_that_is_refused_gets_a_page_and_a_program_json(
    box: Box, peer: str, status: int
) -> None:
    page = box.ask("/v1/models", peer=peer, headers=BROWSER)
    assert page.status_code == status
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["www-authenticate"] == "Bearer"
    assert 'href="/sign-in?next=/v1/models"' in page.text
    for headers in ({}, {**BROWSER, "Sec-Fetch-Mode": "cors"}, {"Accept": "application/json"}):
        assert box.ask("/v1/models", peer=peer, headers=headers).json()["error"]
    assert box.ask("/v1/models", "POST", peer, headers=BROWSER).json()["error"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("de", "Schlüssel"),
        ("de-AT,en;q=0.8", "Schlüssel"),
        ("en-GB,de;q=0.8", "Enter it once"),
        ("den", "Enter it once"),
        ("", "Enter it once"),
    ],
)
def test_a_refusal_speaks_to_people_first_and_in_their_language(
    box: Box, asked: str, said: str
) -> None:
    text = box.ask("/", headers={**BROWSER, "Accept-Language": asked}).text
    assert said in text
    assert f'lang="{"de" if said == "Schlüssel" else "en"}"' in text
    assert text.index(said) < text.index('href="/sign-in"') < text.index("got no key")


def test_the_form_speaks_german_to_who_asks_for_it(box: Box) -> None:
    """Each field and each form is as in English, and so is what is told of a wrong key."""
    german = {**OWN, "Accept-Language": "de"}
    pages = [box.ask("/sign-in", headers={**BROWSER, **one}).text for one in ({}, german)]
    for found in (r'action="[^"]*"', r'name="[^"]*"', "data-carry", r"serve.sh [^<]*"):
        assert re.findall(found, pages[0]) == re.findall(found, pages[1])
    assert "<h1>Anmelden</h1>" in pages[1]
    told = [box.sign_in(key, **german).text for key in ("", *(f"wrong-{n}" for n in range(9)))]
    assert "zuerst den Schlüssel" in told[0]
    assert "nicht der Schlüssel" in told[1]
    assert re.search(r"Warte \d+ s, dann", told[-1])


def test_a_page_tells_who_guesses_how_long_to_wait(box: Box) -> None:
    for number in range(6):
        box.sign_in(f"wrong-{number}")
    page = box.ask("/", headers={**BROWSER, "X-API-Key": KEY})
    assert (page.status_code, page.headers["retry-after"]) == (429, "1")
    assert "too many wrong keys" in page.text


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/a%20b", "/docs/a%3Fb%26c", "/docs/%2F%2Fevil.example"]
)
def test_signing_in_leads_back_to_the_page_that_asked(box: Box, path: str) -> None:
    (link,) = re.findall(r'href="(/sign-in[^"]*)"', box.ask(path, headers=BROWSER).text)
    (place,) = re.findall(r'name="next" value="([^"]*)"', box.ask(link, headers=BROWSER).text)
    for key, location in (("", None), ("no key of the tests", None), (KEY, place)):
        answer = box.ask("/sign-in", "POST", data={"key": key, "next": place}, headers=OWN)
        assert answer.headers.get("location") == location
        if location is None:
            assert f'name="next" value="{place}"' in answer.text
    assert box.ask(place, headers={**OWN, **box.cookie()}).status_code != 401


@pytest.mark.parametrize(
    "place",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\r\nSet-Cookie: a=b",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        "/" + 600 * "x",
        "/b\u00fccher",
        " /docs",
    ],
)
def test_signing_in_leads_nowhere_else(box: Box, place: str) -> None:
    answer = box.ask("/sign-in", "POST", data={"key": KEY, "next": place}, headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "a=b" not in answer.headers["set-cookie"]
    form = box.ask("/sign-in", params={"next": place}, headers=BROWSER)
    assert 'name="next" value="/"' in form.text
    assert "evil" not in form.text


def test_a_page_at_two_slashes_is_not_a_way_out(box: Box) -> None:
    assert 'href="/sign-in"' in box.ask(f"{BOX}//evil.example", headers=BROWSER).text


def test_the_way_to_https_keeps_the_page_that_asked(folder: Path) -> None:
    box = Box(folder, Trust(Shown(None, ("box.example",)), 8443))
    page = box.ask("/sign-in?next=/docs", base="http://box.example:8000", headers=BROWSER)
    assert 'href="https://box.example:8443/sign-in?next=/docs"' in page.text
    box.gateway.close()
