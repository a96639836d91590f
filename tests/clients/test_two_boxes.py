"""Two boxes and a client in a network of namespaces: found, named apart, and used."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.server.lan import Lan, lan
from tests.support import DEADLINE_S

NAMES = {"lanscribe.local", "lanscribe-2.local"}
DBUS = """
<busconfig><type>custom</type><listen>unix:path={bus}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>
"""
AVAHI = """
[server]
host-name=client
use-ipv6=no
[publish]
publish-workstation=no
"""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lan]:
    """A client and two boxes, on which nothing runs yet."""
    monkeypatch.delenv("LANSCRIBE_URL", raising=False)
    with lan() as found:
        found.add_box(1)
        found.add_box(2)
        yield found


def start(network: Lan, number: int, folder: Path) -> subprocess.Popen[bytes]:
    """A server on box1 or box2, whose state and log are in `folder`."""
    variables = {
        "SERVER_HOST": "0.0.0.0",
        "SERVER_STATE_DIR": folder / f"state{number}",
        "LOG_FILE": folder / f"box{number}.log",
        "WYOMING_PORT": 10300,
    }
    assignments = [f"LANSCRIBE_{name}={value}" for name, value in variables.items()]
    command = [sys.executable, "-m", "lanscribe", "serve", "--engine", "fake", "--port", "8000"]
    log = folder / f"box{number}.out"
    return network.start(f"box{number}", "env", *assignments, *command, log=log)


def wait_until(is_so: Callable[[], bool], what: Callable[[], object]) -> None:
    """Look until it is so."""
    ends_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < ends_s, what()
        time.sleep(0.05)


def name_of(folder: Path, number: int) -> str:
    """The name that the box announced last, as its log says; "" if it has not announced any."""
    log = folder / f"box{number}.out"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    said = [line.partition(" at ")[2].split()[0] for line in lines if "INFO    announced" in line]
    return said[-1] if said else ""


def is_named(folder: Path, number: int) -> bool:
    return name_of(folder, number) != ""


def are_named_apart(folder: Path) -> bool:
    return {name_of(folder, 1), name_of(folder, 2)} == NAMES


@pytest.mark.slow
def test_two_boxes_are_found_and_used(
    network: Lan, tmp_path: Path, numbers_wav: Callable[..., Path]
) -> None:
    (tmp_path / "state2").mkdir()  # box 2 has held its name long enough to keep it
    (tmp_path / "state2/name").write_text("lanscribe-2\n")
    boxes = [start(network, number, tmp_path) for number in (1, 2)]
    wait_until(lambda: are_named_apart(tmp_path), lambda: texts(tmp_path))
    transcribe = f"{sys.executable} test_file_transcribe.py --audio_path {numbers_wav([7])}"
    listed = network.run("client", f"{transcribe} 2>&1 || echo status $?")
    assert "looking for a server in this network" in listed
    assert "several servers are in this network" in listed
    for number in (1, 2):
        line = f"  --url ws://10.77.0.{10 + number}:8000   ({name_of(tmp_path, number)})\n"
        assert line in listed
    assert listed.endswith("status 2\n")

    boxes[0].terminate()
    boxes[0].wait(DEADLINE_S)
    alone = name_of(tmp_path, 2)
    said = network.run("client", f"{transcribe} --discover 2>{tmp_path}/err")
    assert said == "7\n"
    assert f"found {alone}: ws://10.77.0.12:8000" in (tmp_path / "err").read_text()

    boxes[1].terminate()  # it comes back under its name, though the other one is free
    boxes[1].wait(DEADLINE_S)
    (tmp_path / "box2.out").unlink()
    start(network, 2, tmp_path)
    wait_until(lambda: bool(name_of(tmp_path, 2)), lambda: texts(tmp_path))
    assert name_of(tmp_path, 2) == alone


@pytest.mark.slow
@pytest.mark.parametrize("offset_s", [0, 0.3, 0.7])
def test_two_boxes_that_start_together_are_named_apart(
    offset_s: float, network: Lan, tmp_path: Path
) -> None:
    """At the same moment, or within the second in which both ask for the name."""
    start(network, 1, tmp_path)
    time.sleep(offset_s)
    start(network, 2, tmp_path)
    wait_until(lambda: are_named_apart(tmp_path), lambda: texts(tmp_path))


@pytest.mark.slow
def test_two_networks_that_are_joined_later_have_one_box_of_each_name(
    network: Lan, tmp_path: Path
) -> None:
    """The box with the lower address leaves the name; the other one keeps it."""
    network.run("client", "ip link set to2 nomaster")
    for number in (1, 2):
        looking = [
            sys.executable,
            "-m",
            "tests.server.quick_looks",
            str(tmp_path / f"state{number}"),
        ]
        network.start(f"box{number}", *looking, log=tmp_path / f"box{number}.out")
    for number in (1, 2):
        wait_until(partial(is_named, tmp_path, number), lambda: texts(tmp_path))
        assert name_of(tmp_path, number) == "lanscribe.local"
    network.run("client", "ip link set to2 master br0")
    wait_until(lambda: are_named_apart(tmp_path), lambda: texts(tmp_path))
    assert name_of(tmp_path, 2) == "lanscribe.local"
    kept = tmp_path / "state1/name"
    wait_until(lambda: kept.read_text() == "lanscribe-2\n", kept.read_text)


@pytest.mark.slow
def test_avahi_finds_both_boxes(network: Lan, tmp_path: Path) -> None:
    """Real Avahi on the client. It needs the machine's root, since it has files of its own user."""
    if not all(map(shutil.which, ("avahi-daemon", "avahi-browse", "dbus-daemon"))):
        pytest.skip("no Avahi here")
    start_avahi(network, tmp_path)
    for number in (1, 2):
        start(network, number, tmp_path)
    wait_until(lambda: are_named_apart(tmp_path), lambda: texts(tmp_path))
    rows = network.run("client", "avahi-browse -rpt _lanscribe._tcp").splitlines()
    resolved = [row.split(";") for row in rows if row.startswith("=")]
    expected = {(name_of(tmp_path, number), f"10.77.0.{10 + number}") for number in (1, 2)}
    assert {(row[6], row[7]) for row in resolved} == expected
    assert all('"path=/v1/realtime"' in row[9] and '"auth=lan"' in row[9] for row in resolved)
    for name, address in expected:
        said = network.run("client", f"avahi-resolve -4n {name}")
        assert said.split() == [name, address]
        health = f"curl --silent --fail --resolve {name}:8000:{address} http://{name}:8000/health"
        assert json.loads(network.run("client", health))


def start_avahi(network: Lan, folder: Path) -> None:
    """Avahi, and a D-Bus of its own in a /run of its own: the machine may have both."""
    bus = "/run/dbus/system_bus_socket"
    (folder / "dbus.conf").write_text(DBUS.format(bus=bus))
    (folder / "avahi.conf").write_text(AVAHI)
    network.run("client", "mount -t tmpfs none /run; mkdir /run/dbus /run/avahi-daemon")
    daemon = ["dbus-daemon", f"--config-file={folder}/dbus.conf", "--nofork", "--nopidfile"]
    network.start("client", *daemon, log=folder / "dbus.out")
    network.run(
        "client", f"timeout {DEADLINE_S} bash -c 'until test -S {bus}; do sleep 0.05; done'"
    )
    daemon = ["avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits"]
    log = folder / "avahi.out"
    avahi = network.start("client", *daemon, "-f", folder / "avahi.conf", log=log)
    wait_until(
        lambda: avahi.poll() is not None or "Server startup complete" in log.read_text(),
        lambda: texts(folder),
    )
    if avahi.poll() is not None and os.geteuid() != 0:
        pytest.skip(f"Avahi needs the machine's root: {log.read_text()}")


def texts(folder: Path) -> str:
    """What all programs said."""
    return "\n".join(f"{one.name}:\n{one.read_text()}" for one in folder.glob("*.out"))
