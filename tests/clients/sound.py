"""A sound card without hardware: a PulseAudio daemon of one's own, reached through ALSA."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support import DEADLINE_S

MODULES = [
    "module-native-protocol-unix socket={folder}/native auth-anonymous=1",
    "module-null-sink sink_name=card rate=44100 channels=2",
]


class SoundCard:
    """What is played on it is what its microphone hears."""

    def __init__(self) -> None:
        if not (shutil.which("pulseaudio") and shutil.which("paplay")):
            pytest.skip("no sound card without pulseaudio and pulseaudio-utils")
        # Not pytest's folder: the path of a socket may have 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="card"))
        self.environment = {
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self._folder),
            "PULSE_SERVER": f"unix:{self._folder}/native",
        }

    def __enter__(self) -> Self:
        asoundrc = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
        (self._folder / ".asoundrc").write_text(asoundrc, encoding="ascii")
        modules = [f"--load={module.format(folder=self._folder)}" for module in MODULES]
        settings = ["--disable-shm=yes", "--exit-idle-time=-1", "--log-target=null"]
        # Returns when the daemon is ready.
        self._run("pulseaudio", "-n", "--daemonize=yes", "--fail=yes", *settings, *modules)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        self.unplug()
        shutil.rmtree(self._folder)

    def play(self, path: Path) -> None:
        """Play a file to its end."""
        self._run("paplay", str(path))

    def mute(self) -> None:
        """What a mute switch does."""
        self._run("pactl", "set-source-mute", "card.monitor", "1")

    def unplug(self) -> None:
        """Take the card away."""
        try:
            daemon = os.pidfd_open(int((self._folder / "pulse/pid").read_text(encoding="ascii")))
        except (FileNotFoundError, ProcessLookupError):
            return
        signal.pidfd_send_signal(daemon, signal.SIGTERM)
        select.select([daemon], [], [], DEADLINE_S)
        os.close(daemon)

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=DEADLINE_S,
        )
