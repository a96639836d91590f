"""OpenAI's client for Node, which dials only TLS, and Vercel's for Mistral's protocol."""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import samples_to_pcm16
from tests.protocols import environment
from tests.protocols.record import Ran
from tests.protocols.recorder import recording
from tests.protocols.sound import spoken_at_24_khz
from tests.server.test_tls import make_certificate, settings_of
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S, counting

NODE_DIR = Path(__file__).parent / "node"
STORE = PROJECT_DIR / ".cache/node"
FILES = ("package.json", "package-lock.json", "openai_client.mjs", "mistral_client.mjs")
NUMBERS = range(1, 200)


@dataclass(frozen=True)
class Node:
    """Node, and a folder with the clients and what they need beside them."""

    program: Path
    folder: Path

    async def run(self, client: str, sound: Path, **variables: str) -> list[dict[str, Any]]:
        """The lines of JSON that a client prints."""
        process = await asyncio.create_subprocess_exec(
            *(str(self.program), client, str(sound)),
            cwd=self.folder,
            env={**os.environ, **variables},
            stdout=PIPE,
            stderr=PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert process.returncode == 0, err.decode()
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def node(client_python: Path) -> Node:
    """Kept for the next run."""
    program = environment.node_of_clients(client_python)
    with environment.or_skipped():
        return Node(program, installed(program))


def installed(program: Path) -> Path:
    key = hashlib.sha256(b"".join((NODE_DIR / name).read_bytes() for name in FILES)).hexdigest()
    folder = STORE / key[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "finished").exists():
            for name in FILES:
                shutil.copy(NODE_DIR / name, folder)
            environment.install_for_node(program, folder)
            (folder / "finished").touch()
    return folder


def test_openais_client(node: Node, serve_here: ServeHere, tmp_path: Path, ran: Ran) -> None:
    certificate = make_certificate(tmp_path, "-nodes")
    server = serve_here(tls=settings_of(certificate))
    sound = tmp_path / "sound.pcm"
    sound.write_bytes(spoken_at_24_khz(NUMBERS))
    events = asyncio.run(
        node.run(
            "openai_client.mjs",
            sound,
            OPENAI_BASE_URL=f"https://127.0.0.1:{server.secure_port}/v1",
            NODE_EXTRA_CA_CERTS=str(certificate[0]),
        )
    )
    assert [event["type"] for event in events[:2]] == ["session.created", "session.updated"]
    assert events[-1]["transcript"] == counting(NUMBERS)
    deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
    assert "".join(deltas) == events[-1]["transcript"]
    ran("OpenAI realtime", "/v1/realtime", "npm openai", "commits, over TLS")


def test_vercels_client_of_mistrals_protocol(
    node: Node, fake_server: Server, tmp_path: Path, ran: Ran
) -> None:
    path = heard_by_vercels_client(node, fake_server, tmp_path, NUMBERS)
    ran("Mistral realtime", path, "npm @ai-sdk/mistral", "a whole stream, by streamTranscribe")


def test_vercels_client_hears_every_turn(
    node: Node, fake_server: Server, tmp_path: Path, ran: Ran
) -> None:
    """It ends at the first transcription.done."""
    loud, pause = range(2000, 2120), [0] * 15
    tape = [*loud[:40], *pause, *loud[40:90], *pause, *loud[90:]]
    path = heard_by_vercels_client(node, fake_server, tmp_path, tape, TURN_DETECTION="1")
    ran("Mistral realtime", path, "npm @ai-sdk/mistral", "turns of the server, by streamTranscribe")


def heard_by_vercels_client(
    node: Node, server: Server, folder: Path, tape: Iterable[int], **variables: str
) -> str:
    """Check that the client hears every number of a tape; returns the path that it asked for."""
    numbers = list(tape)
    sound = folder / "sound.pcm"
    sound.write_bytes(samples_to_pcm16(spoken(numbers)))

    async def converse() -> tuple[list[dict[str, Any]], str]:
        async with recording(server) as recorder:
            url = f"{recorder.server.http_url}/v1"
            client = "mistral_client.mjs"
            parts = await node.run(client, sound, MISTRAL_BASE_URL=url, **variables)
            recorder.check("mistral")
        (line,) = recorder.lines
        return parts, line.path

    parts, path = asyncio.run(converse())
    by_type = {part["type"]: part for part in parts}
    deltas = [part["delta"] for part in parts if part["type"] == "transcript-delta"]
    assert "".join(deltas) == by_type["finish"]["text"]
    assert by_type["finish"]["text"].split() == counting(numbers).split()
    return path
