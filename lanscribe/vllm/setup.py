"""Sets up vLLM if an NVIDIA card can run it: `python -m lanscribe vllm-setup`.

setup.sh runs it in .venv. It judges the card before it downloads anything. Then it makes
.venv-vllm with the packages of requirements/vllm.txt, adds lanscribe's plugin, and downloads the
model; complete parts stay as they are. Messages for people go to stderr; setup.sh gets one word on
stdout:

    none        no NVIDIA card with a driver was found
    unusable    a card was found, but it cannot run Voxtral
    ready       everything was in place already
    changed     everything is in place now

Exit status 0, or 1 if a necessary step failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from pathlib import Path

from lanscribe import PROJECT_DIR
from lanscribe.installation import VLLM_LOCK, Outcome, say, signal_words, venv_dir
from lanscribe.voxtral import files as voxtral_files
from lanscribe.voxtral import gpu

VENV = venv_dir(lock=VLLM_LOCK)
PLUGINS = "vllm.general_plugins"
"""The entry-point group in which vLLM looks for plugins."""
PROOF = """
import sys, torch, vllm
sys.exit(None if torch.cuda.is_available() else "torch finds no card that it can use")
"""


class SetupFailed(Exception):
    """A step failed; the message is one line for the user."""


def set_up(model_dir: Path | None = None) -> str:
    """Do what is missing; return one of the words above. Raises SetupFailed."""
    host = gpu.read_host(model_is_here=model_dir is not None)
    verdict = gpu.verdict_on(gpu.read_cards(), host)
    if verdict is None or not verdict.profile:
        if model_dir is not None:
            say("setup", "no NVIDIA card can run Voxtral here, so --model-dir is not used")
        return "unusable" if verdict else "none"
    if model_dir is not None and (why := voxtral_files.copy_fault(model_dir)):
        raise SetupFailed(f"the model in {model_dir} cannot be used: {why}")
    if fault := packages_fault():
        say("setup", verdict.result)
        make_environment(fault)
    has_changed = [bool(fault), ensure_plugin(), ensure_model(model_dir)]
    say("setup", "vLLM and Voxtral, for the NVIDIA card, are in place")
    return "changed" if any(has_changed) else "ready"


def packages_fault() -> str:
    """What is wrong with .venv-vllm, in one line; empty if it is complete."""
    if not VENV.exists():
        return "it does not exist yet"
    done = _run(["-P", "-m", "lanscribe", "installation", "verify", VLLM_LOCK], capture=True)
    if done is None:
        return "its Python does not run"
    if done.returncode < 0:
        return f"its Python fails: {signal_words(-done.returncode)}"
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return (lines or ["its Python fails"])[-1] if done.returncode else ""


def make_environment(fault: str) -> None:
    """Make .venv-vllm; an existing one is replaced. Raises SetupFailed."""
    say("setup", f"making .venv-vllm: {fault}")
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(VENV)], stdout=sys.stderr, check=False
    ).returncode
    if made != 0:
        raise SetupFailed("python -m venv failed; see its message above")
    say("setup", "installing requirements/vllm.txt (several GB, unless pip has them already)")
    lock = str(PROJECT_DIR / "requirements" / f"{VLLM_LOCK}.txt")
    _pip(["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", lock])
    _prove()
    _run(["-P", "-m", "lanscribe", "installation", "write", VLLM_LOCK])
    if fault := packages_fault():
        raise SetupFailed(f".venv-vllm is still incomplete: {fault}")


def ensure_plugin() -> bool:
    """Register lanscribe's plugin with vLLM; whether that was necessary.

    Raises SetupFailed.
    """
    if _announced_plugins() == _own_plugins():
        return False
    say("setup", "registering lanscribe's plugin with vLLM")
    _pip(["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(PROJECT_DIR)])
    if _announced_plugins() != _own_plugins():
        raise SetupFailed("pip installed lanscribe into .venv-vllm, but without its plugin")
    return True


def ensure_model(model_dir: Path | None = None) -> bool:
    """Put Voxtral's files in place; whether that was necessary. Raises SetupFailed."""
    if model_dir is not None:
        try:
            return voxtral_files.adopt(model_dir)
        except voxtral_files.FilesError as error:
            raise SetupFailed(str(error)) from error
    if voxtral_files.fault() is None:
        return False
    done = _run(["-P", "-m", "lanscribe", "models", "install", "voxtral"])
    if done is None or done.returncode != 0:
        raise SetupFailed("the model is not in place; see the line above")
    return True


def _prove() -> None:
    say("setup", "loading vLLM once, to check that it works here (half a minute)")
    done = _run(["-P", "-c", PROOF], capture=True)
    if done is None or done.returncode != 0:
        why = "its Python cannot be started"
        if done is not None:
            outcome = Outcome(done.returncode, done.stdout, done.stderr)
            why = outcome.last_words or f"it ends with status {done.returncode}"
        raise SetupFailed(f"vLLM does not work on this machine: {why}")


def _own_plugins() -> dict[str, str]:
    """The plugins that pyproject.toml declares for vLLM: name -> module:function."""
    text = (PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8")
    points = tomllib.loads(text)["project"].get("entry-points", {})
    return dict(points.get(PLUGINS, {}))


def _announced_plugins() -> dict[str, str]:
    """The same, as installed in .venv-vllm; empty if nothing is installed."""
    pattern = "lib/python3*/site-packages/lanscribe-*.dist-info/entry_points.txt"
    parser = ConfigParser()
    try:
        parser.read([str(path) for path in VENV.glob(pattern)], encoding="utf-8")
        return dict(parser[PLUGINS])
    except (ValueError, KeyError, ConfigParserError):
        return {}


def _pip(arguments: Sequence[str]) -> None:
    loudness = ["--progress-bar", "on"] if sys.stderr.isatty() else ["--quiet"]
    command = ["-P", "-m", "pip", "install", *loudness, "--disable-pip-version-check"]
    # pip unpacks into TMPDIR, and /tmp is often memory and smaller than vLLM
    temporary = PROJECT_DIR / ".cache" / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        done = _run([*command, "--no-input", *arguments], TMPDIR=str(temporary))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if done is None or done.returncode != 0:
        raise SetupFailed(
            "pip failed; see its message above. Usual causes: no network, or no space"
        )


def _run(
    arguments: Sequence[str], *, capture: bool = False, **environment: str
) -> subprocess.CompletedProcess[str] | None:
    """Run .venv-vllm's Python, output to stderr; None if it cannot be started."""
    python = VENV / "bin/python"
    try:
        return subprocess.run(
            [str(python), *arguments],
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR), "PIP_USER": "0", **environment},
            stdout=subprocess.PIPE if capture else sys.stderr,
            stderr=subprocess.PIPE if capture else None,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError:
        return None


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the model's folder."""
    parser.add_argument("--model-dir", type=Path, metavar="DIR", help="the model is in DIR already")


def main(options: argparse.Namespace) -> int:
    """Set up; print the word on stdout."""
    try:
        state = set_up(options.model_dir)
    except SetupFailed as error:
        say("setup", str(error))
        return 1
    sys.stdout.write(f"{state}\n")
    return 0
