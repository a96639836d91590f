import json
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.config import Settings, VllmSettings
from lanscribe.errors import ConfigError, EngineUnavailable
from lanscribe.vllm import command as vllm_command
from lanscribe.vllm.command import environment, max_num_seqs, max_num_seqs_in

PROFILE = "rtx3060-12gb"


@pytest.fixture
def vllm(tmp_path: Path) -> VllmSettings:
    """Settings for a model and a Python that are there."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/params.json").write_text("{}")
    tekken = {"audio": {"transcription_delay_ms": 480}}
    (tmp_path / "model/tekken.json").write_text(json.dumps(tekken))
    (tmp_path / "python").touch()
    return VllmSettings(
        profile=PROFILE, model_dir=str(tmp_path / "model"), python=str(tmp_path / "python")
    )


def changed(vllm: VllmSettings, **values: object) -> VllmSettings:
    return vllm.model_copy(update=values)


def test_the_key_is_in_the_environment_alone_and_new_each_time(vllm: VllmSettings) -> None:
    settings = Settings(vllm=vllm)
    first, second = (vllm_command.launch(settings, {}) for _ in range(2))
    key = first.environment["VLLM_API_KEY"]
    assert len(key) == 64
    assert key != second.environment["VLLM_API_KEY"]
    assert key == first.watch.api_key
    assert not any(key in part for part in first.command)


def test_vllm_listens_on_this_machine_only(vllm: VllmSettings) -> None:
    launch = vllm_command.launch(Settings(vllm=changed(vllm, port=8123)), {})
    assert " ".join(launch.command).endswith("--host 127.0.0.1 --port 8123")
    assert launch.watch.url == "http://127.0.0.1:8123"


def test_the_environment_is_passed_on_without_what_is_lanscribes(vllm: VllmSettings) -> None:
    environ = {
        "LANSCRIBE_VLLM_PORT": "1",
        "PYTHONPATH": "/x",
        "CUDA_VISIBLE_DEVICES": "1",
        "HF_HUB_OFFLINE": "0",
    }
    passed = vllm_command.launch(Settings(vllm=vllm), environ).environment
    assert set(environ) & set(passed) == {"CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE"}
    assert passed["HF_HUB_OFFLINE"] == "0"
    assert passed["VLLM_NO_USAGE_STATS"] == "1"


def test_on_wsl_vllm_is_told_to_share_memory_with_the_card() -> None:
    name = "VLLM_WSL2_ENABLE_PIN_MEMORY"
    assert name not in environment({})
    assert environment({}, is_wsl=True)[name] == "1"
    assert environment({name: "0"}, is_wsl=True)[name] == "0"


def test_another_delay_is_another_folder(vllm: VllmSettings) -> None:
    command, _ = vllm_command.start(changed(vllm, delay_ms=960), [], {})
    assert command[command.index("--model") + 1].endswith("model-delay-960")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"profile": "13gb"}, "vllm.profile: got '13gb'; expected auto, 16gb, 24gb"),
        ({"profile": "./none.yaml"}, "vllm.profile"),
        ({"delay_ms": 1280}, "a delay of 1280 ms"),
        ({"model_dir": "/no/such"}, "/no/such is not a folder of the model"),
        ({"arguments": "--x 'y"}, "vllm.arguments: got"),
    ],
)
def test_a_wrong_setting_is_named(
    vllm: VllmSettings, values: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        vllm_command.launch(Settings(vllm=changed(vllm, **values)), {})
    assert words in caught.value.public_message


def test_a_vllm_elsewhere_is_always_at_hand(vllm: VllmSettings) -> None:
    assert vllm_command.is_at_hand(changed(vllm, url="http://box:8001"))


def test_without_vllm_setup_is_named(vllm: VllmSettings) -> None:
    with pytest.raises(EngineUnavailable, match=r"bash setup\.sh"):
        vllm_command.start(changed(vllm, python="/no/such/python"), [], {})


def test_a_profile_may_be_a_file_of_ones_own(vllm: VllmSettings, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("max-num-seqs: 7  # as many as there are of us\n")
    command, _ = vllm_command.start(changed(vllm, profile=str(own)), [], {})
    assert command[command.index("--config") + 1] == str(own)
    assert max_num_seqs(command) == 7


@pytest.mark.parametrize(
    ("profile", "arguments", "expected"),
    [
        ("max-num-seqs: 4", "", 4),
        ("max_num_seqs: 4", "--max-num-seqs=2", 2),
        ("max-num-seqs: 4", "--max-num-seqs 6 --port 1", 6),
        ("# max-num-seqs: 4\nx: 1", "", 0),
        ("other-max-num-seqs: 4", "", 0),
    ],
)
def test_the_last_word_on_sessions_counts(profile: str, arguments: str, expected: int) -> None:
    assert max_num_seqs_in(profile, arguments) == expected


def test_every_profile_says_how_many_sessions_it_takes() -> None:
    for path in (PROJECT_DIR / "config/vllm").glob("*.yaml"):
        assert max_num_seqs_in(path.read_text(encoding="utf-8"), "") >= 1, path


@pytest.mark.parametrize("given", [{}, {"VLLM_USE_RUST_FRONTEND": "1"}])
def test_vllms_frontend_in_rust_is_never_used(given: dict[str, str]) -> None:
    """It has no /v1/realtime."""
    assert environment(given)["VLLM_USE_RUST_FRONTEND"] == "0"
