import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import socket

import pytest

from lanscribe import installation
from lanscribe.admin import machine
from lanscribe.voxtral import gpu
from tests.nvml import RTX_3060, put_large_disk, put_nvml
from tests.projects import copy_project, write_script


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b'{"status": "loading"}')

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web_server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def hang_up_on_one(listener: socket) -> None:
    listener.accept()[0].close()


def test_a_command_that_fails_is_a_fact(tmp_path: Path) -> None:
    script = write_script(tmp_path / "fails", "echo out; echo one >&2; echo two >&2; exit 3")
    outcome = installation.run([script])
    assert (outcome.status, outcome.output, outcome.last_words) == (3, "out\n", "two")


def test_a_command_that_is_not_there_is_a_fact(tmp_path: Path) -> None:
    outcome = installation.run([tmp_path / "none"])
    assert outcome.status is None
    assert "No such file" in outcome.last_words


def test_a_command_that_hangs_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "COMMAND_TIMEOUT_S", 0.2)
    outcome = installation.run([sys.executable, "-c", "import signal; signal.pause()"])
    assert outcome.status is None
    assert "no answer" in outcome.last_words


def test_without_an_environment_nothing_is_asked(tmp_path: Path) -> None:
    assert machine.packages(tmp_path) is None
    assert machine.sound(tmp_path) is None


def test_the_card_is_judged_before_anything_is_installed(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "a b" / "lanscribe")
    put_nvml(project, RTX_3060 | {"driver": "535.183.01"})
    verdict = gpu.card_verdict(project)
    assert verdict is not None
    assert (verdict.profile, "RTX 3060" in verdict.result) == ("", True)


def test_the_card_is_judged_for_the_profile_that_is_set(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "lanscribe")
    put_nvml(project, RTX_3060)
    put_large_disk(project)
    verdict = gpu.card_verdict(project, profile="bf16-24gb")
    assert verdict is not None
    assert (verdict.profile, verdict.will_run) == ("bf16-24gb", False)


def test_without_a_card_there_is_no_verdict(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "lanscribe")
    put_nvml(project)
    assert gpu.card_verdict(project) is None


def test_a_driver_that_crashes_is_no_card(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "lanscribe")
    (project / "pynvml.py").write_text("import os\nos.abort()\n")
    assert gpu.card_verdict(project) is None


@pytest.mark.parametrize(
    ("vendor", "device_class", "expected"),
    [
        ("0x10de", "0x030000", True),
        ("0x10de", "0x030200", True),
        ("0x10de", "0x040300", False),  # the sound of an HDMI plug
        ("0x8086", "0x030000", False),
    ],
)
def test_has_nvidia_card(tmp_path: Path, vendor: str, device_class: str, expected: bool) -> None:
    for number in range(2):
        (tmp_path / f"0000:0{number}:00.0").mkdir()
    (tmp_path / "0000:00:00.0/vendor").write_text(f"{vendor}\n")
    (tmp_path / "0000:00:00.0/class").write_text(f"{device_class}\n")
    assert machine.has_nvidia_card(tmp_path) is expected


def test_a_free_port() -> None:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    facts = machine.port("127.0.0.1", number)
    assert (facts.bind_error, facts.health) == ("", None)


def test_a_port_where_something_else_listens() -> None:
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        number = listener.getsockname()[1]
        thread = threading.Thread(target=hang_up_on_one, args=(listener,))
        thread.start()
        facts = machine.port("127.0.0.1", number)
        thread.join()
    assert "in use" in facts.bind_error
    assert facts.health is None


def test_a_port_where_a_web_server_answers(web_server: HTTPServer) -> None:
    facts = machine.port("127.0.0.1", web_server.server_port)
    assert "in use" in facts.bind_error
    assert facts.health == (503, '{"status": "loading"}')


def test_settings_are_read_as_a_shell_would() -> None:
    lines = "LANSCRIBE_SERVER_PORT=8000\nLANSCRIBE_LOG_FILE='a b/it'\"'\"'s.log'\nLANSCRIBE_X=''\n"
    assert machine.parse_environment(lines) == {
        "LANSCRIBE_SERVER_PORT": "8000",
        "LANSCRIBE_LOG_FILE": "a b/it's.log",
        "LANSCRIBE_X": "",
    }


def test_this_machine_has_cores_memory_and_a_disk() -> None:
    assert machine.cores() >= 1
    assert machine.memory_bytes() > 100_000_000
    assert machine.free_disk_bytes() > 0
