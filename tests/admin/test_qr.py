"""The QR code: read by a decoder from what a terminal shows, and from the pictures."""

import io
import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zxingcpp
from cryptography.x509 import load_pem_x509_certificate
from numpy.typing import NDArray

from lanscribe import PROJECT_DIR
from lanscribe.admin import control, machine, qr, records
from lanscribe.admin.qr import Screen, below, drawn, main, screen
from lanscribe.server.trust import short_fingerprint
from tests.servers import StartServer

FINGERPRINT = ":".join(f"{number:02X}" for number in range(200, 232))
ADDRESS = f"https://192.168.178.123:8443/#{'aB3-_' * 8}xyz"
PIXELS = 4
BLOCKS = {" ": (0, 0), "\u2580": (1, 0), "\u2584": (0, 1), "\u2588": (1, 1), "#": (1, 1)}


def decoded(dark: NDArray[np.bool_]) -> str:
    """What a camera reads that sees these modules: on light ground, and not the other way round."""
    image = np.where(np.pad(dark, 2), 0, 255).astype(np.uint8)
    image = np.repeat(np.repeat(image, PIXELS, 0), PIXELS, 1)
    codes = zxingcpp.read_barcodes(image, try_invert=False, try_rotate=False)
    return codes[0].text if codes else ""


def lit(text: str) -> NDArray[np.bool_]:
    """Where the colour of letters is, of block letters: two rows a line."""
    cells = [[BLOCKS[letter] for letter in line] for line in text.splitlines()]
    return np.array([[cell[half] for cell in row] for row in cells for half in (0, 1)], bool)


def is_dark(text: str, *, on_light: bool) -> NDArray[np.bool_]:
    """Which modules look dark without any colour, on a light or on a dark terminal."""
    letters = lit(text)
    return letters if on_light else ~letters


def test_a_code_in_colour_is_black_on_white_on_any_terminal() -> None:
    lines = drawn(ADDRESS, Screen(80, has_colours=True, has_blocks=True)).splitlines()
    assert all(
        re.fullmatch(r"\x1b\[38;5;16;48;5;231m[ \u2580\u2584\u2588]+\x1b\[0m", one) for one in lines
    )
    bare = "\n".join(re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines)
    assert decoded(lit(bare)) == ADDRESS


@pytest.mark.parametrize("is_light", [False, True], ids=["dark", "light"])
def test_a_code_without_colour_is_right_for_the_terminal_that_it_is_drawn_for(
    is_light: bool,
) -> None:
    shown = Screen(80, has_colours=False, has_blocks=True, is_inverted=is_light)
    text = drawn(ADDRESS, shown)
    assert "\x1b" not in text
    assert decoded(is_dark(text, on_light=is_light)) == ADDRESS


@pytest.mark.parametrize("is_light", [False, True], ids=["dark", "light"])
def test_a_code_in_ascii(is_light: bool) -> None:
    shown = Screen(80, has_colours=False, has_blocks=False, is_inverted=is_light)
    text = drawn(ADDRESS, shown)
    assert set(text) == {" ", "#", "\n"}
    rows = is_dark(text, on_light=is_light)[::2, ::2]
    assert decoded(rows) == ADDRESS


def test_a_code_in_ascii_and_colour() -> None:
    text = drawn(ADDRESS, Screen(80, has_colours=True, has_blocks=False))
    assert text.isascii()
    cells = [re.findall(r"\x1b\[48;5;(16|231)m  ", line) for line in text.splitlines()]
    assert decoded(np.array([[cell == "16" for cell in row] for row in cells])) == ADDRESS


@pytest.mark.parametrize(("has_blocks", "width"), [(True, 37), (False, 74)])
def test_a_narrow_terminal_is_told_how_wide_it_has_to_be(has_blocks: bool, width: int) -> None:
    told = drawn(ADDRESS, Screen(width - 1, has_colours=True, has_blocks=has_blocks))
    assert f"a terminal of {width} columns; this one has {width - 1}" in told
    fits = drawn(ADDRESS, Screen(width, has_colours=False, has_blocks=has_blocks))
    assert {len(line) for line in fits.splitlines()} == {width}


class Terminal(io.TextIOWrapper):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("encoding", "environ", "has_colours", "has_blocks"),
    [
        ("utf-8", {"TERM": "xterm"}, True, True),
        ("utf-8", {"TERM": "xterm", "NO_COLOR": "1"}, False, True),
        ("utf-8", {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ("utf-8", {"TERM": "dumb"}, False, True),
        ("utf-8", {}, False, True),
        ("ascii", {"TERM": "xterm"}, True, False),
        ("iso-8859-1", {"TERM": "xterm"}, True, False),
    ],
)
def test_what_a_terminal_can_show(
    encoding: str, environ: dict[str, str], has_colours: bool, has_blocks: bool
) -> None:
    found = screen(Terminal(io.BytesIO(), encoding=encoding), environ, is_inverted=False)
    assert (found.has_colours, found.has_blocks) == (has_colours, has_blocks)


def test_a_file_gets_no_colour_and_is_wide_enough() -> None:
    found = screen(io.TextIOWrapper(io.BytesIO(), "utf-8"), {"TERM": "xterm"}, is_inverted=False)
    assert found == Screen(sys.maxsize, has_colours=False, has_blocks=True)
    assert not screen(None, {"TERM": "xterm"}, is_inverted=False).has_blocks


def test_the_start_banner_ends_with_the_code_in_a_terminal_only() -> None:
    environ = {"TERM": "dumb"}
    terminal, file = Terminal(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    text = qr.at_start(ADDRESS, terminal, environ)
    assert text[0] == "\n"
    assert decoded(is_dark(text[1:], on_light=False)) == ADDRESS
    assert qr.at_start("", terminal, environ) == ""
    assert qr.at_start(ADDRESS, file, environ) == ""
    assert qr.at_start(ADDRESS, None, environ) == ""
    terminal.close()
    assert qr.at_start(ADDRESS, terminal, environ) == ""


def test_below_the_code_are_the_address_and_the_whole_fingerprint() -> None:
    first, second, third = below(ADDRESS, FINGERPRINT).splitlines()
    assert first == "  https://192.168.178.123:8443/"
    assert ":".join([second.split()[1], third.strip()]) == FINGERPRINT
    assert max(map(len, (first, second, third))) < 80
    assert below(ADDRESS, "") == "  https://192.168.178.123:8443/\n"


def run(*flags: str) -> int:
    parser = ArgumentParser()
    qr.add_flags(parser)
    return main(parser.parse_args(flags))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A server in the records, and what it answers."""
    record = records.Record(1, "now", "run", "gateway", "0.0.0.0", 8000)
    answer = {"status": 200, "body": f'{{"address": "{ADDRESS}", "fingerprint": "{FINGERPRINT}"}}'}

    class Running:
        def __enter__(self) -> control.Found:
            return [(record, None)]  # type: ignore[list-item]

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(control, "running", lambda _port: Running())
    monkeypatch.setattr(machine, "trust", lambda *_: (answer["status"], answer["body"]))
    return answer


@pytest.mark.usefixtures("answers")
def test_pictures_are_read_by_a_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, png = tmp_path / "code.svg", tmp_path / "code.png"
    assert run("--svg", str(svg), "--png", str(png)) == 0
    out, err = capsys.readouterr()
    assert "fingerprint  C8:C9" in out
    assert err == f"serve: the QR code is in {svg}\nserve: the QR code is in {png}\n"
    assert decoded_png(png) == ADDRESS
    assert b"<svg" in svg.read_bytes()


def decoded_png(path: Path) -> str:
    """What is in a picture, which ffmpeg's libraries read."""
    import av  # noqa: PLC0415

    with av.open(str(path)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="gray")
    return zxingcpp.read_barcodes(frame, try_invert=False)[0].text


@pytest.mark.usefixtures("answers")
def test_a_picture_that_cannot_be_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "none/code.png"
    assert run("--png", str(place)) == 1
    assert capsys.readouterr().err == f"serve: --png {place}: No such file or directory\n"


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, '{"error": {"message": "no https here"}}', "no https here"),
        (404, "<h1>", "answers HTTP 404"),
        (200, '{"status": "ok"}', "answers HTTP 200"),
    ],
)
def test_a_server_without_an_address(
    answers: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    status: int,
    body: str,
    told: str,
) -> None:
    answers.update(status=status, body=body)
    assert run() == 1
    assert told in capsys.readouterr().err


def test_without_a_server_there_is_no_address() -> None:
    command = [sys.executable, "-m", "lanscribe", "qr", "--port", "1"]
    done = subprocess.run(
        command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False, env=os.environ
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "no server runs on port 1" in done.stderr
    assert "start it: bash serve.sh" in done.stderr


def test_the_code_of_a_running_server_leads_to_its_certificate(
    start_server: StartServer, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    server = start_server(
        LANSCRIBE_TLS_MODE="auto", LANSCRIBE_TLS_PORT="0", LANSCRIBE_SERVER_STATE_DIR=str(state)
    )
    command = [sys.executable, "-m", "lanscribe", "qr", "--port", str(server.port)]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
    *code, shown, _, _ = done.stdout.splitlines()
    address, _, fragment = decoded(is_dark("\n".join(code), on_light=False)).partition("#")
    assert shown == f"  {address}"
    assert address.endswith(f":{server.secure_port}/")
    authority = load_pem_x509_certificate((state / "tls/authority.pem").read_bytes())
    assert fragment == short_fingerprint(authority)
