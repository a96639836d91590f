"""The files of the pages as they are served, and the page at / with its service worker."""

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_PLACE = "/pages/"
_WORKER = f"{_PLACE}app/worker.js"
_NEEDED = {f"{_PLACE}{name}" for name in ("style.css", "icon.svg", "trust_check.js")}
"""What the page at / loads from outside its own folder."""
_TAG_DIGITS = 32
_REFUSES = re.compile(r"q\s*=\s*0+\.?0*")


class File:
    """Content with a tag, by which a browser asks whether it has the same."""

    def __init__(self, content: bytes, suffix: str, headers: Mapping[str, str]) -> None:
        """suffix: of its name, which tells its type."""
        self.content = content
        self.tag = f'"{_digest(content)}"'
        self._type = _TYPES[suffix]
        self._packed = b"" if suffix == ".png" else gzip.compress(content, mtime=0)
        vary = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
        own = {"Cache-Control": "no-cache", "ETag": self.tag, "X-Content-Type-Options": "nosniff"}
        self._headers = {**headers, **own, "Vary": vary}

    async def answer(self, request: Request) -> Response:
        """The file, or 304 if the browser has the same; it asks each time, after an upgrade too."""
        known = request.headers.get("if-none-match", "")
        if self.tag in known or known.strip() == "*":
            return Response(status_code=304, headers=self._headers)
        return self.whole(request, {})

    def whole(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The file with these headers instead of its own of the same names."""
        headers = {**self._headers, **headers}
        if self._packed and _takes_gzip(request.headers.get("accept-encoding", "")):
            # other bytes for the same tag: it says no more than that they mean the same
            packed = {"Content-Encoding": "gzip", "ETag": f"W/{self.tag}"}
            return Response(self._packed, 200, {**headers, **packed}, self._type)
        return Response(self.content, 200, headers, self._type)


class Files:
    """The files of a folder as they were when the server started."""

    def __init__(self, folder: Path, policy: Mapping[str, str]) -> None:
        """policy: the headers of a document, which say what it may load."""
        self._files = {
            _PLACE + path.relative_to(folder).as_posix(): File(path.read_bytes(), path.suffix, {})
            for path in sorted(folder.rglob("*"))
            if path.suffix in _TYPES and path.suffix != ".html"
        }
        kept = {path: file.tag for path, file in self._files.items() if _is_kept(path)}
        document = (folder / "app.html").read_text(encoding="utf-8")
        self.version = _digest(json.dumps(kept).encode() + document.encode())
        """Of the page and all that it loads: another one after an upgrade that changes them."""
        text = Template(document).substitute(version=self.version)
        self.page = File(text.encode(), ".html", {**policy, "Vary": "Accept"})
        """The document at /."""
        self._files[_WORKER] = self._worker({"/": self.page.tag, **kept}, policy)

    def routes(self) -> list[Route]:
        """The routes of the style sheet, the modules, the pictures and the service worker."""
        return [Route(path, file.answer) for path, file in self._files.items()]

    def _worker(self, kept: Mapping[str, str], policy: Mapping[str, str]) -> File:
        """The service worker: told first what it is to keep, and for which version."""
        facts = f"const VERSION = {json.dumps(self.version)};\nconst FILES = {json.dumps(kept)};\n"
        script = facts.encode() + self._files[_WORKER].content
        return File(script, ".js", {**policy, "Service-Worker-Allowed": "/"})


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not as what it refuses (RFC 9110 12.5.3)."""
    for choice in accepted.lower().split(","):
        coding, *parameters = (part.strip() for part in choice.split(";"))
        if coding in {"gzip", "x-gzip"}:
            return not any(_REFUSES.fullmatch(parameter) for parameter in parameters)
    return False


def _is_kept(path: str) -> bool:
    """Whether the page needs it when the box is away."""
    is_of_page = path.startswith(f"{_PLACE}app/") or path in _NEEDED
    return is_of_page and path != _WORKER and not path.endswith(".png")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_TAG_DIGITS]
