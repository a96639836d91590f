"""Model folders with another delay."""

import json
from pathlib import Path

import pytest

from lanscribe.admin.commands import dispatch
from lanscribe.voxtral.delay import DELAYS_MS, DelayError, folder_for

WEIGHTS = b"weights"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "voxtral"
    folder.mkdir()
    (folder / "consolidated.safetensors").write_bytes(WEIGHTS)
    (folder / "params.json").write_text("{}")
    write_tekken(folder, {"transcription_delay_ms": 480, "frame_rate": 12.5})
    return folder


def write_tekken(folder: Path, audio: object) -> None:
    tekken = {"audio": audio, "vocab": [{"token_str": "é"}]}
    (folder / "tekken.json").write_text(json.dumps(tekken, ensure_ascii=False), encoding="utf-8")


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in folder.iterdir()}


def read_delay(folder: Path) -> int:
    text = (folder / "tekken.json").read_text(encoding="utf-8")
    delay: int = json.loads(text)["audio"]["transcription_delay_ms"]
    return delay


def test_a_folder_is_made_that_differs_in_the_delay_alone(model: Path) -> None:
    before = state(model)
    folder = folder_for(model, 960)
    assert folder == model.with_name("voxtral-delay-960")
    assert read_delay(folder) == 960
    assert read_delay(model) == 480
    assert (folder / "consolidated.safetensors").read_bytes() == WEIGHTS
    assert (folder / "consolidated.safetensors").is_symlink()
    assert {path.name for path in folder.iterdir()} == set(before)
    ours, original = (json.loads((one / "tekken.json").read_text()) for one in (folder, model))
    ours["audio"]["transcription_delay_ms"] = 480
    assert ours == original
    assert state(model) == before


def test_a_second_call_changes_nothing(model: Path) -> None:
    before = state(folder_for(model, 2400))
    assert state(folder_for(model, 2400)) == before


def test_the_model_itself_serves_its_own_delay(model: Path) -> None:
    assert folder_for(model, 480) == model
    assert [path.name for path in model.parent.iterdir()] == ["voxtral"]


def test_a_changed_model_is_followed(model: Path) -> None:
    folder_for(model, 960)
    (model / "params.json").unlink()
    (model / "params.json").write_text('{"new": 1}')
    (model / "config.json").write_text("{}")
    write_tekken(model, {"transcription_delay_ms": 480, "frame_rate": 25})
    folder = folder_for(model, 960)
    assert (folder / "params.json").read_text() == '{"new": 1}'
    assert (folder / "config.json").exists()
    assert json.loads((folder / "tekken.json").read_text())["audio"]["frame_rate"] == 25
    (model / "config.json").unlink()
    assert not (folder_for(model, 960) / "config.json").is_symlink()


def test_a_cut_short_folder_is_completed(model: Path) -> None:
    folder = folder_for(model, 960)
    (folder / "tekken.json").unlink()
    (folder / "tekken.json.part").write_text("{")
    (folder / "params.json").unlink()
    (folder / "params.json").symlink_to("nowhere")
    assert read_delay(folder_for(model, 960)) == 960
    assert (folder / "params.json").read_text() == "{}"


def test_both_folders_may_be_moved(model: Path, tmp_path: Path) -> None:
    folder = folder_for(model, 80)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    model.rename(elsewhere / model.name)
    moved = folder.rename(elsewhere / folder.name)
    assert (moved / "consolidated.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("delay_ms", [0, 79, 100, 1280, 2320, -80])
def test_a_delay_that_the_model_does_not_know_is_refused(model: Path, delay_ms: int) -> None:
    with pytest.raises(DelayError, match=r"multiples of 80 from 80 to 1200, and 2400"):
        folder_for(model, delay_ms)


def test_all_delays_of_the_model_card_are_known() -> None:
    assert len(DELAYS_MS) == 16
    assert {80, 160, 480, 1200, 2400} <= set(DELAYS_MS)


@pytest.mark.parametrize("audio", [None, {}, "x", [480]])
def test_a_file_without_a_delay_is_named(model: Path, audio: object) -> None:
    write_tekken(model, audio)
    with pytest.raises(DelayError, match=r"tekken\.json has no audio\.transcription_delay_ms"):
        folder_for(model, 960)


def test_a_file_that_holds_no_object_is_named(model: Path) -> None:
    (model / "tekken.json").write_text("[]")
    with pytest.raises(DelayError, match=r"tekken\.json has no audio\.transcription_delay_ms"):
        folder_for(model, 960)


@pytest.mark.parametrize("text", ["{", "\ud800"])
def test_a_broken_file_is_named(model: Path, text: str) -> None:
    (model / "tekken.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DelayError, match=r"tekken\.json cannot be read"):
        folder_for(model, 960)


@pytest.mark.parametrize("name", ["tekken.json", "params.json"])
def test_a_folder_that_is_no_model_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(DelayError, match=f"it has no {name}"):
        folder_for(model, 960)


def test_a_file_in_the_way_is_not_overwritten(model: Path) -> None:
    folder = folder_for(model, 960)
    (folder / "params.json").unlink()
    (folder / "params.json").write_text("mine")
    with pytest.raises(DelayError, match="is in the way"):
        folder_for(model, 960)
    assert (folder / "params.json").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(model: Path) -> None:
    model.with_name("voxtral-delay-960").write_text("")
    with pytest.raises(DelayError, match="voxtral-delay-960: cannot be made: File exists"):
        folder_for(model, 960)


def test_the_command_prints_the_folder(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["delay", "--model-dir", str(model), "--ms", "960"]) == 0
    assert capsys.readouterr().out == f"{model}-delay-960\n"


def test_the_command_fails_in_one_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["delay", "--model-dir", str(model), "--ms", "7"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("lanscribe: a delay of 7 ms is not among")
    assert captured.err.count("\n") == 1
