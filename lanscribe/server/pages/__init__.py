"""The pages that a browser shows: HTML templates, one style sheet and ES modules, all in here.

NAME.html is a whole document for string.Template. style.css, the modules and the pictures are
served at /pages/; a page loads nothing else. app.html with what is in app/ is the page at /.
"""

from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from starlette.responses import HTMLResponse

from lanscribe.server.pages.files import Files

_FOLDER = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src {}; worker-src 'self'; manifest-src 'self';"
    " media-src 'self' blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


def policy(*origins: str) -> dict[str, str]:
    """The header by which a page connects only to where it came from, and to these origins."""
    return {"Content-Security-Policy": _POLICY.format(" ".join(("'self'", *origins)))}


def page(
    name: str, /, status: int = 200, *, origins: Iterable[str] = (), **values: str
) -> HTMLResponse:
    """The page of NAME.html; each value is escaped, for text and for quoted attributes alike.

    origins: where it connects to, other than to where it came from. Raises KeyError if the page has
    a place for a value that is not given.
    """
    text = _template(name).substitute({key: escape(value) for key, value in values.items()})
    headers = {**_HEADERS, **policy(*origins), "Cache-Control": "no-store"}
    return HTMLResponse(text, status, headers)


def note(title: str, text: str, url: str, status: int = 200) -> HTMLResponse:
    """A page that says one thing. url: where the reader goes on."""
    return page("note", status, title=title, text=text, url=url)


@cache
def _template(name: str) -> Template:
    return Template((_FOLDER / f"{name}.html").read_text(encoding="utf-8"))


def files() -> Files:
    """The files of the pages, read now."""
    return Files(_FOLDER, {**_HEADERS, **policy()})
