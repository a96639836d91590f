"""Puts Voxtral's files in place, and checks that they are complete.

The download has only the four files that vLLM reads; the repository on the model hub also has the
same weights in another format. manifest.json is written last: without it, the model counts as
absent. A copy that is on the machine already is linked, not copied. Everything except the download
needs only the standard library, so that a check is quick.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from lanscribe import PROJECT_DIR, manifest
from lanscribe.installation import say
from lanscribe.manifest import MANIFEST, Content, file_fault, sha256_digest

REPOSITORY = "mistralai/Voxtral-Mini-4B-Realtime-2602"
WEIGHTS = "consolidated.safetensors"
FILES = ("config.json", "params.json", "tekken.json", WEIGHTS)
"""In download order: the small files, which can fail early, come first."""
SPARE_BYTES = 1_000_000_000
"""Left free on the disk, for logs and updates."""
APPROXIMATE_BYTES = 9_200_000_000
_AGAIN = "run again: bash setup.sh"
_OWN_COPY = "bash setup.sh --model-dir DIR uses the copy in the folder DIR"
_LONGEST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format itself."""


def model_dir(project: Path = PROJECT_DIR) -> Path:
    """The folder of the files, whether or not they are there yet."""
    return project / "models" / "voxtral-mini-4b-realtime"


MODEL_DIR = model_dir()


class FilesError(Exception):
    """The files cannot be put in place; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of the folder, and their origin."""

    repository: str
    commit: str
    """The commit of the repository; empty for a linked copy."""
    source: str
    """The folder that the links point to; empty for a download."""
    files: Mapping[str, tuple[int, str]]
    """Name -> size in bytes, digest (sha256:HEX or git:HEX)."""

    @classmethod
    def of(cls, content: Content) -> Self:
        """Read a manifest. Raises KeyError, TypeError, ValueError or AttributeError."""
        files = {
            name: (int(size), str(digest)) for name, (size, digest) in content["files"].items()
        }
        return cls(content["repository"], content["commit"], content["source"], files)

    def write(self, folder: Path) -> None:
        """Write it as the folder's manifest, and remove partial downloads."""
        manifest.write(folder, asdict(self))
        _remove_partials(folder)


def fault(folder: Path = MODEL_DIR, *, thorough: bool = False) -> str | None:
    """What is wrong with the files, in one line; None if they are complete.

    Checks only the sizes; with `thorough`, also reads all files and checks hashes (about 20 s).
    """
    faults = partial(_faults, folder, thorough=thorough)
    return manifest.fault(folder, "the Voxtral model", faults)


def install(folder: Path = MODEL_DIR) -> bool:
    """Download what is missing; False if nothing was missing. Raises FilesError.

    A linked copy stays in use: an unmounted disk does not cause a download.
    """
    if fault(folder) is None:
        return False
    if source := _recorded_source(folder):
        return adopt(source, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
    except OSError as error:
        raise FilesError(f"cannot write to {folder}: {error.strerror}; {_AGAIN}") from error
    _fetch(folder)
    return True


def adopt(source: Path, folder: Path = MODEL_DIR) -> bool:
    """Link the files in `source`; False if they are in use already. Raises FilesError."""
    source = source.resolve()
    if fault(folder) is None:
        in_use = _recorded_source(folder)
        if (in_use or folder).resolve() == source:
            return False
        if in_use is None:
            raise FilesError(
                f"a complete copy is in {folder} already; to use {source}, first: rm -r {folder}"
            )
    if why := copy_fault(source):
        raise FilesError(
            f"the copy in {source} cannot be used: {why}; correct that and run again, "
            f"or download the model: rm -rf {folder} && bash setup.sh"
        )
    say("voxtral", f"reading the files in {source}")
    try:
        files = {
            name: ((source / name).stat().st_size, sha256_digest(source / name)) for name in FILES
        }
        _link(source, folder)
        is_elsewhere = source != folder.resolve()
        Contents(REPOSITORY, "", str(source) if is_elsewhere else "", files).write(folder)
    except OSError as error:
        raise FilesError(f"cannot link {source} into {folder}: {error}; {_AGAIN}") from error
    return True


def copy_fault(folder: Path) -> str | None:
    """Why the files in a folder are incomplete or not Voxtral's; None if no fault is found."""
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        return f"it has no {', '.join(missing)}"
    try:
        return _settings_fault(folder) or _weights_fault(folder / WEIGHTS)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"it cannot be read: {error}"


def _settings_fault(folder: Path) -> str | None:
    """Why the small files differ from those that lanscribe supports; None if they match."""
    try:
        params = json.loads((folder / "params.json").read_text(encoding="utf-8"))
        if why := params_fault(params):
            return f"params.json {why}"
        if "audio" not in json.loads((folder / "tekken.json").read_text(encoding="utf-8")):
            return "tekken.json has no settings for audio"
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return f"it cannot be read: {error}"
    return None


def params_fault(params: Any) -> str | None:
    """Why these are not the dimensions of Voxtral Realtime; None if they are."""
    expected = {"dim": 3072, "n_layers": 26, "n_heads": 32, "vocab_size": 131_072}
    for key, value in expected.items():
        if params.get(key) != value:
            return f"has {key} = {params.get(key)}, not the {value} of {REPOSITORY}"
    if "multimodal" not in params:
        return "describes no audio encoder"
    return None


def _fetch(folder: Path) -> None:
    try:
        from lanscribe.voxtral import hub_download as hub  # noqa: PLC0415  needs huggingface_hub
    except ModuleNotFoundError as error:
        raise FilesError(f"the package {error.name} is not installed; {_AGAIN}") from error
    try:
        listing = hub.list_files(REPOSITORY, FILES)
        _require_space(hub.bytes_to_fetch(listing, folder), folder)
        for file in listing.files:
            if file.name == WEIGHTS and (why := _settings_fault(folder)):
                raise FilesError(
                    f"{REPOSITORY} has changed, in its commit {listing.commit}: {why}; "
                    f"update lanscribe, then {_AGAIN}, or: {_OWN_COPY}"
                )
            hub.fetch(listing, file, folder, partial(say, "voxtral"))
    except hub.HubError as error:
        raise FilesError(
            f"{error}; then {_AGAIN} (the download continues), or: {_OWN_COPY}"
        ) from error
    files = {file.name: (file.size_bytes, file.digest) for file in listing.files}
    Contents(listing.repository, listing.commit, "", files).write(folder)


def _require_space(to_fetch_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if to_fetch_bytes and free_bytes < to_fetch_bytes + SPARE_BYTES:
        raise FilesError(
            f"not enough space for the model: {free_bytes / 1e9:.1f} GB are free in {folder}, "
            f"{(to_fetch_bytes + SPARE_BYTES) / 1e9:.1f} GB are needed; free some, then {_AGAIN}, "
            f"or: {_OWN_COPY}"
        )


def _recorded_source(folder: Path) -> Path | None:
    """The folder that the links point to, even if the installation is incomplete."""
    try:
        source = Contents.of(manifest.read(folder)).source
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Path(source) if source else None


def _link(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    _remove_partials(folder)
    if source == folder.resolve():
        return
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(source / name)


def _remove_partials(folder: Path) -> None:
    for path in folder.glob(".*.partial"):
        path.unlink()


def _faults(folder: Path, content: Content, *, thorough: bool) -> Iterator[str]:
    files = Contents.of(content).files
    if set(files) != set(FILES):
        yield f"{folder / MANIFEST} is from another version"
    for name, (size_bytes, digest) in files.items():
        if why := file_fault(folder / name, digest if thorough else None, size_bytes):
            yield why


def _weights_fault(path: Path) -> str | None:
    """Why the file's size does not match the tensor table in its header; None if it does."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 0 < header_bytes < _LONGEST_HEADER_BYTES:
            return f"{path.name} is not in the safetensors format"
        header = json.loads(file.read(header_bytes))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    expected_bytes = 8 + header_bytes + max(ends, default=0)
    actual_bytes = path.stat().st_size
    if actual_bytes != expected_bytes:
        return f"{path.name} has {actual_bytes} bytes, not {expected_bytes}: it is incomplete"
    return None
