"""The description of the HTTP side as a data file; test_rest.py holds the server to it."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import httpx

from lanscribe import PROJECT_DIR, __version__
from lanscribe.server import openapi
from tests.servers import Server

PACKAGE = PROJECT_DIR / "lanscribe"


def references(part: Any) -> Iterator[str]:
    """Every $ref within a part of the description."""
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    if isinstance(part, dict) and "$ref" in part:
        yield part["$ref"]
    for child in children:
        yield from references(child)


def test_the_server_serves_the_file_with_its_own_version(fake_server: Server) -> None:
    written = json.loads((PACKAGE / "server/openapi.json").read_text(encoding="utf-8"))
    written["info"]["version"] = __version__
    served = httpx.get(fake_server.http_url + "/openapi.json")
    assert served.headers["content-type"] == "application/json"
    assert served.json() == written


def test_every_schema_is_there_and_used() -> None:
    described = openapi.description()
    names = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert set(references(described)) == names


def test_the_page_escapes_what_the_file_says() -> None:
    described = openapi.description()
    described["info"]["description"] = "<script>"
    described["paths"]["/v1/models"]["get"]["summary"] = "a < b"
    page = openapi.page(described)
    assert "<p>&lt;script&gt;</p>" in page
    assert "<p>a &lt; b.</p>" in page


def test_an_installed_package_has_its_data_files() -> None:
    pyproject = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))
    packaged = {
        path
        for package, names in pyproject["tool"]["setuptools"]["package-data"].items()
        for name in names
        for path in (PACKAGE.parent / package.replace(".", "/")).glob(name)
        if path.is_file()
    }
    others = (path for path in PACKAGE.rglob("*.*") if path.suffix not in {".py", ".pyc", ".typed"})
    assert {path for path in others if path.is_file()} == packaged
