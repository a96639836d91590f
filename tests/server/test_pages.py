"""The files of the pages, and the helper that fills a page in."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from lanscribe.server import pages

POLICY = {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"}


def get(path: str, **headers: str) -> httpx.Response:
    """The answer to a request for a path, sent as it is written here."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=pages.routes()))
        url = httpx.URL("http://box", raw_path=path.encode())
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get(url, headers=headers)

    return asyncio.run(asked())


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_FOLDER", tmp_path)
    (tmp_path / "greeting.html").write_text('<p title="$name">$name</p>', encoding="utf-8")


def test_a_style_sheet_is_served_once_and_then_only_compared() -> None:
    answer = get("/pages/style.css")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    again = get("/pages/style.css", **{"If-None-Match": f"W/{answer.headers['etag']}"})
    assert (again.status_code, again.content) == (304, b"")
    assert get("/pages/style.css", **{"If-None-Match": '"another"'}).content == answer.content


@pytest.mark.parametrize(
    "path",
    [
        "/pages/",
        "/pages/__init__.py",
        "/pages/../openapi.json",
        "/pages/..%2fopenapi.json",
        "/pages/%2e%2e/openapi.json",
        "/pages//etc/passwd",
        "/pages/style.css%00",
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    assert get(path).status_code == 404


def test_the_style_sheet_loads_nothing() -> None:
    text = get("/pages/style.css").text
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.usefixtures("template")
def test_every_value_of_a_page_is_escaped() -> None:
    text = bytes(pages.page("greeting", name="""<b>"it's" & $name""").body).decode()
    escaped = "&lt;b&gt;&quot;it&#x27;s&quot; &amp; $name"
    assert text == f'<p title="{escaped}">{escaped}</p>'


@pytest.mark.usefixtures("template")
def test_a_page_allows_nothing_inline_and_nothing_from_outside() -> None:
    answer = pages.page("greeting", 404, name="")
    assert answer.status_code == 404
    assert set(answer.headers["content-security-policy"].split("; ")) > POLICY
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.usefixtures("template")
def test_a_page_without_one_of_its_values_is_a_defect() -> None:
    with pytest.raises(KeyError, match="name"):
        pages.page("greeting")
