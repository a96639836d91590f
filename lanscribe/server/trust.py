"""The page that tells how a device comes to trust this box, and the certificate in every form."""

import base64
import json
import plistlib
import re
import uuid
from ipaddress import ip_address
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lanscribe.errors import ProtocolError
from lanscribe.identity.authority import common_name, file_name, fingerprint
from lanscribe.identity.network import url_host
from lanscribe.server import pages
from lanscribe.server.access import name_in
from lanscribe.server.http_errors import JsonResponse, error_response

OFF = (
    'This box does not serve https: tls.mode is "off", or another program has its port. The lines'
    " that bash serve.sh printed at its start say which. Without https no browser gives a page of"
    " this box the microphone."
)
NONE_YET = (
    "This box has no certificate yet, so it does not serve https. The lines that bash serve.sh"
    " printed at its start say why; it tries again every half a minute."
)
OWN = (
    "Nothing has to be installed: this box shows the certificate that its owner chose (tls.cert and"
    " tls.key)."
)
_IN_POLICY = re.compile(r"[\w.-]+", re.ASCII)
"""A host that a Content-Security-Policy can name: it has no form for an IPv6 address."""
_GROUP_LETTERS = 12
"""Of a fingerprint as it is shown, AB:CD:EF:01 and a colon: eight such groups."""
_FORM_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_NAMESPACE = uuid.UUID("5a9c7d0e-6f43-5d25-9d55-3f6c8e5b9a17")
"""Of the identifiers in a profile, which have to stay the same for the same certificate."""


class Certificates(Protocol):
    """What the TLS door shows, as far as this page needs it."""

    @property
    def authority(self) -> x509.Certificate | None:
        """The box's own authority; None with certificates of the owner."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names and addresses in the certificate that is shown now, the best address first."""

    @property
    def why_nameless(self) -> str:
        """Why no name is known though a certificate is shown; "" if one is, or none is shown."""


class Trust:
    """The routes below /trust of a box that serves https."""

    def __init__(self, certificates: Certificates, port: int) -> None:
        """port: where https is served."""
        self._certificates = certificates
        self._port = port

    def routes(self) -> list[Route]:
        """The page, the forms of the certificate, and what the page's check asks for."""
        return [
            Route("/trust", self._explain),
            Route("/trust/check", self._check),
            Route("/trust/lanscribe.crt", self._der),
            Route("/trust/lanscribe.pem", self._pem),
            Route("/trust/lanscribe.mobileconfig", self._profile),
        ]

    def https_url(self, host: str = "") -> str:
        """Where https is served, such as https://192.168.1.20:8443/.

        host: by which a client has found this box; kept if the certificate has it. "" while there
        is no certificate.
        """
        names = self._certificates.names
        if not names:
            return ""
        kept = host if host in names else names[0]
        return f"https://{url_host(kept)}:{self._port}/"

    @property
    def origins(self) -> list[str]:
        """Where a page of this box asks whether the device trusts it, such as https://box:8443."""
        return [f"https://{host}:{self._port}" for host in self._hosts]

    @property
    def _hosts(self) -> list[str]:
        """The names that other devices have for this box, as far as a policy can allow them."""
        names = [name for name in self._certificates.names if not _is_loopback(name)]
        return [name for name in names if _IN_POLICY.fullmatch(name)]

    @property
    def own_names(self) -> tuple[str, ...]:
        """What a certificate of the owner's calls this box; none in a certificate of its own.

        Without names that stand for many.
        """
        return self._certificates.names if self._certificates.authority is None else ()

    @property
    def why_no_url(self) -> str:
        """Why `https_url` is ""."""
        why = self._certificates.why_nameless
        return f"This box serves https, but its name is not known: {why}." if why else NONE_YET

    @property
    def fingerprint(self) -> str:
        """That of the authority; "" with certificates of the owner."""
        authority = self._certificates.authority
        return fingerprint(authority) if authority else ""

    def scanned_url(self) -> str:
        """The address for a QR code: the best one, and the fingerprint in its fragment; or ""."""
        authority = self._certificates.authority
        return self.https_url() + (f"#{short_fingerprint(authority)}" if authority else "")

    async def _explain(self, request: Request) -> Response:
        authority = self._certificates.authority
        url = self.https_url(request.url.hostname or "")
        if not self._certificates.names:
            return pages.note("No address for https", self.why_no_url, "/docs", 404)
        if authority is None:
            return pages.note("Nothing to install", OWN, url)
        shown = fingerprint(authority)
        values = {
            "name": common_name(authority),
            "file": file_name(authority),
            "url": url,
            "fingerprint": shown,
            "hosts": json.dumps(self._hosts),
            "port": str(self._port),
        }
        return pages.page("trust", 200, origins=self.origins, **values, **_groups(shown))

    async def _check(self, request: Request) -> Response:
        """What a page on another name of this box may read, if its browser trusts this one.

        No other page may: the fingerprint would tell it whose browser it is in.
        """
        names = self._certificates.names
        if not names:
            return _refusal(self.why_no_url)
        told = {
            "server": "lanscribe",
            "fingerprint": self.fingerprint,
            "address": self.scanned_url(),
        }
        headers = {"Cache-Control": "no-store", "Vary": "Origin"}
        origin = request.headers.get("origin", "")
        if _host_of(origin) in names:
            headers["Access-Control-Allow-Origin"] = origin
        return JsonResponse(told, headers=headers)

    async def _der(self, _request: Request) -> Response:
        """For Android, Windows, macOS and Firefox, which offers to import this type."""
        if (authority := self._certificates.authority) is None:
            return self._no_form()
        content = authority.public_bytes(Encoding.DER)
        return Response(content, 200, _FORM_HEADERS, "application/x-x509-ca-cert")

    async def _pem(self, _request: Request) -> Response:
        """For Linux and for programs."""
        if (authority := self._certificates.authority) is None:
            return self._no_form()
        content = authority.public_bytes(Encoding.PEM)
        saved = {"Content-Disposition": f'attachment; filename="{file_name(authority)}.pem"'}
        return Response(content, 200, _FORM_HEADERS | saved, "application/x-pem-file")

    async def _profile(self, _request: Request) -> Response:
        """For iPhone and iPad."""
        if (authority := self._certificates.authority) is None:
            return self._no_form()
        return Response(profile(authority), 200, _FORM_HEADERS, "application/x-apple-aspen-config")

    def _no_form(self) -> Response:
        return _refusal(OWN if self._certificates.names else self.why_no_url)


def routes_without_https() -> list[Route]:
    """The routes below /trust of a box that does not serve https."""
    return [Route("/trust", _explain_off), Route("/trust/{form}", _refuse_off)]


def short_fingerprint(certificate: x509.Certificate) -> str:
    """The same in 43 letters, for the fragment of an address: base64url without padding."""
    return base64.urlsafe_b64encode(_digest(certificate)).decode().rstrip("=")


def profile(authority: x509.Certificate) -> bytes:
    """A configuration profile for Apple's devices with one root certificate."""
    digest = _digest(authority)
    name = common_name(authority)
    about = f"Lets this device trust {name}, the speech-to-text server of this home."
    root = {
        "PayloadType": "com.apple.security.root",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"local.lanscribe.{digest.hex()[:16]}.root",
        "PayloadUUID": _identifier("root", digest),
        "PayloadDisplayName": name,
        "PayloadDescription": about,
        "PayloadCertificateFileName": f"{file_name(authority)}.crt",
        "PayloadContent": authority.public_bytes(Encoding.DER),
    }
    whole = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"local.lanscribe.{digest.hex()[:16]}",
        "PayloadUUID": _identifier("profile", digest),
        "PayloadDisplayName": name,
        "PayloadDescription": about,
        "PayloadOrganization": "lanscribe",
        "PayloadRemovalDisallowed": False,
        "PayloadContent": [root],
    }
    return plistlib.dumps(whole)


def _groups(shown: str) -> dict[str, str]:
    """A fingerprint in the eight groups that the page shows."""
    starts = range(0, len(shown), _GROUP_LETTERS)
    groups = [shown[at : at + _GROUP_LETTERS].strip(":") for at in starts]
    return {f"group{number}": group for number, group in enumerate(groups, 1)}


def _identifier(part: str, digest: bytes) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{part} {digest.hex()}")).upper()


def _digest(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(SHA256())


def _host_of(origin: str) -> str:
    """The name or address of a page's origin; "" if that is not one of http or https."""
    scheme, _, host = origin.partition("://")
    return name_in(host) if scheme in {"http", "https"} else ""


def _is_loopback(name: str) -> bool:
    """Whether a name or address means whichever machine it is used on."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


async def _explain_off(_request: Request) -> Response:
    return pages.note("No https here", OFF, "/docs", 404)


async def _refuse_off(_request: Request) -> Response:
    return _refusal(OFF)


def _refusal(why: str) -> Response:
    return error_response(ProtocolError("not_found", why))
