"""The words that dialects and sessions share, whatever the wire protocol.

A dialect decodes messages into client events and encodes server events into messages; a
session turns the one into the other.
"""

from dataclasses import dataclass

from lanscribe.audio import Samples
from lanscribe.errors import LanscribeError


@dataclass(frozen=True, slots=True)
class SelectModel:
    """The client names the model it wants; needed before its first commit."""

    model: str


@dataclass(frozen=True, slots=True, eq=False)
class AppendAudio:
    """The client sends audio, shape (n,), 16 kHz."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class Commit:
    """The client starts an utterance, or with is_final ends the one it is sending."""

    is_final: bool


ClientEvent = SelectModel | AppendAudio | Commit


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The session exists; the first thing a client hears."""

    session_id: str
    created_unix_s: int


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to append to the utterance's transcript; "" tells progress only.

    end_s: seconds from the utterance's first sample; see `Token.end_s`.
    """

    text: str
    end_s: float


@dataclass(frozen=True, slots=True)
class Done:
    """An utterance is complete."""

    text: str
    audio_s: float
    """How much audio the utterance had."""
    token_count: int
    """How many tokens with text the engine emitted."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something was refused or broke; the connection ends if the error has a close code."""

    error: LanscribeError


ServerEvent = SessionCreated | Delta | Done | Failure
