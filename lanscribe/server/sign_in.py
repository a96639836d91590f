"""Signing in: a browser shows the key once, over https, and gets a pass in a cookie.

Also the page that a browser is shown instead of an answer for programs.
"""

import logging
import re
from collections.abc import Collection
from urllib.parse import parse_qs, quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from lanscribe.config import AuthSettings
from lanscribe.errors import AuthError, ConfigError
from lanscribe.server import origins, passes
from lanscribe.server.access import own_origins
from lanscribe.server.exchange import Exchange, answering
from lanscribe.server.key_check import KeyCheck
from lanscribe.server.pages import note, page
from lanscribe.server.trust import OFF, Trust
from lanscribe.session.bounds import Bounds

log = logging.getLogger(__name__)

MOST_BYTES = 2**12
"""The largest form; it has one field."""
_MOST_FIELDS = 8
_PLACE = re.compile(r"/(?!/)[!-\[\]-~]{0,499}|/")
"""A path on this server, whatever a browser makes of it: // and a backslash could name another."""
_GERMAN = re.compile(r"\s*de\b", re.IGNORECASE)
"""An Accept-Language that asks for German first."""
_KEY_WANTED = {
    "en": (
        "This box asks for its key",
        "Enter it once, on the next page: this browser is let in from then on.",
    ),
    "de": (
        "Diese Box fragt nach ihrem Schlüssel",
        "Gib ihn einmal ein, auf der nächsten Seite: Ab dann wird dieser Browser eingelassen.",
    ),
}
_REFUSALS = {
    "not_allowed": {
        "en": (
            "You are not let in",
            "Connect this device to the box's home network, and open the box's own address.",
        ),
        "de": (
            "Du wirst nicht eingelassen",
            "Verbinde dieses Gerät mit dem Heimnetz der Box, und öffne ihre eigene Adresse.",
        ),
    },
    "too_many_guesses": {
        "en": ("Too many wrong keys", "Wait a while, then enter the right one on the next page."),
        "de": ("Zu viele falsche Schlüssel", "Warte eine Weile, dann gib den richtigen ein."),
    },
}
"""Title and advice for people, by the code of the error; _KEY_WANTED for every other code."""
_FORMS = {"en": "sign_in", "de": "sign_in.de"}
_IN_GERMAN = {
    "": "",
    "This browser is signed in.": "Dieser Browser ist angemeldet.",
    "Type the key first.": "Gib zuerst den Schlüssel ein.",
    "That is not the key.": "Das ist nicht der Schlüssel.",
    "Wait {s:.0f} s, then try again.": "Warte {s:.0f} s, dann versuch es noch einmal.",
}
"""What the form says."""
_ACTIONS = {"en": "Enter the key", "de": "Schlüssel eingeben"}
_COOKIE_RULES = "Path=/; Secure; HttpOnly; SameSite=Strict"


def is_secure(connection: HTTPConnection) -> bool:
    """Whether the client has sent it over TLS, by the scheme that the doorkeeper has noted."""
    return connection.scope["scheme"] in {"https", "wss"}


def own_origins_of(connection: HTTPConnection) -> set[str]:
    """The origins of this server's own pages, as this client calls it."""
    return own_origins(connection.headers.get("host"), is_secure=is_secure(connection))


def sender_of(connection: HTTPConnection) -> origins.Sender:
    """Which page has sent it."""
    method = connection.scope.get("method", "GET")  # a WebSocket has none
    return origins.sender_of(method, connection.headers.getlist)


def has_pass(connection: HTTPConnection, key_check: KeyCheck, friends: Collection[str]) -> bool:
    """Whether a page of this server, or of `friends`, shows a valid pass over TLS.

    friends: auth.origins.
    """
    shown = passes.shown(connection.headers.getlist("cookie"))
    if not shown or not is_secure(connection):
        return False
    sender = sender_of(connection)
    try:
        sender.check_is_own(own_origins_of(connection), friends)
    except AuthError:
        return False
    return sender.is_told and key_check.has_pass(shown)


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a browser asks for something to show in a tab."""
    is_read = connection.scope["method"] in {"GET", "HEAD"}
    mode = connection.headers.get("sec-fetch-mode", "navigate")
    is_opening = mode in {"navigate", "same-origin"}  # the latter by a service worker in Firefox
    return is_read and is_opening and "text/html" in connection.headers.get("accept", "")


def refusal_page(error: AuthError, answer: Response, asked: HTTPConnection) -> Response:
    """A refusal for people, with the status and the headers of `answer`, that for programs.

    asked: the request; signing in leads back to its path.
    """
    lang = _language_of(asked)
    title, advice = _REFUSALS.get(error.code, _KEY_WANTED)[lang]
    said = page(
        "refusal",
        answer.status_code,
        lang=lang,
        title=title,
        advice=advice,
        action=_ACTIONS[lang],
        url=_sign_in_for(own_path(quote(asked.scope["path"], safe="/"))),
        told=error.public_message,
    )
    for name, value in answer.headers.items():
        if name not in {"content-type", "content-length"}:
            said.headers[name] = value
    return said


class SignIn:
    """The routes of signing in and out."""

    def __init__(
        self, key_check: KeyCheck, auth: AuthSettings, limits: Bounds, trust: Trust | None
    ) -> None:
        """trust: knows where https is served; None where it is not."""
        self._key_check = key_check
        self._origins = auth.origins
        self._limits = limits
        self._trust = trust

    def routes(self) -> list[Route]:
        """The routes and their handlers."""
        sign_in = answering(self._sign_in, self._limits)
        sign_out = answering(self._sign_out, self._limits)
        return [
            Route("/sign-in", sign_in, methods=["GET", "POST"]),
            Route("/sign-out", sign_out, methods=["POST"]),
        ]

    async def _sign_in(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method != "POST":
            await exchange.respond(self._obstacle(request) or self._form_for(request))
            return
        body = await exchange.body(MOST_BYTES)
        answer = self._obstacle(request) or self._foreign(request)
        key, place = _field(body, "key").strip(), own_path(_field(body, "next"))
        await exchange.respond(answer or self._admitted(exchange, key, place))

    def _form_for(self, request: Request) -> Response:
        place = own_path(request.query_params.get("next", ""))
        if has_pass(request, self._key_check, self._origins):
            return _form(request, place, 200, "This browser is signed in.", "good")
        return _form(request, place)

    def _admitted(self, exchange: Exchange, key: str, place: str) -> Response:
        """The way in for whoever shows the key, on to a path of this server; else the form again.

        place: the path.
        """
        request, address = exchange.request, exchange.address
        if not key:
            return _form(request, place, 400, "Type the key first.")
        try:
            self._key_check.check([key], address)
        except AuthError as error:
            log.debug("%s could not sign in: %s", address, error.code)
            wait_s = error.retry_after_s or 0.0
            why = "Wait {s:.0f} s, then try again." if wait_s else "That is not the key."
            form = _form(request, place, error.kind.http_status, why, s=wait_s)
            if wait_s:
                form.headers["Retry-After"] = f"{max(1, round(wait_s))}"
            return form
        return self._with_pass(place, address)

    def _with_pass(self, place: str, address: str) -> Response:
        try:
            value = self._key_check.new_pass()
        except (OSError, ConfigError) as error:
            log.error("nobody can sign in: %s", error)
            why = "The server could not store what it needs for this. Its log says why."
            return note("You could not sign in", why, "/sign-in", 500)
        log.info("%s has signed in", address)
        return _going_to(place, value, passes.LIFETIME_S)

    async def _sign_out(self, exchange: Exchange) -> None:
        await exchange.body(MOST_BYTES)
        answer = self._obstacle(exchange.request) or self._foreign(exchange.request)
        await exchange.respond(answer or _going_to("/sign-in", "", 0))

    def _foreign(self, request: Request) -> Response | None:
        """The refusal of a form that another page has sent; None for one of this server's own."""
        sender = sender_of(request)
        try:
            sender.check_is_own(own_origins_of(request), self._origins)
        except AuthError as error:
            log.debug("a page of another site has sent a form to sign in: %s", error)
            return note("Not sent by this page", error.public_message, "/sign-in", 403)
        if not sender.is_told:
            why = "Got neither Origin nor Sec-Fetch-Site. Programs send the key itself instead."
            return note("Not sent by this page", why, "/sign-in", 403)
        return None

    def _obstacle(self, request: Request) -> Response | None:
        """What to show instead of the form, where nobody can sign in; None where one can."""
        title = "Nobody can sign in here"
        if not self._key_check.is_needed:
            why = "This server is open: auth.mode is open, so everybody who reaches it is let in."
            return note("There is nothing to sign in to", why, "/")
        if self._key_check.key is None:
            why = "This server has no key. On its machine, bash serve.sh key make makes one."
            return note(title, why, "/", 404)
        if is_secure(request):
            return None
        url = self._trust.https_url(request.url.hostname or "") if self._trust else ""
        if not url:
            lacking = self._trust.why_no_url if self._trust else OFF
            return note(title, f"The key is only taken over https. {lacking}", "/", 404)
        asked = own_path(request.query_params.get("next", ""))
        place = f"{url.removesuffix('/')}{_sign_in_for(asked)}"
        why = "Over http, others on the way could read the key. Sign in over https instead."
        return note("Sign in", why, place, 403 if request.method == "POST" else 200)


def own_path(text: str) -> str:
    """`text` if it is a path of this server and nothing else; "/" for an address elsewhere."""
    return text if _PLACE.fullmatch(text) else "/"


def _sign_in_for(asked: str) -> str:
    """The path of the form that leads back to one of `own_path`."""
    return "/sign-in" if asked == "/" else f"/sign-in?next={quote(asked, safe='/')}"


def _language_of(asked: HTTPConnection) -> str:
    return "de" if _GERMAN.match(asked.headers.get("accept-language", "")) else "en"


def _form(
    asked: HTTPConnection,
    place: str,
    status: int = 200,
    message: str = "",
    state: str = "bad",
    **values: float,
) -> Response:
    """The form in the language of the browser. values: those in `message`, one of _IN_GERMAN."""
    lang = _language_of(asked)
    said = (_IN_GERMAN[message] if lang == "de" else message).format(**values)
    return page(_FORMS[lang], status, message=said, state=state, place=place)


def _going_to(place: str, value: str, lifetime_s: int) -> Response:
    answer = RedirectResponse(place, 303, {"Cache-Control": "no-store"})
    cookie = f"{passes.COOKIE}={value}; Max-Age={lifetime_s}; {_COOKIE_RULES}"
    answer.headers["Set-Cookie"] = cookie
    return answer


def _field(form: bytes, name: str) -> str:
    """A field of a form; "" if there is none."""
    try:
        fields = parse_qs(form.decode(), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return ""
    return fields.get(name, [""])[0]
