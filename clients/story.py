"""The transcript of a recording over several sessions, and where a new one must start."""

from clients.protocol import Event
from clients.stitch import SLACK_SAMPLES, Said, Stitch
from lanscribe.speech.audio import SAMPLE_RATE_HZ

DELTA_S = 0.08  # assumed for a delta without end_s, as from bare vLLM
NO_WORD_S = 3.0  # after so long without a word, the speaker pauses or has ended
CHUNK_SAMPLES = 1_600
UNSURE_SAMPLES = 480_000  # 30 s: an engine writes its words within this time
WORD_SAMPLES = 25_600  # 1.6 s: no word is longer
SAID_LETTERS = 500  # kept for the stitch to the next session


class Story:
    """The transcript of the recording, each word once, over any number of sessions.

    Places are sample indices. `base`, `sent`: start and end of this session's audio. `heard`: how
    far the server has listened; `place`: the end of its newest delta. `safe`: all words before it
    are here, so a new session must listen from there. `last_words`: the last words of a session
    that the server cut; the next session hears them again, so they are said only if none follows.
    `tentative`: the words after all that was said which may still change, as the newest delta has
    them; none while it is not known whether they were said already, or after a cut.
    """

    def __init__(self) -> None:
        self.base = self.sent = self.heard = self.place = self.safe = self._said_end = 0
        self.is_committed = self._is_cut = False
        self.last_words: list[Said] = []
        self.tentative = ""
        self._said, self._stitch = "", Stitch("", is_open=False)
        self._deltas: list[str] = []
        self._text_s = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether all audio was sent and listened to."""
        return self.is_committed and self.heard > self.sent - CHUNK_SAMPLES

    def is_wordless(self, event: Event) -> bool:
        """Whether the whole recording has no word, and its last event may tell the cause."""
        is_bare = event.seconds("duration_s") is None  # bare vLLM sends no cause
        is_known = event.no_speech or is_bare or self.sent < SAMPLE_RATE_HZ
        return bool(is_known) and not event.lost and not self._said.strip()

    def begin(self, place: int) -> None:
        """Begin a session that listens from `place` on."""
        self.base = self.sent = self.heard = self.place = place
        is_open, said_s = place < self._said_end, self._said_end / SAMPLE_RATE_HZ
        self._stitch = Stitch(self._said, is_open=is_open, said_s=said_s)
        self._deltas, self.last_words = [], []
        self.is_committed = self._is_cut = False
        self.tentative = ""

    def cut(self) -> None:
        """Note that the server ends the utterance here, perhaps within a word."""
        self._is_cut = True
        self.tentative = ""

    def hear(self, event: Event, now_s: float) -> list[Said]:
        """Take a delta; return the pieces that can be said now."""
        said, self.tentative = self._feed(event), ""
        if self._stitch.is_open:
            if not self._is_beyond_the_old(event.text, now_s):
                return []
            said = self._stitch.close()
        if self._is_cut:
            self.last_words += said
            return []
        self._secure(event.text)
        self.tentative = event.tentative
        return self._say(said)

    def _feed(self, event: Event) -> list[Said]:
        """Pass a delta to the stitch; return the pieces that it releases."""
        start_s, end_s = event.seconds("start_s"), event.seconds("end_s")
        if end_s is None:
            start_s = len(self._deltas) * DELTA_S
            end_s = start_s + DELTA_S
        self._deltas.append(event.text)
        self.place = self._place(end_s)
        self.heard = max(self.heard, self.place)
        if not event.text:
            return []
        begin_s = None if start_s is None else self._place(start_s) / SAMPLE_RATE_HZ
        return self._stitch.feed((event.text, begin_s, self.place / SAMPLE_RATE_HZ))

    def _secure(self, text: str) -> None:
        """Advance `safe` after a delta with this text."""
        if text:
            is_new_word = any(map(str.isspace, text))  # then the word before it is complete
            whole_to = max(self._said_end if is_new_word else 0, self.place - WORD_SAMPLES)
            self.safe = max(self.safe, whole_to - SLACK_SAMPLES)
            self._said_end = max(self._said_end, self.place)
        self.safe = max(self.safe, self.heard - UNSURE_SAMPLES)

    def end(self, event: Event) -> list[Said]:
        """Take the end of the utterance; return the remaining pieces.

        Without a cut, the server ends it where the client has stopped sending: it is complete.
        """
        self.tentative = ""
        end_s = event.seconds("duration_s")
        if end_s is None and not self.is_committed:
            return []  # the server ended it, and does not say where
        self.heard = self.sent if end_s is None else self._place(end_s)
        if more := self._beyond_the_deltas(event.text):
            self.last_words += self._stitch.feed((more, None, self.heard / SAMPLE_RATE_HZ))
        self.last_words += self._stitch.close()
        is_complete = not self._is_cut and self.heard >= self._said_end
        if not (self.is_whole or is_complete):
            return []
        self.safe = self._said_end = self.heard
        said, self.last_words = self.last_words, []
        return self._say(said)

    def _beyond_the_deltas(self, text: str) -> str:
        """The part of an utterance's full text that follows its deltas."""
        whole, deltas = text.strip(), "".join(self._deltas).strip()
        return whole[len(deltas) :] if whole.startswith(deltas) else ""

    def _is_beyond_the_old(self, text: str, now_s: float) -> bool:
        """Whether this session is past the words of the earlier ones."""
        if text:
            self._text_s = now_s
            return self.place > self._said_end + SLACK_SAMPLES
        if not self._stitch.has_words:
            return self.heard > self._said_end + UNSURE_SAMPLES
        is_pausing = now_s - self._text_s > NO_WORD_S  # an engine that catches up emits words late
        return is_pausing and self.heard > self._said_end + 3 * SLACK_SAMPLES

    def _place(self, time_s: float) -> int:
        return min(self.base + round(time_s * SAMPLE_RATE_HZ), self.sent)

    def _say(self, pieces: list[Said]) -> list[Said]:
        self._said = (self._said + "".join(text for text, _, _ in pieces))[-SAID_LETTERS:]
        return pieces
