"""An environment with real vLLM, tiny checkpoints, and servers that serve them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from tests.vllm.real.forker import Forker
from tests.vllm.real.server import INT4_FLAGS, VllmServer

SEED = 0
RunModule = Callable[..., str]
Serve = Callable[..., AbstractContextManager[VllmServer]]


@pytest.fixture(scope="session")
def vllm_environment() -> Path:
    """The Python of an environment with vLLM; made first where it is not there yet."""
    script = PROJECT_DIR / "tests/vllm/real/environment.sh"
    command = ["bash", str(script), "--python", sys.executable]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(made.stdout.strip())


@pytest.fixture(scope="session")
def forker(vllm_environment: Path) -> Iterator[Forker]:
    """Starts what runs in that environment."""
    with Forker(vllm_environment) as one:
        yield one


@pytest.fixture(scope="session")
def run_module(forker: Forker) -> RunModule:
    """Run a module in that environment; its stdout: run_module("tests.vllm.real.weights", "-h")."""
    return forker.run


@pytest.fixture(scope="session")
def tiny_checkpoint(run_module: RunModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Voxtral Realtime's structure, 3 million random numbers in bf16."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    run_module("tests.vllm.real.checkpoint", "--out", str(folder), "--seed", str(SEED))
    return folder


@pytest.fixture(scope="session")
def dequantized_checkpoint(run_module: RunModule, tiny_checkpoint: Path) -> Path:
    """The same, each weight replaced by what its 4-bit form stands for."""
    folder = tiny_checkpoint.with_name("dequantized")
    out = ("--out", str(folder), "--seed", str(SEED), "--dequantized")
    run_module("tests.vllm.real.checkpoint", *out)
    return folder


@pytest.fixture(scope="session")
def serve(forker: Forker, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Serve a checkpoint for a while: `with serve(checkpoint, flags, NAME="value") as server:`."""

    def serving(
        checkpoint: Path, flags: list[str], **environment: str
    ) -> AbstractContextManager[VllmServer]:
        log_path = tmp_path_factory.mktemp("vllm") / "vllm.log"
        return VllmServer(forker, checkpoint, flags, log_path, environment).running()

    return serving


@pytest.fixture(scope="session")
def int4_server(serve: Serve, tiny_checkpoint: Path) -> Iterator[VllmServer]:
    """vLLM with the tiny checkpoint in 4 bits, by lanscribe's loader; do not stop it."""
    with serve(tiny_checkpoint, INT4_FLAGS) as server:
        yield server
