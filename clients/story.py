"""What was said of a recording and how far it is safe, over one session after another."""

from clients.protocol import RATE_HZ, Event
from clients.stitch import SLACK_SAMPLES, Piece, Stitch

DELTA_S = 0.08  # a delta without end_s, as of bare vLLM, stands for so long
PAUSE_S = 3.0  # without a word: a speaker pauses, or has ended
CHUNK_SAMPLES = 1_600
UNSURE_SAMPLES = 480_000  # 30 s: an engine has written down what it heard longer ago
WORD_SAMPLES = 25_600  # 1.6 s: no word is longer
SAID_LETTERS = 500  # of what was said last, for the next session's stitch


class Story:
    """What the server says of the recording, each word once, in however many sessions.

    Places are indices of samples. `base`, `sent`: where this session's audio begins and ends.
    `heard`: how far the server has listened; `place`: where its newest delta ended. `safe`: up to
    where every word is there, so that a new session has to listen from there on. `last_words`:
    those of a session that the server has cut, for when no other follows, which hears them again.
    """

    def __init__(self) -> None:
        self.base = self.sent = self.heard = self.place = self.safe = self._said_end = 0
        self.is_committed = self._is_cut = False
        self.last_words: list[Piece] = []
        self._said, self._stitch = "", Stitch("", is_open=False)
        self._deltas: list[str] = []
        self._text_s = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether all audio was sent and listened to."""
        return self.is_committed and self.heard > self.sent - CHUNK_SAMPLES

    def is_wordless(self, event: Event) -> bool:
        """Whether, as it is done, nothing was said in all, and somebody may wonder why."""
        is_bare = event.seconds("duration_s") is None and self.sent >= RATE_HZ  # it tells no cause
        return bool(event.no_speech or is_bare) and not self._said.strip()

    def begin(self, place: int) -> None:
        """A new session is to listen from `place` on."""
        self.base = self.sent = self.heard = self.place = place
        is_open, said_s = place < self._said_end, self._said_end / RATE_HZ
        self._stitch = Stitch(self._said, is_open=is_open, said_s=said_s)
        self._deltas, self.last_words = [], []
        self.is_committed = self._is_cut = False

    def cut(self) -> None:
        """Take in that the server ends the utterance here, perhaps within a word."""
        self._is_cut = True

    def hear(self, event: Event, now_s: float) -> list[Piece]:
        """Take in a delta; what can be said now."""
        said = self._feed(event)
        if self._stitch.is_open:
            if not self._is_beyond_the_old(event.text, now_s):
                return []
            said = self._stitch.close()
        if self._is_cut:
            self.last_words += said
            return []
        self._secure(event.text)
        return self._say(said)

    def _feed(self, event: Event) -> list[Piece]:
        """Give the text of a delta to the stitch; what comes out of it."""
        start_s, end_s = event.seconds("start_s"), event.seconds("end_s")
        if end_s is None:
            start_s = len(self._deltas) * DELTA_S
            end_s = start_s + DELTA_S
        self._deltas.append(event.text)
        self.place = self._place(end_s)
        self.heard = max(self.heard, self.place)
        if not event.text:
            return []
        begin_s = None if start_s is None else self._place(start_s) / RATE_HZ
        return self._stitch.feed((event.text, begin_s, self.place / RATE_HZ))

    def _secure(self, text: str) -> None:
        """Move `safe` on, after a delta with this text."""
        if text:
            is_new_word = any(map(str.isspace, text))  # then the word before it is whole
            whole_to = max(self._said_end if is_new_word else 0, self.place - WORD_SAMPLES)
            self.safe = max(self.safe, whole_to - SLACK_SAMPLES)
            self._said_end = max(self._said_end, self.place)
        self.safe = max(self.safe, self.heard - UNSURE_SAMPLES)

    def end(self, event: Event) -> list[Piece]:
        """Take in that the utterance is done; what is left to say."""
        end_s = event.seconds("duration_s")
        if end_s is None and not self.is_committed:
            return []  # it ended by itself, and does not say where
        self.heard = self.sent if end_s is None else self._place(end_s)
        if more := self._beyond_the_deltas(event.text):
            self.last_words += self._stitch.feed((more, None, self.heard / RATE_HZ))
        self.last_words += self._stitch.close()
        if not self.is_whole:
            return []
        self.safe = self._said_end = self.heard
        said, self.last_words = self.last_words, []
        return self._say(said)

    def _beyond_the_deltas(self, text: str) -> str:
        """What the whole text of an utterance has beyond its deltas."""
        whole, deltas = text.strip(), "".join(self._deltas).strip()
        return whole[len(deltas) :] if whole.startswith(deltas) else ""

    def _is_beyond_the_old(self, text: str, now_s: float) -> bool:
        """Whether no more words come that a session before this one has brought."""
        if text:
            self._text_s = now_s
            return self.place > self._said_end + SLACK_SAMPLES
        if not self._stitch.has_words:
            return self.heard > self._said_end + UNSURE_SAMPLES
        is_pausing = now_s - self._text_s > PAUSE_S  # an engine that catches up writes late
        return is_pausing and self.heard > self._said_end + 3 * SLACK_SAMPLES

    def _place(self, time_s: float) -> int:
        return min(self.base + round(time_s * RATE_HZ), self.sent)

    def _say(self, pieces: list[Piece]) -> list[Piece]:
        self._said = (self._said + "".join(text for text, _, _ in pieces))[-SAID_LETTERS:]
        return pieces
