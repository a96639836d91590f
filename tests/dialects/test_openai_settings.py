"""What a session.update changes, what it leaves as it was, and what of it is refused."""

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lanscribe.dialects.fields import Fields
from lanscribe.dialects.openai_settings import (
    AudioFormat,
    OpenAiSettings,
    beta_format,
    format_fields,
    turn_fields,
    updated,
)
from lanscribe.errors import ProtocolError
from lanscribe.speech.pcm import MAX_RATE_HZ, MIN_RATE_HZ
from lanscribe.speech.turns import TurnSettings

SEEDS = range(100)
AS_FIRST = OpenAiSettings()
ULAW, ALAW = AudioFormat("pcm_mulaw", 8_000), AudioFormat("pcm_alaw", 8_000)

EMPTY: list[Fields] = [{}, {"audio": None}, {"audio": {}}, {"audio": {"input": {}}}, {"other": 1}]
"""Session objects that name no setting."""


def nested(**audio_input: object) -> dict[str, Any]:
    """A session object of today's form."""
    return {"audio": {"input": audio_input}}


def turns_after(wanted: object, before: TurnSettings | None = None) -> TurnSettings | None:
    """The turn detection after an update asked for this."""
    return updated(replace(AS_FIRST, turns=before), nested(turn_detection=wanted)).turns


def some_settings(random_: random.Random) -> OpenAiSettings:
    rate_hz = random_.randint(MIN_RATE_HZ, MAX_RATE_HZ)
    turns = TurnSettings(
        threshold=random_.randint(0, 10) / 10,
        prefix_padding_s=random_.randint(0, 10_000) / 1000,
        silence_s=random_.randint(1, 200) / 20,
    )
    return OpenAiSettings(
        audio=random_.choice([AudioFormat(), AudioFormat(rate_hz=rate_hz), ULAW, ALAW]),
        turns=random_.choice([None, TurnSettings(), turns]),
        are_turns_said=True,
    )


def test_settings_that_are_told_and_sent_back_are_the_same() -> None:
    for seed in SEEDS:
        settings = some_settings(random.Random(seed))
        told = nested(
            format=format_fields(settings.audio), turn_detection=turn_fields(settings.turns)
        )
        assert updated(AS_FIRST, json.loads(json.dumps(told))) == settings, f"seed {seed}"


def test_fields_that_are_absent_keep_their_value() -> None:
    for seed in SEEDS:
        settings = some_settings(random.Random(seed))
        for session in EMPTY:
            assert updated(settings, session) == settings, f"seed {seed}"
        assert updated(settings, nested(format={"type": "audio/pcmu"})) == replace(
            settings, audio=ULAW
        ), f"seed {seed}"
        assert updated(settings, nested(turn_detection=None)) == replace(settings, turns=None)
        if settings.turns:
            louder = replace(settings.turns, threshold=0.25)
            assert turns_after({"threshold": 0.25}, settings.turns) == louder, f"seed {seed}"


@pytest.mark.parametrize(
    ("value", "audio"),
    [
        (None, AudioFormat("pcm_s16le", 24_000)),
        ({}, AudioFormat("pcm_s16le", 24_000)),
        ({"type": "audio/pcm"}, AudioFormat("pcm_s16le", 24_000)),
        ({"type": "audio/pcm", "rate": None}, AudioFormat("pcm_s16le", 24_000)),
        ({"type": "audio/pcm", "rate": MIN_RATE_HZ}, AudioFormat("pcm_s16le", MIN_RATE_HZ)),
        ({"rate": MAX_RATE_HZ}, AudioFormat("pcm_s16le", MAX_RATE_HZ)),
        ({"type": "audio/pcmu"}, ULAW),
        ({"type": "audio/pcmu", "rate": 24_000}, ULAW),  # G.711 has one rate
        ({"type": "audio/pcma"}, ALAW),
        ("pcm16", AudioFormat("pcm_s16le", 24_000)),
        ("g711_ulaw", ULAW),
        ("g711_alaw", ALAW),
    ],
)
def test_formats_of_today_and_of_the_beta(value: object, audio: AudioFormat) -> None:
    before = OpenAiSettings(audio=AudioFormat(rate_hz=48_000))
    assert updated(before, nested(format=value)).audio == audio
    assert updated(before, {"input_audio_format": value}).audio == audio
    if isinstance(value, str):
        assert beta_format(audio) == value


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("mp3", "got 'mp3' as input_audio_format; expected one of pcm16, g711_ulaw, g711_alaw"),
        (5, "got a number as the format; expected an object"),
        ([], "got an array as the format"),
        (False, "got a boolean as the format"),
        ({"type": "audio/opus"}, "got 'audio/opus' as format.type; expected one of audio/pcm, "),
        ({"type": None}, "got None as format.type"),
        ({"type": []}, r"got \[\] as format.type"),
        ({"rate": MIN_RATE_HZ - 1}, "got 3999 as format.rate; expected 4000 to 192000"),
        ({"rate": MAX_RATE_HZ + 1}, "got 192001 as format.rate"),
        ({"rate": 16e3 + 0.5}, "got 16000.5 as format.rate"),
        ({"rate": True}, "got True as format.rate"),
        ({"rate": "16000"}, "got '16000' as format.rate"),
    ],
)
def test_a_format_that_cannot_be_read_is_refused(value: object, got: str) -> None:
    for session in (nested(format=value), {"input_audio_format": value}):
        with pytest.raises(ProtocolError, match=f"^{got}") as caught:
            updated(AS_FIRST, session)
        assert caught.value.code == "invalid_event"


def test_a_decoder_reads_the_format() -> None:
    loud = np.array([16_384], "<i2").tobytes()
    assert AudioFormat(rate_hz=16_000).decoder().feed(loud).tolist() == [0.5]
    for audio, silence in ((ULAW, b"\xff"), (ALAW, b"\xd5")):
        decoder = audio.decoder()
        second = np.concatenate([decoder.feed(8_000 * silence), decoder.flush()])
        assert len(second) == 16_000
        assert abs(second).max() < 0.001


@pytest.mark.parametrize(
    ("wanted", "turns"),
    [
        ({}, TurnSettings()),
        ({"type": "semantic_vad", "eagerness": "low"}, TurnSettings()),
        ({"threshold": 7}, TurnSettings(threshold=1)),
        ({"threshold": 0}, TurnSettings(threshold=0)),
        ({"threshold": None}, TurnSettings()),
        ({"prefix_padding_ms": 1e9}, TurnSettings(prefix_padding_s=10)),
        ({"prefix_padding_ms": 0}, TurnSettings(prefix_padding_s=0)),
        ({"silence_duration_ms": 1e9}, TurnSettings(silence_s=10)),
    ],
)
def test_turn_settings_are_bounded(wanted: object, turns: TurnSettings) -> None:
    assert turns_after(wanted) == turns


def test_a_silence_is_whole_frames_of_50_ms_and_never_shorter_than_asked_for() -> None:
    for ms in range(0, 10_001, 7):
        turns = turns_after({"silence_duration_ms": ms})
        assert turns is not None
        told_ms = round(1000 * turns.silence_s)
        assert told_ms % 50 == 0, ms
        assert max(ms, 50) <= told_ms < max(ms, 50) + 50, ms


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ("on", "got a string as 'turn_detection'; expected an object"),
        (False, "got a boolean as 'turn_detection'"),
        ({"type": "x"}, "got 'x' as turn_detection.type; expected one of server_vad, semantic_vad"),
        ({"type": None}, "got None as turn_detection.type"),
        ({"threshold": float("nan")}, "got nan as threshold; expected a number of 0 or more"),
        ({"threshold": -0.1}, "got -0.1 as threshold"),
        ({"threshold": True}, "got True as threshold"),
        ({"prefix_padding_ms": "300"}, "got '300' as prefix_padding_ms"),
        ({"silence_duration_ms": []}, r"got \[\] as silence_duration_ms"),
    ],
)
def test_turn_detection_that_cannot_be_read_is_refused(wanted: object, got: str) -> None:
    for session in (nested(turn_detection=wanted), {"turn_detection": wanted}):
        with pytest.raises(ProtocolError, match=f"^{got}") as caught:
            updated(AS_FIRST, session)
        assert caught.value.code == "invalid_event"


def test_turn_detection_in_force_is_told_in_openais_words() -> None:
    assert turn_fields(None) is None
    assert turn_fields(TurnSettings()) == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
    }


@pytest.mark.parametrize(
    ("model", "has_turns"),
    [
        ("gpt-4o-mini-transcribe", True),
        ("gpt-transcribe", True),
        ("whisper-1", True),
        ("openai/Whisper-1", True),
        ("gpt-realtime-whisper", False),
        ("gpt-live-transcribe", False),
        ("served", False),
    ],
)
def test_a_client_that_does_not_mention_turns_has_them_as_openais_model_does(
    model: str, has_turns: bool
) -> None:
    turns = TurnSettings() if has_turns else None
    for session in (
        nested(transcription={"model": model}),
        {"input_audio_transcription": {"model": model}},
    ):
        settings = updated(AS_FIRST, session)
        assert settings == OpenAiSettings(turns=turns)
        for said in (None, {"threshold": 0.25}):
            mentioned = updated(settings, nested(turn_detection=said))
            assert updated(mentioned, session) == mentioned
            assert updated(AS_FIRST, {**session, "turn_detection": said}) == mentioned


@pytest.mark.parametrize("transcription", [None, {}, {"model": None}, {"model": 7}, "whisper-1"])
def test_a_client_that_names_no_model_keeps_its_turns(transcription: object) -> None:
    for turns in (None, TurnSettings()):
        settings = OpenAiSettings(turns=turns)
        assert updated(settings, nested(transcription=transcription)) == settings
        assert updated(settings, {"input_audio_transcription": transcription}) == settings
