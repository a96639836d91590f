"""Versions that the loader was not proved with."""

import os
import subprocess
from pathlib import Path

import pytest

from lanscribe.vllm.plugin.versions import version_fault
from tests.vllm.real.conftest import RunModule
from tests.vllm.real.forker import ENVIRONMENT
from tests.vllm.real.server import INT4_FLAGS, arguments, free_port

FUTURE = """
import runpy, sys, vllm
vllm.__version__ = "0.99.0"
sys.argv[0] = "vllm"
runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
"""


@pytest.mark.parametrize("vllm", ["0.32.0", "0.33.0", "0.33.1.dev2+cpu"])
def test_supported(vllm: str) -> None:
    assert version_fault(vllm, "0.0.3") == ""


@pytest.mark.parametrize(
    ("vllm", "plugin"),
    [("0.34.0", "0.0.3"), ("0.3.3", "0.0.3"), ("0.33.0", "0.0.4"), ("0.33.0", "")],
)
def test_others_are_named_beside_the_supported_ones(vllm: str, plugin: str) -> None:
    fault = version_fault(vllm, plugin)
    assert f"vLLM {vllm} and vllm-bnb-plugin {plugin or '(none)'}" in fault
    assert "vLLM 0.32.x or 0.33.x and vllm-bnb-plugin 0.0.3" in fault


def test_an_unknown_vllm_ends_with_one_sentence(
    vllm_environment: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    flags = arguments(tiny_checkpoint, free_port(), INT4_FLAGS)
    ended = subprocess.run(
        [str(vllm_environment), "-c", FUTURE, *flags],
        cwd=tmp_path,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("lanscribe: cannot load Voxtral Realtime")
    assert "needed are vLLM 0.32.x or 0.33.x" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_other_models_are_loaded_as_without_lanscribe(run_module: RunModule) -> None:
    assert run_module("tests.vllm.real.untouched").splitlines()[-1] == "the same"
