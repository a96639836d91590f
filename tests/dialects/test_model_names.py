"""Which names mean the model that is served."""

import pytest

from lanscribe.dialects.model_names import check, is_served, refusal
from lanscribe.errors import ProtocolError

SERVED = "moonshine-base-en"
BUILT_IN = [
    "mistralai/Voxtral-Mini-4B-Realtime-2602",
    "Voxtral-Mini-4B-Realtime-2602",
    "mlx-community/Voxtral-Mini-4B-Realtime-6bit",
    "T0mSIlver/Voxtral-Mini-4B-Realtime-2602-MLX-4bit",
    "voxtral-mini-4b-realtime",
    "voxtral-mini-transcribe-realtime-2602",
    "voxtral-mini-latest",
    "voxtral-mini-2507",
    "voxtral-mini-transcribe-2507",
    "whisper-1",
    "openai/whisper-1",
    "gpt-transcribe",
    "gpt-live-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
    "GPT-4o-Transcribe",
    "gpt-realtime",
    "gpt-realtime-whisper",
    "gpt-realtime-2.1-mini",
    "gpt-realtime-2025-08-28",
    "gpt-realtime-mini-2025-12-15",
    "gpt-4o-realtime-preview",
    "gpt-4o-mini-realtime-preview-2024-12-17",
]
"""From the types of openai 3.57, the examples of mistralai and the READMEs of programs for this
protocol."""
OTHERS = [
    "moonshine-tiny-en",
    "whisper",
    "whisper-large-v3",
    "whisper-1x",
    "gpt-4o",
    "gpt-4o-mini-tts",
    "gpt-transcriber",
    "gpt-audio-mini",
    "voxtral",
    "mistral-small",
    "no-such-model",
    "whisper-1/other",
    "/",
    "*",
]


@pytest.mark.parametrize("name", ["", SERVED, "Moonshine-Base-EN", f" {SERVED} ", " "])
def test_its_own_name_and_none_mean_the_model_served(name: str) -> None:
    assert is_served(name, SERVED)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_name_that_is_built_into_clients_means_the_model_served(name: str) -> None:
    assert refusal(name, SERVED, "") is None


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_name_is_refused_with_what_to_send(name: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        check(name, SERVED, "Choose it.")
    assert caught.value.code == "model_not_found"
    said = f"got the model {name!r}; this server has: moonshine-base-en. Choose it."
    assert caught.value.public_message == said


def test_a_long_name_is_not_said_whole() -> None:
    error = refusal(10_000 * "x", SERVED, "")
    assert error is not None
    assert len(error.public_message) < 300


def test_a_refusal_may_end_the_connection() -> None:
    error = refusal("other", SERVED, "", close_code=1008)
    assert error is not None
    assert error.close_code == 1008


def test_without_an_engine_no_name_is_refused() -> None:
    check("other", "", "")
