"""Makes the pictures of docs/phone.md: a real server, and Chromium at the size of a phone.

    PYTHONPATH=. .venv/bin/python docs/images/make_phone_pictures.py

Needs Linux, root (for a network of its own with one address), Chromium and certutil.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.sync_api import Browser, Error, Page, sync_playwright

from lanscribe import PROJECT_DIR

FOLDER = Path(__file__).parent
HOSTNAME = "kitchen"
ADDRESS = "192.168.178.20"
APART = f"""hostname {HOSTNAME} && ip link set lo up &&
ip link add lan0 type veth peer name lan1 && ip link set lan1 up &&
ip address add {ADDRESS}/24 dev lan0 && ip link set lan0 up && ip route add default dev lan0"""
PAGE = f"http://{ADDRESS}:8000/trust"
NAMES = f"--host-resolver-rules=MAP *.local {ADDRESS}, MAP {HOSTNAME} {ADDRESS}"
ANDROID = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
    " Mobile Safari/537.36"
)
PHONE = {"width": 390, "height": 760}
CELL = (8, 16)
"""Width and height of a letter in the picture of the terminal."""
NBSP = "\u00a0"
"""A space that is not joined with the next one."""
BLOCKS = {" ": "", "\u2580": "0", "\u2584": "1", "\u2588": "01"}


def main() -> None:
    """Go into a network apart, start a server there, and take the pictures."""
    if socket.gethostname() != HOSTNAME:
        program = f"{APART} && exec {sys.executable} {Path(__file__).resolve()}"
        os.execvp("unshare", ["unshare", "--net", "--uts", "bash", "-c", program])
    with TemporaryDirectory() as folder, server(Path(folder)):
        draw_terminal(FOLDER / "phone-qr.svg")
        with chromium(Path(folder) / "untrusting") as browser:
            take_untrusted(browser)
        with chromium(
            Path(folder) / "trusting", Path(folder) / "state/tls/authority.pem"
        ) as browser:
            show(browser, PAGE, "phone-check-after", "light", at="#check")


@contextmanager
def server(folder: Path) -> Iterator[None]:
    """A server that is ready, with a state of its own."""
    variables = {
        "LANSCRIBE_ENGINE_NAME": "fake",
        "LANSCRIBE_SERVER_STATE_DIR": f"{folder}/state",
        "LANSCRIBE_DISCOVERY_ENABLED": "false",
        "LANSCRIBE_LOG_FILE": f"{folder}/log",
    }
    command = [sys.executable, "-m", "lanscribe", "serve"]
    with subprocess.Popen(
        command, env={**os.environ, **variables}, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("  stop"))
        try:
            yield
        finally:
            process.terminate()


def draw_terminal(picture: Path) -> None:
    """What `bash serve.sh qr` prints, letter by letter."""
    command = [sys.executable, "-m", "lanscribe", "qr", "--invert"]
    done = subprocess.run(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True, check=True)
    lines = ["$ bash serve.sh qr", *done.stdout.splitlines()]
    width, height = CELL
    parts = []
    for row, line in enumerate(lines):
        if line and set(line) <= set(BLOCKS):
            size = f'width="{len(line) * width}" height="{height}"'
            parts.append(f'<rect y="{row * height}" {size} fill="#fff"/>')
            parts += [
                f'<rect x="{column * width}" y="{row * height + int(half) * height // 2}"'
                f' width="{width}" height="{height // 2}"/>'
                for column, letter in enumerate(line)
                for half in BLOCKS[letter]
            ]
        else:
            text = escape(line).replace(" ", NBSP)
            parts.append(f'<text x="0" y="{row * height + 12}" fill="#ddd">{text}</text>')
    columns, rows = max(map(len, lines)) * width + 32, len(lines) * height + 24
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 -12 {columns} {rows}"'
        f' width="{columns}" font-family="monospace" font-size="13"'
        ' shape-rendering="crispEdges">\n'
        '<rect x="-16" y="-12" width="100%" height="100%" rx="8" fill="#1b1f23"/>\n'
    )
    picture.write_text("".join([start, *parts, "</svg>\n"]), encoding="utf-8")


@contextmanager
def chromium(home: Path, authority: Path | None = None) -> Iterator[Browser]:
    """Chromium with an empty profile, which trusts an authority or none."""
    store = home / ".pki/nssdb"
    store.mkdir(parents=True)
    database = ["certutil", "-d", f"sql:{store}"]
    subprocess.run([*database, "-N", "--empty-password"], check=True)
    if authority:
        adding = ["-A", "-n", "lanscribe", "-t", "C,,", "-i", str(authority)]
        subprocess.run([*database, *adding], check=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", NAMES],
            env={**os.environ, "HOME": str(home)},
        )
        yield browser
        browser.close()


def take_untrusted(browser: Browser) -> None:
    """The pictures before the phone trusts the box."""
    show(browser, PAGE, "phone-trust-light", "light")
    show(browser, PAGE, "phone-trust-dark", "dark")
    show(browser, PAGE, "phone-check-before", "light", at="#check")
    with tab(browser, "light") as page:
        page.goto(PAGE)  # any page first: a first one that fails leaves the tab blank
        with suppress(Error):
            page.goto(f"https://{ADDRESS}:8443/")
        page.locator("#details-button").wait_for()
        page.screenshot(path=FOLDER / "phone-warning.png")


def show(
    browser: Browser, url: str, name: str, scheme: Literal["light", "dark"], at: str = ""
) -> None:
    """A picture of a page, or of one part of it, after its check."""
    with tab(browser, scheme) as page:
        page.goto(url)
        page.locator("#verdict:not(:empty)").wait_for()
        place = page.locator(at) if at else page
        place.screenshot(path=FOLDER / f"{name}.png")


@contextmanager
def tab(browser: Browser, scheme: Literal["light", "dark"]) -> Iterator[Page]:
    """A tab as on a phone."""
    context = browser.new_context(
        viewport=PHONE, user_agent=ANDROID, color_scheme=scheme, is_mobile=True, has_touch=True
    )
    yield context.new_page()
    context.close()


if __name__ == "__main__":
    main()
