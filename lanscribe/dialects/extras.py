"""What this server reports beyond every protocol: lost audio, and why nothing was heard.

The extra fields are absent if there is nothing to report.
"""

from collections.abc import Iterable
from typing import Any

from lanscribe.dialects.events import Delta, Done
from lanscribe.speech.silence import NoSpeech
from lanscribe.speech.spans import Span

MUTED = "zeros"
"""The notice that a live client sends nothing but zeros."""


def extras(
    event: Delta | Done, *, names: tuple[str, str] = ("start", "end"), offset_s: float = 0.0
) -> dict[str, Any]:
    """The extra fields of a piece of text, or of an utterance's end.

    names: the protocol's names for the times of words; offset_s is added to every time.
    """
    if isinstance(event, Delta):
        notice = {"notice": MUTED} if event.is_muted else {}
        lost = (event.lost,) if event.lost else ()
        return notice | lost_field(lost, names=names, offset_s=offset_s)
    lost_audio = lost_field(event.lost, names=names, offset_s=offset_s)
    return lost_audio | no_speech_field(event.no_speech)


def lost_field(
    spans: Iterable[Span], *, names: tuple[str, str] = ("start", "end"), offset_s: float = 0.0
) -> dict[str, Any]:
    """The audio that was not transcribed; empty if all of it was."""
    lost = [dict(zip(names, span.later(offset_s).rounded, strict=True)) for span in spans]
    return {"lost": lost} if lost else {}


def no_speech_field(no_speech: NoSpeech | None) -> dict[str, Any]:
    """Why there is no text; empty if there is some or none is expected."""
    if no_speech is None:
        return {}
    level = {} if no_speech.level_dbfs is None else {"level_dbfs": no_speech.level_dbfs}
    return {"no_speech": {"code": no_speech.cause, **level}}
