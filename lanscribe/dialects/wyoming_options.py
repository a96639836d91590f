"""What the owner may choose for Home Assistant, and how the server describes itself to it."""

from dataclasses import dataclass
from typing import Any

from lanscribe import __version__
from lanscribe.engines.base import EngineInfo
from lanscribe.speech.turns import TurnSettings

_SPEECH_THRESHOLD = 0.2
_SILENCE_THRESHOLD = 0.5
"""How likely speech must be to begin a command, and to go on with it: Home Assistant's numbers."""


@dataclass(frozen=True, slots=True)
class WyomingOptions:
    """What the owner may choose.

    end_silence_s: the silence after which the server ends a command; 0 waits for audio-stop.
    is_plain: whether text has no punctuation.
    """

    end_silence_s: float = 0.0
    is_plain: bool = False

    @property
    def command(self) -> TurnSettings | None:
        """How the server finds the end of a command; None if the client ends it."""
        if not self.end_silence_s:
            return None
        return TurnSettings(
            threshold=_SPEECH_THRESHOLD,
            silence_s=self.end_silence_s,
            end_threshold=_SILENCE_THRESHOLD,
            is_command=True,
        )


def asr_program(info: EngineInfo, *, ends_commands: bool) -> dict[str, Any]:
    """The entry of `info` for speech to text.

    ends_commands: whether the server ends a command; a client has to end it otherwise.
    """
    model = {
        "name": info.model,
        "attribution": {"name": info.name, "url": ""},
        "installed": True,
        "description": info.model,
        "version": None,
        "languages": list(info.languages),
    }
    return {
        "name": "lanscribe",
        "attribution": {"name": "lanscribe", "url": ""},
        "installed": True,
        "description": "Live speech to text",
        "version": __version__,
        "models": [model],
        "supports_transcript_streaming": True,
        "requires_external_vad": not ends_commands,
    }
