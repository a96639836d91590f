"""The files of the pages, the page at /, and the helper that fills a page in."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from lanscribe import PROJECT_DIR
from lanscribe.server import front, pages
from tests.support import DEADLINE_S

LARGEST_BYTES = 120_000
"""Of all that the page at / loads, as it is sent."""
LOADED = re.compile(r"""(?:from|import\(?|URL\((?="[^"]+", import\.meta))\s*"([^"]+)\"""")
"""What a module loads from beside it."""
POLICY = {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"}


def get(path: str, **headers: str) -> httpx.Response:
    """The answer to a request for a path, sent as it is written here."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=front.routes(None)))
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
    assert get("/pages/style.css", **{"If-None-Match": "*"}).status_code == 304


@pytest.mark.parametrize(
    "accepted", ["gzip", "br, GZIP", "gzip;q=0.001", "x-gzip", "br;q=0, gzip;q=1.0"]
)
def test_it_is_packed_for_who_can_read_that(accepted: str) -> None:
    answer = get("/pages/style.css", **{"Accept-Encoding": accepted})
    assert answer.headers["content-encoding"] == "gzip"


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
    assert not re.search(r"""url\((?!"data:image/svg)""", text)
    assert "@import" not in text


def facts() -> dict[str, str]:
    """The files that the service worker is told to keep, with their tags."""
    lines = get("/pages/app/worker.js").text.splitlines()
    kept: dict[str, str] = json.loads(lines[1].removeprefix("const FILES = ").removesuffix(";"))
    return kept


def document(**headers: str) -> httpx.Response:
    return get("/", Accept="text/html", **headers)


def test_all_that_the_page_loads_is_small() -> None:
    """With what is only loaded to be installed: the worker and the pictures."""
    others = re.findall(r'"(/pages/[^"]+)"', get("/pages/app/manifest.webmanifest").text)
    paths = {*facts(), *others, "/pages/icon-apple.png", "/pages/app/worker.js"}
    answers = {path: get(path, Accept="text/html") for path in paths}
    sizes = {path: int(answer.headers["content-length"]) for path, answer in answers.items()}
    assert sum(sizes.values()) < LARGEST_BYTES, sorted(sizes.items(), key=lambda one: -one[1])


def test_every_file_that_the_page_names_is_served_and_kept() -> None:
    kept = facts()
    named = set(re.findall(r'(?:src|href)="(/pages/[^"]+)"', document().text))
    assert named - {"/pages/icon-apple.png"} <= set(kept)
    for path in kept:
        folder = path.rpartition("/")[0]
        for step in LOADED.findall(get(path).text):
            joined = str(httpx.URL("http://box" + folder + "/").join(step).raw_path, "ascii")
            assert joined in kept, (path, step)


def test_every_file_is_served_with_the_tag_that_the_worker_is_told() -> None:
    for path, tag in facts().items():
        plain = get(path, **{"Accept": "text/html", "Accept-Encoding": "identity"})
        assert (plain.status_code, plain.headers["etag"]) == (200, tag)
        packed = get(path, **{"Accept": "text/html", "Accept-Encoding": "br, gzip;q=0.5"})
        assert packed.headers["content-encoding"] == "gzip"
        assert (packed.headers["etag"], packed.content) == (f"W/{tag}", plain.content)
        assert "Accept-Encoding" in packed.headers["vary"]
        same = get(path, **{"Accept": "text/html", "If-None-Match": tag})
        assert same.status_code == (200 if path == "/" else 304)  # the policy of / may be another
        assert same.headers["etag"].removeprefix("W/") == tag


@pytest.mark.parametrize(
    "accepted",
    [
        "",
        "br",
        "gzip;q=0",
        "gzip; q=0.0, br",
        "*;q=0",
        "xgzip",
        "gzip;Q=0",
        "gzip ; q=00",
        "gzip;q=0.000;x",
    ],
)
def test_nothing_is_packed_for_who_cannot_read_it(accepted: str) -> None:
    answer = get("/pages/style.css", **{"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers


def test_the_worker_keeps_the_page_and_nothing_that_is_not_for_it() -> None:
    paths = facts()
    assert "/" in paths
    assert {path for path in paths if not path.startswith("/pages/app/")} == {
        *("/", "/pages/style.css", "/pages/icon.svg", "/pages/trust_check.js")
    }
    assert "/pages/app/worker.js" not in paths
    headers = get("/pages/app/worker.js").headers
    assert headers["service-worker-allowed"] == "/"
    assert headers["cache-control"] == "no-cache"


def test_the_page_allows_nothing_inline_and_is_compared_each_time() -> None:
    answer = document()
    assert set(answer.headers["content-security-policy"].split("; ")) > POLICY
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", answer.text)


@pytest.mark.parametrize("changed", ["style.css", "app/app.js", "app/strings/de.js", "app.html"])
def test_a_change_of_any_file_is_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    before, tag = get("/pages/app/worker.js").text, document().headers["etag"]
    shutil.copytree(pages._FOLDER, tmp_path / "pages")
    monkeypatch.setattr(pages, "_FOLDER", tmp_path / "pages")
    assert get("/pages/app/worker.js").text == before
    with (tmp_path / "pages" / changed).open("a", encoding="utf-8") as file:
        file.write("\n")
    after = get("/pages/app/worker.js").text
    assert after.splitlines()[0] != before.splitlines()[0]
    assert document().headers["etag"] != tag


def test_a_built_package_has_every_file_of_the_pages(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")  # environments from Python 3.12 on have none
    text = (PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8")
    own_terms = re.compile(r"^license.*\n", re.MULTILINE)  # versions before 77 do not know it so
    (tmp_path / "pyproject.toml").write_text(own_terms.sub("", text), encoding="utf-8")
    shutil.copy(PROJECT_DIR / "README.md", tmp_path)
    (tmp_path / "lanscribe").symlink_to(PROJECT_DIR / "lanscribe")
    build = [
        "-c",
        "import setuptools; setuptools.setup()",
        "--quiet",
        "build",
        "--build-base",
        "out",
    ]
    subprocess.run([sys.executable, *build], cwd=tmp_path, check=True, timeout=DEADLINE_S)
    assert names_in(tmp_path / "out/lib/lanscribe") == names_in(PROJECT_DIR / "lanscribe")


def names_in(package: Path) -> set[str]:
    """The files of its pages."""
    found = (path for path in (package / "server/pages").rglob("*") if path.is_file())
    return {path.relative_to(package).as_posix() for path in found if path.suffix != ".pyc"}


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
