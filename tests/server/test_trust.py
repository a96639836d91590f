"""What is served below /trust: forms of a certificate that other programs read, and the page."""

import asyncio
import base64
import datetime
import json
import plistlib
import re
import subprocess
from dataclasses import dataclass
from html import unescape

import html5lib
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from lanscribe.identity.authority import file_name, fingerprint
from lanscribe.server import front
from lanscribe.server.trust import Trust, short_fingerprint

NASTY = """lanscribe on <b>"it's"</b> & co"""
NAMES = ("192.168.1.20", "fd00::20", "box", "box.local", "localhost", "127.0.0.1", "::1")
STARTS = ("http://", "https://")
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def made(common_name: str) -> x509.Certificate:
    """A certificate that signs itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), NameOID.COMMON_NAME
    subject = x509.Name([x509.NameAttribute(name, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


@dataclass(frozen=True)
class Shown:
    """What a TLS door shows."""

    authority: x509.Certificate | None
    names: tuple[str, ...] = NAMES
    why_nameless: str = ""


AUTHORITY = made(NASTY)
DIGEST = AUTHORITY.fingerprint(hashes.SHA256())
BOX = Trust(Shown(AUTHORITY), 8443)
OWN_BOX = Trust(Shown(None), 8443)
NEW_BOX = Trust(Shown(None, ()), 8443)
NAMELESS_BOX = Trust(Shown(None, (), "it has *.example.org; name this box"), 8443)


def get(
    path: str, trust: Trust | None = BOX, host: str = "box:8000", **headers: str
) -> httpx.Response:
    """The answer of a box to a request."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=front.routes(trust)))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(asked())


def openssl(content: bytes, *flags: str) -> str:
    """What openssl prints of a certificate."""
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", *flags]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout.decode()


def test_the_binary_form_is_the_certificate() -> None:
    answer = get("/trust/lanscribe.crt")
    assert answer.headers["content-type"] == "application/x-x509-ca-cert"
    assert "content-disposition" not in answer.headers  # Firefox would save it, not import it
    assert x509.load_der_x509_certificate(answer.content) == AUTHORITY
    assert fingerprint(AUTHORITY) in openssl(answer.content, "-inform", "DER")


def test_the_text_form_is_the_certificate() -> None:
    answer = get("/trust/lanscribe.pem")
    assert answer.headers["content-type"] == "application/x-pem-file"
    saved = f'attachment; filename="{file_name(AUTHORITY)}.pem"'
    assert answer.headers["content-disposition"] == saved
    assert x509.load_pem_x509_certificates(answer.content) == [AUTHORITY]
    assert fingerprint(AUTHORITY) in openssl(answer.content)


def test_the_profile_has_one_root_certificate_and_the_same_identifiers_each_time() -> None:
    answer = get("/trust/lanscribe.mobileconfig")
    assert answer.headers["content-type"] == "application/x-apple-aspen-config"
    assert get("/trust/lanscribe.mobileconfig").content == answer.content
    whole = plistlib.loads(answer.content)
    (root,) = whole["PayloadContent"]
    assert (whole["PayloadType"], root["PayloadType"]) == (
        "Configuration",
        "com.apple.security.root",
    )
    assert x509.load_der_x509_certificate(root["PayloadContent"]) == AUTHORITY
    assert whole["PayloadDisplayName"] == root["PayloadDisplayName"] == NASTY
    assert whole["PayloadVersion"] == root["PayloadVersion"] == 1
    assert whole["PayloadUUID"] != root["PayloadUUID"]
    assert whole["PayloadIdentifier"] != root["PayloadIdentifier"]


def test_another_certificate_has_another_profile() -> None:
    other = get("/trust/lanscribe.mobileconfig", Trust(Shown(made(NASTY)), 8443)).content
    own = get("/trust/lanscribe.mobileconfig").content
    assert plistlib.loads(other)["PayloadUUID"] != plistlib.loads(own)["PayloadUUID"]


def test_the_fingerprint_is_shown_as_devices_show_it() -> None:
    assert bytes.fromhex(fingerprint(AUTHORITY).replace(":", "")) == DIGEST
    short = short_fingerprint(AUTHORITY)
    assert len(short) == 43
    assert base64.urlsafe_b64decode(short + "=") == DIGEST


def test_the_page_shows_the_whole_fingerprint_in_groups() -> None:
    groups = re.findall(r"<li>((?:[0-9A-F]{2}:){3}[0-9A-F]{2})</li>", get("/trust").text)
    assert ":".join(groups) == fingerprint(AUTHORITY)


@pytest.mark.parametrize("name", ["lanscribe on box (57f4f214)", NASTY])
def test_every_step_has_the_name_of_this_authority(name: str) -> None:
    """A device may trust several boxes, and an old authority beside a new one."""
    authority = made(name)
    file = file_name(authority)
    assert re.fullmatch(r"lanscribe-[0-9a-f]{8}", file)
    assert (file == "lanscribe-57f4f214") == (name != NASTY)
    text = get("/trust", Trust(Shown(authority), 8443)).text
    saved = re.findall(r'href="/trust/lanscribe\.(crt|pem)" download="([^"]*)"', text)
    assert saved == [*[("crt", f"{file}.crt")] * 3, ("pem", f"{file}.pem")]
    commands = " ".join(re.findall(r"<(?:pre|code|strong)>([^<]*)</", text))
    assert f"cp {file}.pem /usr/local/share/ca-certificates/{file}.crt" in commands
    assert not re.search(r"lanscribe\.(crt|pem)|-n lanscribe\s", commands)


def test_the_page_escapes_whatever_the_certificate_is_called() -> None:
    text = get("/trust").text
    assert "<b>" not in text
    assert NASTY in unescape(text)
    hosts = re.search(r'data-hosts="([^"]*)"', text)
    assert hosts
    assert json.loads(unescape(hosts[1])) == ["192.168.1.20", "box", "box.local"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("box:8000", "https://box:8443/"),
        ("192.168.1.20:8000", "https://192.168.1.20:8443/"),
        ("[fd00::20]:8000", "https://[fd00::20]:8443/"),
        ("127.0.0.1:8000", "https://127.0.0.1:8443/"),
        ("evil.example:8000", "https://192.168.1.20:8443/"),
        ("box.local", "https://box.local:8443/"),
    ],
)
def test_the_page_leads_to_https_at_a_name_that_the_certificate_has(host: str, url: str) -> None:
    text = get("/trust", host=host).text
    assert set(re.findall(r'href="(https://[^"]*)"', text)) == {url}


def test_the_page_has_its_policy_and_nothing_inline() -> None:
    answer = get("/trust")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<style|<script(?![^>]* src=\"/pages/)|\sstyle=|\son[a-z]+=", answer.text)
    sources = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    outside = [one for one in sources if not one.startswith(("/", "#", "https://box:8443/"))]
    assert not outside


@pytest.mark.parametrize("trust", [BOX, OWN_BOX, NEW_BOX, None], ids=["box", "own", "new", "off"])
def test_the_page_is_html_without_an_error(trust: Trust | None) -> None:
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    tree = parser.parse(get("/trust", trust).content)
    assert tree.get("lang") == "en"
    assert len(tree.findall(".//h1")) == len(tree.findall(".//main")) == 1
    ids = [one.get("id") for one in tree.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    targets = {one.get("href") for one in tree.iter("a")} & {f"#{one}" for one in ids}
    assert targets == {one for one in (a.get("href") for a in tree.iter("a")) if one[0] == "#"}


def test_whatever_the_page_needs_is_served() -> None:
    needed = re.findall(r'(?:src|href)="(/[^"]*)"', get("/trust").text)
    assert len(needed) > 5
    assert {path: get(path).status_code for path in needed} == dict.fromkeys(needed, 200)


def test_a_page_of_another_name_may_read_the_check() -> None:
    origin = "https://box:8443"
    answer = get("/trust/check", Origin=origin)
    assert answer.json() == {
        "server": "lanscribe",
        "fingerprint": fingerprint(AUTHORITY),
        "address": f"https://192.168.1.20:8443/#{short_fingerprint(AUTHORITY)}",
    }
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("origin", "is_read"),
    [
        *(
            (f"{scheme}://box.local{port}", True)
            for scheme in ("http", "https")
            for port in ("", ":1")
        ),
        *(("http://[fd00::20]:8000", True), ("http://192.168.1.20:8000", True)),
        *(("https://evil.example", False), ("https://box.evil.example", False), ("null", False)),
        *(("app://box.local", False), ("https://box.local/x", False), ("box.local", False)),
        *(("https://192.168.1.21", False), ("https://user@box.local", False), ("https://", False)),
    ],
)
def test_which_pages_may_read_the_check(origin: str, is_read: bool) -> None:
    answer = get("/trust/check", Origin=origin)
    assert answer.headers.get("access-control-allow-origin", "") == (origin if is_read else "")
    assert answer.headers["vary"] == "Origin"


def test_with_certificates_of_the_owner_nothing_is_to_be_installed() -> None:
    answer = get("/trust", OWN_BOX)
    assert answer.status_code == 200
    assert "Nothing has to be installed" in answer.text
    assert 'href="https://box:8443/"' in answer.text
    told = get("/trust/check", OWN_BOX).json()
    assert (told["fingerprint"], told["address"]) == ("", "https://192.168.1.20:8443/")


@pytest.mark.parametrize("form", ["crt", "pem", "mobileconfig"])
@pytest.mark.parametrize("trust", [OWN_BOX, NEW_BOX, None], ids=["own", "new", "off"])
def test_without_an_authority_no_form_is_served(form: str, trust: Trust | None) -> None:
    answer = get(f"/trust/lanscribe.{form}", trust)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("trust", [NEW_BOX, None], ids=["new", "off"])
def test_without_https_the_page_says_so(trust: Trust | None) -> None:
    answer = get("/trust", trust)
    assert answer.status_code == 404
    assert "does not serve https" in answer.text
    assert get("/trust/check", trust).status_code == 404
    assert "https" not in get("/", trust, Accept="*/*").text


@pytest.mark.parametrize("trust", [BOX, OWN_BOX, NEW_BOX, None], ids=["box", "own", "new", "off"])
def test_a_browser_gets_the_page_at_the_door(trust: Trust | None) -> None:
    answer = get("/", trust, Accept=BROWSER)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert 'src="/pages/app/app.js"' in answer.text


def test_a_program_gets_the_paths() -> None:
    text = get("/", Accept="*/*").text
    assert text.startswith("lanscribe: live speech to text.\nWebSocket: /v1/realtime")
    assert "https: https://box:8443/   how a phone comes to trust it: /trust\n" in text
    assert "https" not in get("/", None, Accept="*/*").text


def test_a_certificate_that_names_no_box_is_told_from_none() -> None:
    assert "is not known: it has *.example.org; name this box." in get("/trust", NAMELESS_BOX).text
    answer = get("/trust/check", NAMELESS_BOX)
    assert answer.status_code == 404
    assert "serves https" in answer.json()["error"]["message"]


def test_only_a_certificate_of_the_owner_names_this_box() -> None:
    assert BOX.own_names == NEW_BOX.own_names == ()
    assert OWN_BOX.own_names == NAMES


def connections(answer: httpx.Response) -> list[str]:
    """What the policy of a page lets it connect to."""
    parts = answer.headers["content-security-policy"].split("; ")
    (part,) = [part for part in parts if part.startswith("connect-src ")]
    return part.split()[1:]


@pytest.mark.parametrize("path", ["/", "/trust"])
def test_a_page_connects_to_no_other_place_than_the_names_of_the_box(path: str) -> None:
    names = ("192.168.1.20", "box.local", "127.0.0.1", "localhost", "fd00::1", "a;b *", "*.home")
    trust = Trust(Shown(AUTHORITY, names), 8443)
    allowed = ["'self'", "https://192.168.1.20:8443", "https://box.local:8443"]
    sockets = [origin.replace("https", "wss") for origin in allowed[1:]]
    expected = allowed + (sockets if path == "/" else [])
    assert connections(get(path, trust, accept="text/html")) == expected


@pytest.mark.parametrize("trust", [None, NEW_BOX, NAMELESS_BOX])
def test_without_https_a_page_connects_only_to_where_it_came_from(trust: Trust | None) -> None:
    for path in ("/", "/trust", "/pages/app/worker.js"):
        assert connections(get(path, trust, accept="text/html")) == ["'self'"]
