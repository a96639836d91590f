"""What a client of OpenAI's realtime protocol may set, and which values have an effect here.

Fields come nested, as today (`audio.input.format`), or flat, as in the beta
(`input_audio_format`). An absent field keeps its value; the answer to an unsupported value is
the value in force.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lanscribe.dialects.fields import Fields, any_number, inner, kind, whole_number
from lanscribe.dialects.model_names import bare
from lanscribe.errors import ProtocolError
from lanscribe.speech.pcm import MAX_RATE_HZ, MIN_RATE_HZ, PcmDecoder
from lanscribe.speech.turns import TurnSettings

_T = TypeVar("_T")

DEFAULT_RATE_HZ = 24_000
_G711_RATE_HZ = 8_000
_FRAME_MS = 50
_MAX_MS = 10_000
_TURN_TYPES = ("server_vad", "semantic_vad")
_TURN_MODELS = ("whisper-1", "gpt-4o-", "gpt-transcribe")
"""The prefixes of OpenAI's models for which its server detects turns by default. Pipecat, among
others, relies on that default; clients that commit by themselves send null."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How the audio of a client is encoded."""

    encoding: str = "pcm_s16le"
    rate_hz: int = DEFAULT_RATE_HZ

    def decoder(self) -> PcmDecoder:
        """A new decoder for it."""
        return PcmDecoder(self.encoding, self.rate_hz)


@dataclass(frozen=True, slots=True)
class OpenAiSettings:
    """The settings of a session that have an effect here.

    turns: None for manual commits. are_turns_said: whether the client has set turn detection.
    """

    audio: AudioFormat = AudioFormat()
    turns: TurnSettings | None = None
    are_turns_said: bool = False


_TYPES: Mapping[str, str] = {
    "audio/pcm": "pcm_s16le",
    "audio/pcmu": "pcm_mulaw",
    "audio/pcma": "pcm_alaw",
}
_BETA_FORMATS: Mapping[str, AudioFormat] = {
    "pcm16": AudioFormat(),
    "g711_ulaw": AudioFormat("pcm_mulaw", _G711_RATE_HZ),
    "g711_alaw": AudioFormat("pcm_alaw", _G711_RATE_HZ),
}


def updated(settings: OpenAiSettings, session: Fields) -> OpenAiSettings:
    """The settings after an update with this session object. Raises ProtocolError."""
    audio_input = inner(inner(session, "audio"), "input")
    if "input_audio_format" in session:
        settings = replace(settings, audio=_audio_format(session["input_audio_format"]))
    if "format" in audio_input:
        settings = replace(settings, audio=_audio_format(audio_input["format"]))
    for fields in (session, audio_input):
        if "turn_detection" in fields:
            wanted = None if fields["turn_detection"] is None else inner(fields, "turn_detection")
            settings = replace(settings, turns=_turns(settings.turns, wanted), are_turns_said=True)
    model = _model(audio_input.get("transcription") or session.get("input_audio_transcription"))
    if model and not settings.are_turns_said:
        turns = TurnSettings() if bare(model).startswith(_TURN_MODELS) else None
        settings = replace(settings, turns=turns)
    return settings


def _model(transcription: object) -> str:
    """The model that a client names; "" if it names none."""
    model = transcription.get("model") if isinstance(transcription, dict) else None
    return model if isinstance(model, str) else ""


def format_fields(audio: AudioFormat) -> dict[str, Any]:
    """The format as OpenAI writes it."""
    (name,) = (name for name, encoding in _TYPES.items() if encoding == audio.encoding)
    return {"type": name} | ({"rate": audio.rate_hz} if name == "audio/pcm" else {})


def beta_format(audio: AudioFormat) -> str:
    """The format as the beta wrote it; the beta knew one rate for each."""
    names = {known.encoding: name for name, known in _BETA_FORMATS.items()}
    return names[audio.encoding]


def turn_fields(turns: TurnSettings | None) -> dict[str, Any] | None:
    """The turn detection in force, as OpenAI writes it."""
    if turns is None:
        return None
    return {
        "type": _TURN_TYPES[0],
        "threshold": turns.threshold,
        "prefix_padding_ms": round(1000 * turns.prefix_padding_s),
        "silence_duration_ms": round(1000 * turns.silence_s),
        "idle_timeout_ms": None,
    }


def _audio_format(value: object) -> AudioFormat:
    if value is None:
        return AudioFormat()
    if isinstance(value, str):
        return _one_of(_BETA_FORMATS, value, "input_audio_format")
    if not isinstance(value, dict):
        raise ProtocolError("invalid_event", f"got {kind(value)} as the format; expected an object")
    encoding = _one_of(_TYPES, value.get("type", "audio/pcm"), "format.type")
    if encoding != "pcm_s16le":
        return AudioFormat(encoding, _G711_RATE_HZ)
    if value.get("rate") is None:
        return AudioFormat()
    rate_hz = whole_number(value["rate"])
    if rate_hz is None or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise ProtocolError(
            "invalid_event",
            f"got {value['rate']!r:.50} as format.rate; expected {MIN_RATE_HZ} to {MAX_RATE_HZ}"
            " (Hz), a whole number",
        )
    return AudioFormat(encoding, rate_hz)


def _one_of(table: Mapping[str, _T], value: object, name: str) -> _T:
    if not isinstance(value, str) or value not in table:
        raise ProtocolError(
            "invalid_event", f"got {value!r:.100} as {name}; expected one of {', '.join(table)}"
        )
    return table[value]


def _turns(turns: TurnSettings | None, wanted: Fields | None) -> TurnSettings | None:
    if wanted is None:
        return None
    known = dict.fromkeys(_TURN_TYPES, turns or TurnSettings())
    base = _one_of(known, wanted.get("type", _TURN_TYPES[0]), "turn_detection.type")
    silence_ms = _number(wanted, "silence_duration_ms", 1000 * base.silence_s, _MAX_MS)
    return TurnSettings(
        threshold=_number(wanted, "threshold", base.threshold, 1),
        prefix_padding_s=_number(wanted, "prefix_padding_ms", 1000 * base.prefix_padding_s, _MAX_MS)
        / 1000,
        silence_s=max(1, math.ceil(round(silence_ms / _FRAME_MS, 3))) * _FRAME_MS / 1000,
    )


def _number(fields: Fields, name: str, default: float, highest: float) -> float:
    """A number of at least 0, bounded by `highest`; the default if absent or null."""
    value = fields.get(name)
    if value is None:
        return default
    found = any_number(value)
    if found is None or not found >= 0:
        raise ProtocolError(
            "invalid_event", f"got {value!r:.50} as {name}; expected a number of 0 or more"
        )
    return float(min(found, highest))
