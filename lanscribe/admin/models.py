"""The models on the disk: `serve.sh models`. Standard library only.

    bash serve.sh models                  list the models and their state
    bash serve.sh models check [NAME]     read and verify every file; without NAME, of all models

setup.sh calls `install NAME`, which installs what is missing.
"""

import argparse
import signal
import sys
from pathlib import Path

from lanscribe.engines.embedded import model_store
from lanscribe.engines.embedded.model_store import StoreError
from lanscribe.installation import say
from lanscribe.voxtral import files as voxtral_files
from lanscribe.voxtral.files import FilesError

VOXTRAL = "voxtral"
NAMES = (*model_store.MODELS, VOXTRAL)
_AGAIN = "run again: bash setup.sh"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The action and the model."""
    parser.add_argument("action", nargs="?", default="list", choices=("list", "check", "install"))
    parser.add_argument("name", nargs="?", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--model-dir", type=Path, metavar="DIR", help="with install voxtral: take it from DIR"
    )


def main(options: argparse.Namespace) -> int:
    """Run the action; 1 if a model is not in place, 2 for wrong usage, 130 after Ctrl-C."""
    if options.action == "list":
        sys.stdout.writelines(f"{_row(name)}\n" for name in NAMES)
        return 0
    if options.action == "check":
        return _check([options.name] if options.name else _here())
    if options.name is None:
        say("models", "install takes the name of a model")
        return 2
    if options.name == VOXTRAL:
        return _install_voxtral(options.model_dir)
    return _install(options.name)


def _row(name: str) -> str:
    state = f"not here; {_remedy(name)}"
    if _folder(name).exists():
        state = _fault(name, thorough=False) or f"in place, {_folder(name)}"
    return f"{name:<8}  {state}"


def _remedy(name: str) -> str:
    if name == VOXTRAL:
        return "bash setup.sh, on a machine with an NVIDIA card"
    return f"bash setup.sh --model {name}"


def _folder(name: str) -> Path:
    return voxtral_files.MODEL_DIR if name == VOXTRAL else model_store.model_dir(name)


def _here() -> list[str]:
    return [name for name in NAMES if _folder(name).exists()]


def _fault(name: str, *, thorough: bool) -> str | None:
    """What is wrong with a model, in one line."""
    if name == VOXTRAL:
        return voxtral_files.fault(voxtral_files.MODEL_DIR, thorough=thorough)
    return model_store.problem(name, model_store.MODELS_DIR)


def _check(names: list[str]) -> int:
    if not names:
        say("models", "there is no model here; bash setup.sh")
        return 1
    faults = [_fault(name, thorough=True) for name in names]
    for name, fault in zip(names, faults, strict=True):
        _tell(name, fault)
    return 1 if any(faults) else 0


def _tell(name: str, fault: str | None) -> None:
    if name == VOXTRAL:
        folder = voxtral_files.MODEL_DIR
        say(VOXTRAL, f"{fault}; {_AGAIN}" if fault else f"every file in {folder} is intact")
    else:
        say("model", fault or f"{name} is in place")


def _install(name: str) -> int:
    folder = model_store.MODELS_DIR
    try:
        is_new = model_store.install(name, folder)
    except StoreError as error:
        say("model", str(error))
        return 1
    size_mb = round(model_store.size_bytes(name, folder) / 1e6)
    say("model", f"{name} is in place, {size_mb} MB" + ("" if is_new else "; nothing to do"))
    return 0


def _install_voxtral(copy: Path | None) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        is_new = voxtral_files.adopt(copy) if copy else voxtral_files.install()
    except FilesError as error:
        say(VOXTRAL, str(error))
        return 1
    except KeyboardInterrupt:
        say(VOXTRAL, f"interrupted; to continue where it stopped, {_AGAIN}")
        return 130
    where = f"the model is in {voxtral_files.MODEL_DIR}"
    say(VOXTRAL, where + ("" if is_new else "; nothing to do"))
    return 0
