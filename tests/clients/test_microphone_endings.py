"""However a recording ends, the sound card is let go; and a fault that is not the client's."""

import os
import re
import subprocess
import sys
from ctypes.util import find_library

import pytest

from lanscribe import PROJECT_DIR
from tests.clients.sound import SoundCard

COUNT = 120


def test_a_stream_is_closed_whatever_ends_the_recording(sound_card: SoundCard) -> None:
    """PortAudio calls a stream that is open; where Python has freed it, that ends in a crash."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.clients.endings", str(COUNT)],
        env={**os.environ, **sound_card.environment},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    ends = re.findall(r"^seed \d+: .*$", ran.stderr, re.MULTILINE)
    assert [end for end in ends if "closed" not in end] == [], "the seeds say how it ended"
    assert (ran.returncode, len(ends)) == (0, COUNT), ran.stderr[-2000:]


@pytest.mark.skipif(not find_library("jack"), reason="no libjack")
def test_what_shows_the_fault_of_libjack_has_none_of_its_own() -> None:
    shown = [sys.executable, "-m", "tests.clients.late_jack", "0"]
    told = subprocess.run(shown, cwd=PROJECT_DIR, capture_output=True, check=True, timeout=60)
    assert told.stdout == b"alive\n"
