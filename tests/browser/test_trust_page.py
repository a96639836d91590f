"""The page /trust in real browsers: what it says of the device, to everybody, on any screen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lanscribe.identity.authority import Authority
from lanscribe.server.trust import short_fingerprint
from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import Running
from tests.browser.driving import Browser, Page, Refused
from tests.browser.judging import violations
from tests.browser.sites import certificate_for
from tests.browser.trust_box import TrustBox, trust_box
from tests.servers import ServeHere

NAMES = ("box.local", "lanscribe.local", "box.lan")
YES = "Yes: this device trusts the box."
NOT_YET = "Not yet: this device does not trust the box."
VERDICT = """() => new Promise((resolve) => {
  const look = () => {
    const text = document.getElementById("verdict").textContent;
    if (text) resolve(text); else setTimeout(look, 20);
  };
  look();
})"""
OPEN = (
    "() => [...document.querySelectorAll('details')].filter((one) => one.open).map((one) => one.id)"
)
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 8) AppleWebKit/537.36 Chrome/142.0.0.0 Mobile"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15"
WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0 Edg/142.0.0.0"
)
LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36"
FIREFOX = "Gecko/20100101 Firefox/145.0"


@pytest.fixture(scope="module")
def box(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustBox]:
    with trust_box(authority, NAMES, tmp_path_factory.mktemp("box")) as box:
        yield box


@pytest.fixture(scope="module")
def modules(running: Running, box: TrustBox) -> Iterator[Page]:
    """The open page, whose modules are asked."""
    with running.browser("chromium").page() as page:
        page.open(box.url("http"))
        yield page


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_device_that_trusts_the_box_is_told_so(page: Page, box: TrustBox, scheme: str) -> None:
    page.open(box.url(scheme))
    assert page.run(VERDICT) == YES
    assert page.run("() => document.getElementById('go').getClientRects().length") == 1
    assert page.run("() => document.getElementById('go').href") == (
        f"https://box.local:{box.secure_port}/"
    )


def test_a_device_that_does_not_is_told_what_to_do(stranger: Browser, box: TrustBox) -> None:
    with stranger.page() as page:
        page.open(box.url("http"))
        assert page.run(VERDICT) == NOT_YET
        assert "Do the steps" in page.run("() => document.getElementById('advice').textContent")
        assert page.run("() => document.getElementById('go').getClientRects().length") == 0


def test_past_the_warning_the_microphone_works_and_the_page_still_says_not_yet(
    running: Running, box: TrustBox
) -> None:
    """As the page tells of Chromium."""
    with running.browser("chromium", is_trusting=False).page() as page:
        assert isinstance(page, ChromiumPage)
        with pytest.raises(Refused):
            page.open(box.url("https"))
        page.do(page.tab.click("#details-button"))
        page.do(page.tab.click("#proceed-link"))
        page.do(page.tab.wait_for_url(box.url("https")))
        page.do(page.tab.locator("#verdict:not(:empty)").wait_for())
        assert page.run(VERDICT) == NOT_YET, page.complaints
        listen = (
            "() => navigator.mediaDevices.getUserMedia({ audio: true }).then((one) => one.active)"
        )
        assert page.run(listen) is True


def test_over_http_by_a_name_without_a_certificate_it_leads_to_https(
    stranger: Browser, box: TrustBox
) -> None:
    with stranger.page() as page:
        page.open(f"http://127.0.0.1:{box.port}/trust")
        assert page.run(VERDICT) == "This page cannot tell."
        advice = page.run("() => document.getElementById('advice').textContent")
        assert advice.startswith("Over http no browser warns. Open the https address")
        assert page.run("() => document.getElementById('go').getClientRects().length") == 1
        assert page.run("() => document.getElementById('go').href") == (
            f"https://box.local:{box.secure_port}/"
        )


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({"asked": {"b": "own"}}, "trusted"),
        ({"asked": {"b": "another", "c": "own"}}, "trusted"),
        ({"asked": {"b": "another"}}, "told"),
        ({"asked": {}}, "told"),
        ({"asked": {"a": "own"}}, "told"),  # an exception may be why
        ({"protocol": "http:", "asked": {"b": "own"}}, "trusted"),
        ({"protocol": "http:", "asked": {}}, "refused"),
        ({"protocol": "http:", "asked": {"a": "another"}}, "refused"),
        ({"protocol": "http:", "asked": {"a": "own"}}, "unknown"),
        ({"protocol": "http:", "host": "elsewhere", "asked": {}}, "unknown"),
        ({"hosts": ["a"], "asked": {"a": "own"}}, "told"),
        ({"hosts": [], "asked": {}, "protocol": "http:"}, "unknown"),
    ],
)
def test_what_follows_from_which_names_answer(
    modules: Page, given: dict[str, Any], verdict: str
) -> None:
    """asked: the names that this browser gets an answer from over https, and the fingerprint."""
    decide = """async ({ asked, ...given }) => {
      const { verdictOf } = await import("/pages/trust_check.js");
      const seen = { protocol: "https:", host: "a", hosts: ["a", "b", "c"], fingerprint: "own" };
      const refused = () => Promise.reject(new Error("refused"));
      const asks = async (url) => asked[new URL(url).hostname] ?? refused();
      return verdictOf({ port: "8443", ...seen, ...given }, asks, async () => "told");
    }"""
    assert modules.run(decide, given) == verdict


@pytest.mark.parametrize(
    ("user_agent", "touch_points", "sections"),
    [
        (ANDROID, 5, ["android"]),
        (f"Mozilla/5.0 (Android 15; Mobile; rv:145.0) {FIREFOX}", 5, ["android"]),
        (IPHONE, 5, ["apple"]),
        (MAC, 5, ["apple"]),
        (MAC, 0, ["macos"]),
        (WINDOWS, 10, ["windows"]),
        (LINUX, 0, ["linux"]),
        (f"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) {FIREFOX}", 0, ["firefox"]),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64) {FIREFOX}", 0, ["windows", "firefox"]),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15) {FIREFOX}", 0, ["macos", "firefox"]),
        ("curl/8", 0, []),
    ],
)
def test_which_sections_concern_a_device(
    modules: Page, user_agent: str, touch_points: int, sections: list[str]
) -> None:
    find = """async (...device) =>
      (await import("/pages/device.js")).sectionsFor(...device)"""
    assert modules.run(find, user_agent, touch_points) == sections


def test_the_section_of_this_device_is_open_and_a_link_opens_another(
    tab: ChromiumPage, box: TrustBox
) -> None:
    tab.open(box.url("http"))
    assert tab.run(OPEN) == ["linux"]
    tab.do(tab.tab.click("#linux a[href='#firefox']"))
    assert sorted(tab.run(OPEN)) == ["firefox", "linux"]


def test_without_javascript_every_section_is_open(tab: ChromiumPage, box: TrustBox) -> None:
    session = tab.do(tab.tab.context.new_cdp_session(tab.tab))
    tab.do(session.send("Emulation.setScriptExecutionDisabled", {"value": True}))
    tab.open(box.url("http"))
    shown = tab.do(
        tab.tab.locator("details > div").evaluate_all(
            "all => all.map((one) => one.offsetHeight > 50)"
        )
    )
    assert shown == [True] * 6
    assert not tab.do(tab.tab.locator("#check").is_visible())
    assert tab.do(tab.tab.locator("noscript").inner_text()).startswith("Without JavaScript")


@pytest.mark.parametrize(
    ("fragment", "told"),
    [("own", "The code that you scanned has"), ("A" * 43, "Stop:"), ("linux", ""), ("", "")],
)
def test_a_scanned_fingerprint_is_compared(
    page: Page, box: TrustBox, authority: Authority, fragment: str, told: str
) -> None:
    scanned = short_fingerprint(authority.certificate) if fragment == "own" else fragment
    page.open(f"{box.url('http')}#{scanned}")
    said = page.run("() => document.querySelector('#scanned:not([hidden])')?.textContent ?? ''")
    assert said.startswith(told)
    assert bool(said) == bool(told)


@pytest.mark.parametrize("is_trusting", [True, False], ids=["trusting", "not"])
def test_a_scanned_address_leads_to_the_steps_or_to_the_live_view(
    running: Running, box: TrustBox, authority: Authority, is_trusting: bool
) -> None:
    scanned = short_fingerprint(authority.certificate)
    secure, plain = (box.url(scheme).removesuffix("trust") for scheme in ("https", "http"))
    with running.browser("chromium", is_trusting=is_trusting).page() as page:
        assert isinstance(page, ChromiumPage)
        page.open(f"{secure if is_trusting else plain}#{scanned}")
        ends = f"{secure}#live" if is_trusting else f"{box.url('http')}#{scanned}"
        page.do(page.tab.wait_for_url(ends))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_nothing_is_wider_than_the_screen(
    tab: ChromiumPage, box: TrustBox, width: int, scheme: Any
) -> None:
    tab.do(tab.tab.set_viewport_size({"width": width, "height": 700}))
    tab.do(tab.tab.emulate_media(color_scheme=scheme))
    tab.open(box.url("http"))
    tab.run("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert tab.run("() => document.documentElement.scrollWidth") == width
    background = tab.run("() => getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(247, 246, 243)", "dark": "rgb(19, 23, 26)"}[scheme]


DOUBLE = "() => { document.documentElement.style.fontSize = '200%' }"


def test_nothing_is_wider_than_a_small_screen_with_large_text(
    tab: ChromiumPage, box: TrustBox
) -> None:
    tab.do(tab.tab.set_viewport_size({"width": 320, "height": 700}))
    tab.open(box.url("http"))
    tab.run(DOUBLE)
    tab.run("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
    tab.run("() => { document.getElementById('go').hidden = false }")
    assert tab.run("() => document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize("text", ["100%", "200%"])
@pytest.mark.parametrize("is_secure", [True, False], ids=["form", "note"])
def test_where_the_key_is_taken_nothing_is_wider_than_a_small_screen(
    tab: ChromiumPage,
    serve_here: ServeHere,
    authority: Authority,
    tmp_path: Path,
    is_secure: bool,
    text: str,
) -> None:
    names = ["the-speech-to-text-box-in-the-living-room.home.arpa", "127.0.0.1"]
    certificate = str(certificate_for(authority, names, tmp_path))
    box = serve_here(
        server={"state_dir": str(tmp_path)},
        tls={"mode": "own", "cert": certificate, "key": certificate, "port": 0},
        auth={"mode": "key", "key": "a-key-of-the-tests"},
    )
    tab.do(tab.tab.set_viewport_size({"width": 320, "height": 700}))
    door = f"https://127.0.0.1:{box.secure_port}" if is_secure else box.http_url
    tab.open(f"{door}/sign-in")
    tab.run(DOUBLE.replace("200%", text))
    assert tab.run("() => document.documentElement.scrollWidth") == 320


def test_the_policy_is_never_broken(tab: ChromiumPage, box: TrustBox) -> None:
    tab.open(box.url("https"))
    assert tab.run(VERDICT) == YES
    assert tab.complaints == []


def test_the_keyboard_reaches_the_content_and_the_check(tab: ChromiumPage, box: TrustBox) -> None:
    tab.open(box.url("http"))
    assert tab.run(VERDICT) == YES
    focus = "() => document.activeElement.textContent"
    tab.press("Tab")
    assert tab.run(focus) == "Skip to the content"
    tab.press("Tab")
    assert tab.run(focus) == "Check again"
    assert tab.run("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Enter")
    tab.do(tab.tab.get_by_text("Checked at").wait_for())
    assert tab.run(VERDICT).endswith(YES)


def test_a_screen_reader_hears_a_verdict_once(tab: ChromiumPage, box: TrustBox) -> None:
    tab.open(box.url("http"))
    assert tab.run(VERDICT) == YES
    count = """async () => {
      let changes = 0;
      const whatever = { childList: true, characterData: true, subtree: true };
      const observer = new MutationObserver((all) => (changes += all.length));
      observer.observe(document.getElementById("verdict"), whatever);
      const again = document.getElementById("again");
      const idle = () => new Promise((resolve) => {
        const look = () => again.hasAttribute("aria-disabled") ? setTimeout(look, 10) : resolve();
        look();
      });
      for (let time = 0; time < 3; time++) {
        document.dispatchEvent(new Event("visibilitychange"));
        await idle();
      }
      return changes;
    }"""
    assert tab.run(count) == 0
    roles = tab.do(tab.tab.get_by_role("status").all_inner_texts())
    assert roles == [YES]
    assert tab.do(tab.tab.get_by_role("heading", level=1).all_inner_texts()) == ["Trust this box"]
    assert tab.do(tab.tab.get_by_role("main").count()) == 1


def test_what_the_page_offers_is_downloaded_whole(
    tab: ChromiumPage, box: TrustBox, tmp_path: Path, authority: Authority
) -> None:
    tab.open(box.url("http"))

    async def download() -> None:
        async with tab.tab.expect_download() as started:
            await tab.tab.click("#linux a.button")
        await (await started.value).save_as(tmp_path / "lanscribe.pem")

    tab.do(download())
    found = x509.load_pem_x509_certificate((tmp_path / "lanscribe.pem").read_bytes())
    assert found == authority.certificate


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("is_trusting", [True, False], ids=["trusting", "not"])
def test_axe_finds_nothing(running: Running, box: TrustBox, is_trusting: bool, scheme: Any) -> None:
    """Nothing against WCAG 2.2 AA, and none of its best practices, with every section open."""
    with running.browser("chromium", is_trusting=is_trusting).page() as page:
        assert isinstance(page, ChromiumPage)
        page.do(page.tab.emulate_media(color_scheme=scheme))
        page.open(f"{box.url('http')}#{'A' * 43}")
        page.run(VERDICT)
        page.run("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
        assert violations(page) == []


def test_axe_would_find_something(tab: ChromiumPage, box: TrustBox) -> None:
    tab.open(box.url("http"))
    tab.run("() => { document.title = '' }")
    assert [rule for rule, _ in violations(tab)] == ["document-title"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("is_secure", [True, False], ids=["form", "note"])
def test_axe_finds_nothing_where_the_key_is_taken(
    tab: ChromiumPage,
    serve_here: ServeHere,
    authority: Authority,
    tmp_path: Path,
    is_secure: bool,
    scheme: Any,
) -> None:
    certificate = str(certificate_for(authority, ["127.0.0.1"], tmp_path))
    box = serve_here(
        server={"state_dir": str(tmp_path)},
        tls={"mode": "own", "cert": certificate, "key": certificate, "port": 0},
        auth={"mode": "key", "key": "a-key-of-the-tests"},
    )
    tab.do(tab.tab.emulate_media(color_scheme=scheme))
    door = f"https://127.0.0.1:{box.secure_port}" if is_secure else box.http_url
    tab.open(f"{door}/sign-in")
    assert bool(tab.run("() => document.forms.length")) == is_secure
    assert violations(tab) == []
    assert tab.complaints == []
