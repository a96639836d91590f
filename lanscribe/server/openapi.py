"""Describes the HTTP interface: as OpenAPI for programs, and as a page for people."""

import json
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from lanscribe import __version__

Json = dict[str, Any]

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border: 1px solid #8888; padding: .3rem .6rem; text-align: left; vertical-align: top }
code, pre { font-family: ui-monospace, monospace } pre { overflow-x: auto; padding: 1rem }
:root { color-scheme: light dark }
"""
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_EXAMPLE = "curl http://HOST:8000/v1/audio/transcriptions -F file=@speech.m4a -F model=any"


def description() -> Json:
    """The interface in OpenAPI 3.1: openapi.json beside this file, with the server's version."""
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    described: Json = json.loads(text)
    described["info"]["version"] = __version__
    return described


def page(described: Json) -> str:
    """The description as one HTML document that loads nothing else."""
    info = described["info"]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])}</p>",
        f"<pre>{escape(_EXAMPLE)}</pre>",
        '<p>For programs: <a href="/openapi.json">/openapi.json</a></p>',
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts += _shown(f"{method.upper()} {path}", operation)
    return "\n".join([*parts, "</body></html>", ""])


def _shown(name: str, operation: Json) -> Iterator[str]:
    yield f"<h2><code>{escape(name)}</code></h2><p>{escape(operation['summary'])}.</p>"
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if form:
        schema = form["schema"]
        rows = [
            (key, _kind(value), "yes" if key in schema["required"] else "", value["description"])
            for key, value in schema["properties"].items()
        ]
        yield from _table(("field", "type", "needed", "meaning"), rows)
    answers = [
        (status, ", ".join(answer.get("content", {})), answer["description"])
        for status, answer in operation["responses"].items()
    ]
    yield from _table(("status", "content", "meaning"), answers)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _kind(schema: Json) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "items" in schema:
        return f"any of {_kind(schema['items'])}"
    return "file" if schema.get("format") == "binary" else str(schema["type"])
