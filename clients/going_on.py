"""A session that continues after a socket or a server breaks, and remarks for the person."""

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import urlencode

from clients.address import Server
from clients.protocol import Event
from clients.reasons import TlsPort, advice_of, explain, is_garbled, speaks_tls, without_programming
from clients.story import Story
from clients.terminal import Trouble, permission
from lanscribe.speech.audio import SAMPLE_RATE_HZ

PASSING = ("engine_unavailable", "internal", "processing_error", "server_busy", "server_stopping")
"""Error codes after which a retry may help."""


def pause_s(failures: int) -> float:
    """How long to wait before the next attempt; random, so that clients do not retry together."""
    return random.uniform(0.06, 0.12) * 2.0 ** min(failures, 5)


class Session:
    """The state that outlives a socket: the server's token, and the number of its last message.

    whole_s: the time in the recording of a time in the audio that is sent.
    """

    def __init__(self, server: Server, whole_s: Callable[[float], float] = float) -> None:
        self._server, self._whole_s = server, whole_s
        self.token, self.keep_s = "", 0.0
        self._seen, self._is_behind = 0, False

    @property
    def address(self) -> str:
        """The address that resumes the session, or starts a new one."""
        url = self._server.url
        if not self.token:
            return url
        query = urlencode({"resume": self.token, "seen": self._seen})
        return f"{url}{'&' if '?' in url else '?'}{query}"

    def greet(self, greeting: Event, story: Story, place: int) -> bool:
        """Continue where the server says, or begin at `place`.

        False if the server has lost the session: connect again for a new one. Raises Trouble if
        the server refuses.
        """
        if self.token and greeting.code == "resume_failed":
            self.token = ""
            return False
        if greeting.kind == "error":
            raise self.trouble(greeting, 0)
        if greeting.kind == "session.resumed":
            story.sent = story.base + max(0, greeting.field("received_samples", 0))
            story.is_committed = greeting.field("received_commits", 0) > 0
            return True
        self.token, self._seen = greeting.field("token", ""), greeting.field("seq", 0)
        self.keep_s = greeting.seconds("keep_s") or 0.0
        story.begin(place)
        return True

    def model(self, name: str, *, tentative: bool = False) -> str:
        """The message that chooses the model; bare vLLM is asked for nothing more.

        tentative: whether to ask for the words that may still change.
        """
        keep = {"resume": True} if self.token else {}
        more = {"tentative": True} if self.token and tentative else {}
        return json.dumps({"type": "session.update", "model": name, **keep, **more})

    def audio(self, pcm: bytes) -> str:
        """The message that adds audio, and acknowledges received messages."""
        seen = {"seen": self._seen} if self.token else {}
        audio = b64encode(pcm).decode("ascii")
        return json.dumps({"type": "input_audio_buffer.append", "audio": audio, **seen})

    def is_new(self, event: Event) -> bool:
        """Whether the event was not received before."""
        number, seen = event.field("seq", 0), self._seen
        self._seen = max(number, seen)
        return number == 0 or number > seen

    def remarks(self, event: Event, story: Story) -> list[str]:
        """Lines about lost audio, audio without any speech, and lag that begins or ends."""
        if event.kind == "transcription.done":
            sent_s = story.sent / SAMPLE_RATE_HZ
            return [no_speech(event, sent_s)] if story.is_wordless(event) else []
        lost = [f"{span} could not be transcribed" for span in self._spans(event, story.base)]
        return lost + self._lag_remarks(event)

    def _spans(self, event: Event, base: int) -> list[str]:
        """The untranscribed parts of audio that begins at sample `base`."""
        base_s = base / SAMPLE_RATE_HZ
        parts = [[self._whole_s(base_s + time_s) for time_s in part] for part in event.lost]
        return [f"{start_s:.1f} to {end_s:.1f} s" for start_s, end_s in parts]

    def _lag_remarks(self, event: Event) -> list[str]:
        lag_s, is_behind = event.seconds("lag_s"), event.field("is_behind", False)
        if lag_s is None or is_behind == self._is_behind:
            return []
        self._is_behind = is_behind
        caught_up = "the server has caught up"
        return [f"the server is behind by {lag_s:.0f} s" if is_behind else caught_up]

    async def unreached(self, error: Exception) -> Trouble:
        """Why no connection was made, as Trouble that passes as in `broken`."""
        may_be_tls = not self.keep_s and self._server.url.startswith("ws:") and is_garbled(error)
        if may_be_tls and await asyncio.to_thread(speaks_tls, self._server):
            error = TlsPort()
        return self.broken(error)

    def broken(self, error: Exception) -> Trouble:
        """A connection error as Trouble; it passes if the server keeps sessions."""
        trouble = explain(error, self._server)
        trouble.passes |= self.keep_s > 0
        return trouble

    def trouble(self, event: Event, base: int) -> Trouble:
        """An error event as Trouble; ends the session, whose audio begins at sample `base`."""
        self.token = ""
        lost = "".join(f" (not transcribed: {span})" for span in self._spans(event, base))
        advice = advice_of(event.code, self._server)
        said = without_programming(event.text) + (f"; {advice}" if advice else "")
        return Trouble(f"the server says: {said}{lost}", passes=event.code in PASSING)


def no_speech(event: Event, sent_s: float) -> str:
    """A line with the probable reason why no speech was heard in so much sound."""
    code, level = event.no_speech.get("code"), event.no_speech.get("level_dbfs")
    level_dbfs = level if isinstance(level, float | int) else -99.0
    allow = permission()
    causes = {
        "zeros": f": each sample is zero: was the microphone muted, or without permission?{allow}",
        "quiet": f": it is never louder than {level_dbfs:.0f} dBFS, and speech is -40 to -15",
    }
    is_short = f": only {sent_s:.2f} s of sound came" if sent_s < 1 else ""
    return f"no speech was heard{causes.get(str(code), is_short)}"
