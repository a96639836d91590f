"""Certificates and addresses that change while sessions run: not a word is lost."""

import json
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.server.changing_networks import GOES, LAST_NUMBER, STAYS
from tests.server.test_discovery import NAMESPACE
from tests.support import DEADLINE_S, counting

TWO_CARDS = f"""
ip link set lo up
for number in 50 60; do
  ip link add lan$number type veth peer name far$number
  ip link set far$number up
  ip link set lan$number up
done
ip addr add {STAYS}/24 dev lan50
ip addr add {GOES}/24 dev lan60
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
def test_sessions_outlast_a_change_of_certificate_and_of_address(tmp_path: Path) -> None:
    serve = shlex.join([sys.executable, "-m", "tests.server.changing_networks", str(tmp_path)])
    done = subprocess.run(
        [*NAMESPACE, f"{TWO_CARDS}\n{serve}"],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    everything = counting(range(1, LAST_NUMBER))

    stayed = found["stay"]
    assert stayed["text"] == everything
    assert len(set(stayed["serials"])) == 3, "the certificate was renewed twice"
    assert stayed["own_serial"] == stayed["serials"][0], "the session keeps what it began with"

    moved = found["move"]
    assert moved["greeting"] == "session.resumed"
    assert moved["text"] == everything
    assert all(after == before + 1 for before, after in pairwise(moved["seqs"]))
