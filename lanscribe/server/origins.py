"""Which web page sent a request, by headers that only a browser writes: decisions without I/O.

A browser sends Origin with a WebSocket, a POST and a request whose answer a page wants to read. It
sends Sec-Fetch-Site with every request to https and to localhost (W3C Fetch Metadata). Another port
of the same host is the same site: cookies and SameSite do not tell its pages from the server's.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from lanscribe.errors import AuthError
from lanscribe.server.access import check_origin

_OWN_SITES = frozenset({"same-origin", "none"})
"""none: the address was typed, or opened from a bookmark."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What the headers tell of the page; a program tells nothing."""

    origins: tuple[str, ...]
    sites: tuple[str, ...]
    """The values of Sec-Fetch-Site."""
    is_opening: bool
    """Whether the browser opens the address in a tab, so that no page reads the answer."""

    @property
    def is_told(self) -> bool:
        """Whether a browser has said which page it was."""
        return bool(self.origins or self.sites)

    def check_is_own(
        self, own: Collection[str], others: Collection[str] = (), *, may_open: bool = False
    ) -> None:
        """Admit programs, the pages of the origins in `own`, and those of `others`.

        others: auth.origins; they are of another site by Sec-Fetch-Site. may_open: also admit a
        link on any page, which opens this server in a tab. Raises AuthError for other pages.
        """
        for origin in self.origins:
            check_origin(origin, {*own, *others})
        if self.origins and {origin.lower() for origin in self.origins} <= set(others):
            return
        foreign = [site for site in self.sites if site not in _OWN_SITES]
        if foreign and not (may_open and self.is_opening):
            raise AuthError(
                "not_allowed",
                f"got Sec-Fetch-Site {foreign[0][:50]!r}: a page of another site or port sent it;"
                " such pages need the key, or their Origin in auth.origins",
            )


def sender_of(method: str, values: Callable[[str], list[str]]) -> Sender:
    """What the headers of a request tell. values: gives those of a name in lower case."""
    mode, dest = values("sec-fetch-mode"), values("sec-fetch-dest")
    is_opening = method in {"GET", "HEAD"} and mode == ["navigate"] and dest == ["document"]
    return Sender(tuple(values("origin")), tuple(values("sec-fetch-site")), is_opening)


def is_secure(scheme: str, forwarded: Sequence[str], *, is_by_proxy: bool) -> bool:
    """Whether the client has sent its request over TLS.

    forwarded: the X-Forwarded-Proto headers, which count of a proxy in auth.proxies alone
    (is_by_proxy); a chain of proxies adds its own at the end.
    """
    if is_by_proxy and forwarded:
        scheme = forwarded[-1].rpartition(",")[2].strip().lower()
    return scheme in {"https", "wss"}
