"""A home network of network namespaces: a client, and boxes that a bridge joins with it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from tests.support import DEADLINE_S

_NAMESPACES = ["--net", "--mount", "--uts"]
_IDLE = "mount -t sysfs none /sys; ip link set lo up; echo; exec sleep infinity"


class Lan:
    """The network 10.77.0.0/24: the client has .1, the boxes .11, .12 …"""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._pids: dict[str, int] = {}
        as_user = [] if os.geteuid() == 0 else ["--map-root-user"]
        self._enter_user = ["--user", "--preserve-credentials"] if as_user else []
        self._hold("client", ["unshare", *as_user, *_NAMESPACES])
        self.run("client", "ip link add br0 type bridge; ip link set br0 up")
        self.run("client", "ip addr add 10.77.0.1/24 dev br0; hostname client")

    def add_box(self, number: int) -> str:
        """A machine box1, box2 …; returns its name."""
        name = f"box{number}"
        self._hold(name, [*self.into("client"), "unshare", *_NAMESPACES])
        pid = self._pids[name]
        self.run("client", f"ip link add to{number} type veth peer name lan0 netns {pid}")
        self.run("client", f"ip link set to{number} master br0 up")
        self.run(name, f"hostname {name}; ip link set lan0 up")
        self.run(name, f"ip addr add 10.77.0.{10 + number}/24 dev lan0")
        return name

    def into(self, machine: str) -> list[str]:
        """What a command begins with to run on a machine."""
        target = ["--target", str(self._pids[machine])]
        return ["nsenter", *target, *self._enter_user, *_NAMESPACES, f"--wd={PROJECT_DIR}"]

    def run(self, machine: str, script: str) -> str:
        """The output of a script in bash. Raises CalledProcessError."""
        command = [*self.into(machine), "bash", "-euc", script]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def start(self, machine: str, *command: str | Path, log: Path) -> subprocess.Popen[bytes]:
        """A program that runs there until it is ended, or until the network is."""
        environ = os.environ | {"LANSCRIBE_DISCOVERY_ENABLED": "true"}
        with log.open("ab") as out:
            program = subprocess.Popen(
                [*self.into(machine), *command], stdout=out, stderr=out, env=environ
            )
        self._stack.callback(_end, program)
        return program

    def _hold(self, name: str, unshare: list[str]) -> None:
        holder = subprocess.Popen([*unshare, "bash", "-euc", _IDLE], stdout=subprocess.PIPE)
        self._stack.callback(_end, holder)
        assert holder.stdout is not None
        with holder.stdout as out:
            assert out.readline(), "no namespace"
        self._pids[name] = holder.pid


def _end(program: subprocess.Popen[bytes]) -> None:
    if program.poll() is None:
        program.terminate()
    try:
        program.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


@contextmanager
def lan() -> Iterator[Lan]:
    """The network, until the context ends. Skips the test where there are no namespaces."""
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("no network namespaces here")
    as_user = [] if os.geteuid() == 0 else ["--map-root-user"]
    probe = ["unshare", *as_user, *_NAMESPACES, "mount", "-t", "sysfs", "none", "/sys"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here")
    with ExitStack() as stack:
        yield Lan(stack)
