"""What a trusted authority cannot vouch for: its name constraints, as browsers honour them."""

from pathlib import Path

import pytest

from lanscribe.identity.authority import Authority
from tests.browser.driving import Browser, Page, Refused
from tests.browser.sites import certificate_for, site

OUTSIDE = ("www.example.com", "203.0.113.5")
"""A name and an address that the authority of a home may not speak for."""
REFUSALS = {"chromium": "ERR_CERT_INVALID", "firefox": "SEC_ERROR_CERT_NOT_IN_NAME_SPACE"}


@pytest.mark.parametrize(
    "name", ["nas.lan", "box.fritz.box", "lanscribe.local", "192.168.77.7", "127.0.0.1"]
)
def test_a_name_within_is_trusted(
    page: Page, authority: Authority, tmp_path: Path, name: str
) -> None:
    with site(certificate_for(authority, [name], tmp_path)) as port:
        page.open(f"https://{name}:{port}/")
        assert page.run("() => [location.hostname, isSecureContext]") == [name, True]


@pytest.mark.parametrize("others", [[], ["nas.lan"]])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_outside_is_refused(
    browser: Browser, authority: Authority, tmp_path: Path, name: str, others: list[str]
) -> None:
    """In a certificate for a name within, too."""
    certificate = certificate_for(authority, [*others, name], tmp_path)
    with browser.page() as page, site(certificate) as port, pytest.raises(Refused) as refusal:
        page.open(f"https://{[*others, name][0]}:{port}/")
    assert refusal.value.args == (REFUSALS[browser.name],)


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_constraints_are_why(
    page: Page, boundless: Authority, tmp_path: Path, name: str
) -> None:
    """The same name, from an authority that differs in that alone."""
    with site(certificate_for(boundless, [name], tmp_path)) as port:
        page.open(f"https://{name}:{port}/")
