"""A model folder with another transcription delay: `serve.sh delay`.

The delay is one number in tekken.json. vLLM reads it at start and uses it for all sessions.
The original folder does not change: the new folder has its own tekken.json, and links to the rest.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from lanscribe.installation import say
from lanscribe.voxtral.steps import STEP_MS

DEFAULT_DELAY_MS = 480
DELAYS_MS = (*range(STEP_MS, 1201, STEP_MS), 2400)
"""The delays that the model was trained for, according to its model card."""
TEKKEN = "tekken.json"
NEEDED_FILES = (TEKKEN, "params.json")


class DelayError(Exception):
    """The folder could not be made; the message is one line for the user."""


def folder_for(model_dir: Path, delay_ms: int) -> Path:
    """The folder to serve from: the model's own, or a copy of it for this delay.

    A second call changes nothing unless the original has changed. Raises DelayError.
    """
    if delay_ms not in DELAYS_MS:
        raise DelayError(f"a delay of {delay_ms} ms is not among {_allowed()}")
    source = model_dir.resolve()
    tekken = _read_tekken(source)
    if tekken["audio"]["transcription_delay_ms"] == delay_ms:
        return model_dir
    folder = source.with_name(f"{source.name}-delay-{delay_ms}")
    tekken["audio"]["transcription_delay_ms"] = delay_ms
    try:
        folder.mkdir(exist_ok=True)
        _link_all(source, folder)
        _write(folder / TEKKEN, json.dumps(tekken, ensure_ascii=False))
    except OSError as error:
        raise DelayError(f"{folder}: cannot be made: {error.strerror or error}") from error
    return folder


def _allowed() -> str:
    return f"the multiples of {STEP_MS} from {DELAYS_MS[0]} to {DELAYS_MS[-2]}, and {DELAYS_MS[-1]}"


def _read_tekken(folder: Path) -> dict[str, Any]:
    for name in NEEDED_FILES:
        if not (folder / name).is_file():
            raise DelayError(f"{folder} is not a folder of the model: it has no {name}")
    try:
        tekken = json.loads((folder / TEKKEN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DelayError(f"{folder / TEKKEN} cannot be read: {error}") from error
    audio = tekken.get("audio") if isinstance(tekken, dict) else None
    if not isinstance(audio, dict) or "transcription_delay_ms" not in audio:
        raise DelayError(f"{folder / TEKKEN} has no audio.transcription_delay_ms")
    return dict(tekken)


def _link_all(source: Path, folder: Path) -> None:
    """Link all files of `source` except tekken.json into `folder`; remove stale links."""
    names = {path.name for path in source.iterdir() if path.is_file()} - {TEKKEN}
    for path in folder.iterdir():
        if path.is_symlink() and path.name not in names:
            path.unlink()
    for name in names:
        # relative, so that the folders can be moved together
        target, link = Path(os.pardir, source.name, name), folder / name
        if link.is_symlink() and link.readlink() == target:
            continue
        if link.exists() and not link.is_symlink():
            raise DelayError(f"{link} is in the way: remove the folder {folder}")
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def _write(path: Path, text: str) -> None:
    """Write the file atomically; do nothing if it has this text already."""
    if path.is_file() and not path.is_symlink() and path.read_text(encoding="utf-8") == text:
        return
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for the folder and the delay."""
    parser.add_argument("--model-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--ms", type=int, required=True, metavar="N", help=_allowed())


def main(options: argparse.Namespace) -> int:
    """Print the folder to serve from; return 1 if it cannot be made."""
    try:
        folder = folder_for(options.model_dir, options.ms)
    except DelayError as error:
        say("lanscribe", str(error))
        return 1
    sys.stdout.write(f"{folder}\n")
    return 0
