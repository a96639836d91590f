"""OpenAI's client for Node, which dials TLS and nothing else."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from tests.protocols.sound import spoken_at_24_khz
from tests.server.test_tls import make_certificate, settings_of
from tests.servers import ServeHere
from tests.support import DEADLINE_S, counting

NODE_DIR = Path(__file__).parent / "node"
STORE = PROJECT_DIR / ".cache/node"
FILES = ("package.json", "package-lock.json", "openai_client.mjs")


@pytest.fixture(scope="module")
def node_program() -> Path:
    """The client with what it needs beside it, kept for the next run."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing; it comes with Node 20 or newer")
    key = hashlib.sha256(b"".join((NODE_DIR / name).read_bytes() for name in FILES)).hexdigest()
    folder = STORE / key[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "finished").exists():
            install(folder)
    return folder / "openai_client.mjs"


def install(folder: Path) -> None:
    for name in FILES:
        shutil.copy(NODE_DIR / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (folder / "finished").touch()


def test_openais_client_for_node(
    node_program: Path,
    serve_here: ServeHere,
    tmp_path: Path,
) -> None:
    certificate = make_certificate(tmp_path, "-nodes")
    server = serve_here(tls=settings_of(certificate))
    sound = tmp_path / "sound.pcm"
    sound.write_bytes(spoken_at_24_khz(range(1, 200)))
    done = subprocess.run(
        ["node", str(node_program), str(sound)],
        check=False,
        env={
            **os.environ,
            "OPENAI_BASE_URL": f"https://127.0.0.1:{server.secure_port}/v1",
            "NODE_EXTRA_CA_CERTS": str(certificate[0]),
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["type"] for event in events[:2]] == ["session.created", "session.updated"]
    assert events[-1]["transcript"] == counting(range(1, 200))
    deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
    assert "".join(deltas) == events[-1]["transcript"]
