"""A transcript of a file as server-sent events, while it is heard."""

import time
from collections.abc import Callable
from typing import Any

from lanscribe.server.exchange import Exchange
from lanscribe.server.missing import missing_event, track_event, without_text
from lanscribe.server.rest_form import FileTranscript
from lanscribe.speech.transcript import Token

PROGRESS_EVERY_S = 0.5
"""At least so much time is between two events of progress."""


class Stream:
    """The answer to a form with stream=true."""

    def __init__(
        self,
        exchange: Exchange,
        heard: FileTranscript,
        *,
        tells_progress: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: seconds since any moment."""
        self._exchange = exchange
        self._heard = heard
        self._tells_progress = tells_progress
        self._clock = clock
        self._told_at_s = -PROGRESS_EVERY_S

    async def begin(self) -> None:
        """Begin the answer, when the first sound is there."""
        await self._exchange.begin_events()
        if self._heard.about.count > 1:
            await self._exchange.event(track_event(self._heard.about))

    async def tell(self, token: Token) -> None:
        """Tell of a token with the times of the whole file."""
        for part in self._heard.missing.due(token.end_s):
            await self._exchange.event(missing_event(part))
        if token.text:
            await self._exchange.event(text_event(token))
        await self._tell_progress(token.end_s)

    async def _tell_progress(self, heard_s: float) -> None:
        now_s = self._clock()
        if self._tells_progress and now_s - self._told_at_s >= PROGRESS_EVERY_S:
            self._told_at_s = now_s
            await self._exchange.event(progress_event(heard_s, self._heard.about.duration_s))

    async def end(self) -> None:
        """Tell the rest, and that this was all."""
        for part in self._heard.missing.rest():
            await self._exchange.event(missing_event(part))
        if self._tells_progress:
            whole_s = self._heard.audio_s
            await self._exchange.event(progress_event(whole_s, whole_s))
        await self._exchange.event(last_text_event())
        await self._exchange.event(self._heard.done(), is_last=True)


def text_event(token: Token) -> dict[str, Any]:
    """The text of a token, and where it is in the file; without start if nobody knows."""
    start = {} if token.start_s is None else {"start": round(token.start_s, 3)}
    times = start | {"end": round(token.end_s, 3)}
    return {**_delta(token.text), **times, "choices": [_choice(token.text)]}


def last_text_event() -> dict[str, Any]:
    """No more text: clients of vLLM's wait for it."""
    return {**_delta(""), "choices": [_choice("", "stop")]}


def _delta(text: str) -> dict[str, Any]:
    """Text in OpenAI's form."""
    return {"type": "transcript.text.delta", "delta": text}


def _choice(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    """Text in vLLM's form."""
    return {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}


def progress_event(heard_s: float, duration_s: float | None) -> dict[str, Any]:
    """How far the file is heard, and how long it says to be, in seconds; it has no text.

    duration_s: None if the file does not say; the event has none then.
    """
    told = {"type": "transcript.progress", "heard": round(heard_s, 3)}
    duration = {} if duration_s is None else {"duration": round(duration_s, 3)}
    return told | duration | without_text()
