"""`serve` with vLLM as its engine, where vLLM is a program that stands in for it."""

import signal
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from tests.projects import write_script
from tests.servers import ServerProcess
from tests.support import DEADLINE_S, get_json
from tests.vllm.real.server import free_port

Environment = dict[str, str]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Settings for a model that is there and a vLLM that is a script."""
    (tmp_path / "params.json").write_text("{}")
    (tmp_path / "tekken.json").write_text('{"audio": {"transcription_delay_ms": 480}}')
    return {
        "LANSCRIBE_VLLM_PROFILE": "rtx3060-12gb",
        "LANSCRIBE_VLLM_MODEL_DIR": str(tmp_path),
        "LANSCRIBE_VLLM_PYTHON": str(tmp_path / "python"),
        "LANSCRIBE_VLLM_PORT": str(free_port()),
        "LANSCRIBE_LOG_FILE": str(tmp_path / "lanscribe.log"),
    }


MakeServer = Callable[..., ServerProcess]


@pytest.fixture
def make_server(tmp_path: Path, environment: Environment) -> Iterator[MakeServer]:
    """A server, not started: make_server(LANSCRIBE_X_Y="1")."""
    servers: list[ServerProcess] = []

    def make(**more: str) -> ServerProcess:
        config = str(PROJECT_DIR / "config/lanscribe.toml")
        arguments = ["--config", config, "--engine", "vllm"]
        variables = {**environment, **more}
        servers.append(
            ServerProcess(tmp_path / "stderr", arguments=arguments, environment=variables)
        )
        return servers[-1]

    yield make
    for server in servers:
        if server.process.poll() is None:
            server.stop()


def write_vllm(folder: Path, body: str) -> None:
    """What stands in for the Python of .venv-vllm."""
    write_script(folder / "python", body)


def standin(environment: Environment) -> str:
    port = environment["LANSCRIBE_VLLM_PORT"]
    return f"cd '{PROJECT_DIR}'; exec '{sys.executable}' -m tests.vllm.standin_program {port}"


def ended(environment: Environment) -> subprocess.CompletedProcess[str]:
    """A server that ends by itself."""
    command = [sys.executable, "-m", "lanscribe", "serve", "--engine", "vllm", "--port", "0"]
    return subprocess.run(
        command,
        cwd=PROJECT_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_it_serves_when_vllm_does(
    make_server: MakeServer, tmp_path: Path, environment: Environment
) -> None:
    write_vllm(tmp_path, standin(environment))
    server = make_server()
    server.start()
    _, health = get_json(f"{server.http_url}/health")
    assert (health["engine"], health["model"], health["capacity"]) == ("vllm", "standin", 4)
    assert (tmp_path / "vllm.log").exists()
    assert server.stop() == 0
    with pytest.raises(urllib.error.URLError):
        get_json(f"http://127.0.0.1:{environment['LANSCRIBE_VLLM_PORT']}/health")


def test_a_hopeless_vllm_ends_it_with_the_remedy(tmp_path: Path, environment: Environment) -> None:
    write_vllm(tmp_path, "echo 'RuntimeError: No CUDA GPUs are available'; exit 1")
    done = ended(environment)
    assert done.returncode == 1
    assert "vLLM will not be started again: vLLM finds no NVIDIA GPU" in done.stderr
    assert "what to do: see nvidia-smi" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "status", "words"),
    [
        ("LANSCRIBE_VLLM_PROFILE", "13gb", 2, "vllm.profile: got '13gb'"),
        ("LANSCRIBE_VLLM_MODEL_DIR", "/no/such", 2, "/no/such is not a folder of the model"),
        (
            "LANSCRIBE_VLLM_PYTHON",
            "/no/such",
            1,
            "bash setup.sh installs vLLM for a card that can run it",
        ),
        ("LANSCRIBE_VLLM_URL", "8001", 2, "LANSCRIBE_VLLM_URL: got '8001'"),
    ],
)
def test_what_is_not_there_is_named(
    tmp_path: Path, environment: Environment, name: str, value: str, status: int, words: str
) -> None:
    write_vllm(tmp_path, "exit 1")
    done = ended({**environment, name: value})
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_stopped_while_it_waits_for_a_vllm_elsewhere(
    environment: Environment, number: signal.Signals
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "lanscribe", "serve", "--engine", "vllm"]
    away = {**environment, "LANSCRIBE_VLLM_URL": f"http://127.0.0.1:{free_port()}"}
    with subprocess.Popen([*command, "--port", str(port)], cwd=PROJECT_DIR, env=away) as process:
        reason = until_loading(process, port, "cannot be reached")
        assert away["LANSCRIBE_VLLM_URL"] in reason
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0


def until_loading(process: subprocess.Popen[bytes], port: int, words: str) -> str:
    """Ask for its health until it gives such a reason; there is no other sign of it."""
    while True:
        assert process.poll() is None
        with suppress(urllib.error.URLError):
            _, health = get_json(f"http://127.0.0.1:{port}/health")
            if words in health.get("reason", ""):
                return str(health["reason"])
