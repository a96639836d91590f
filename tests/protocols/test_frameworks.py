"""LiveKit's and Pipecat's own clients, each with a whole session of speech."""

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.engines.embedded.model_store import sample_path
from tests.protocols.record import Ran
from tests.protocols.recorder import Recorder, recording
from tests.protocols.test_openai import SAID, check_words
from tests.servers import Server
from tests.support import DEADLINE_S

CLIENTS = {
    ("livekit", "openai"): "livekit-plugins-openai",
    ("livekit", "mistral"): "livekit-plugins-mistralai",
    ("pipecat", "openai"): "pipecat-ai",
    ("pipecat", "mistral"): "pipecat-ai",
}
PROTOCOLS = {"openai": "OpenAI realtime", "mistral": "Mistral realtime"}
DID = {"server": "turns of the server", "own": "turns of its own detector"}


@pytest.mark.parametrize("kind", ["openai-server", "openai-own", "mistral-own"])
@pytest.mark.parametrize("framework", ["livekit", "pipecat"])
def test_a_session_of_speech(
    client_python: Path, embedded_server: Server, framework: str, kind: str, ran: Ran
) -> None:
    async def converse() -> tuple[list[str], Recorder]:
        async with recording(embedded_server) as recorder:
            turns = await say(client_python, recorder.server, framework, kind)
        return turns, recorder

    turns, recorder = asyncio.run(converse())
    dialect, _, detector = kind.partition("-")
    recorder.check(dialect)
    assert len(turns) > 1
    check_words(" ".join(turns))
    (path,) = {line.path for line in recorder.lines}
    ran(PROTOCOLS[dialect], path, CLIENTS[framework, dialect], DID[detector])


async def say(python: Path, server: Server, framework: str, kind: str) -> list[str]:
    """The texts of the turns of a program in tests/protocols/frameworks."""
    program = f"tests.protocols.frameworks.{framework}_client"
    wanted_words = len(SAID.split()) - 1  # one may be lost; see check_words
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-m", program, kind, f"{server.host}:{server.port}"),
        *(str(sample_path()), str(wanted_words)),
        cwd=PROJECT_DIR,
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()]
