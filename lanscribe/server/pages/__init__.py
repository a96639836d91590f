"""The pages that a browser shows: HTML templates, one style sheet and ES modules, all in here.

NAME.html is a whole document for string.Template. style.css and the modules are served at /pages/;
a page loads nothing else.
"""

import hashlib
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self' https: wss:; worker-src 'self'; manifest-src 'self'; media-src 'self' blob:;"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(name: str, /, status: int = 200, **values: str) -> HTMLResponse:
    """The page of NAME.html; each value is escaped, for text and for quoted attributes alike.

    Raises KeyError if the page has a place for a value that is not given.
    """
    text = _template(name).substitute({key: escape(value) for key, value in values.items()})
    return HTMLResponse(text, status, _HEADERS)


def note(title: str, text: str, url: str, status: int = 200) -> HTMLResponse:
    """A page that says one thing. url: where the reader goes on."""
    return page("note", status, title=title, text=text, url=url)


@cache
def _template(name: str) -> Template:
    return Template((_FOLDER / f"{name}.html").read_text(encoding="utf-8"))


def routes() -> list[Route]:
    """The routes of the style sheet, the modules and the pictures."""
    files = [path for path in sorted(_FOLDER.rglob("*")) if path.suffix in _TYPES]
    return [
        Route(f"/pages/{path.relative_to(_FOLDER).as_posix()}", _File(path).answer)
        for path in files
    ]


class _File:
    """A file of this folder, as it was when the server started."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._type = _TYPES[path.suffix]
        self._tag = f'"{hashlib.sha256(self._content).hexdigest()[:32]}"'

    async def answer(self, request: Request) -> Response:
        """The file, or 304 if the browser has the same; it asks each time, after an upgrade too."""
        headers = {"Cache-Control": "no-cache", "ETag": self._tag}
        headers["X-Content-Type-Options"] = "nosniff"
        if self._tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self._content, 200, headers, self._type)
