"""One endless engine session, made from limited ones.

A planned rollover, a limit, a rut, a stall and a crash are handled alike: the engine session
ends, the next one listens from a safe place, and the text is stitched. The caller notices
nothing: tokens stay append-only, and their times are those of the whole audio.

There is no engine session while nobody speaks; tokens without text then tell the progress. There
is none while no audio comes either.

Audio with incomplete text is kept, and heard again when an engine session ends without it. If no
engine session writes anything for some audio, it is passed over, and a token with is_lost
reports it.

Tentative words are passed on while they follow the text: not those of a session that hears the
words before a seam again, and none once a session has ended or its end is cut.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from functools import partial

from lanscribe.endless.rollover import (
    OWED_S,
    Cut,
    Deafness,
    Patience,
    Rollover,
    Start,
    Timing,
    on_grid,
    within,
)
from lanscribe.endless.stitch import LastWord, Seam
from lanscribe.endless.waiting import WaitingTokens
from lanscribe.endless.watchdog import Watchdog
from lanscribe.engines.base import Engine, EngineInfo, EngineSession, running
from lanscribe.errors import EngineError, EngineFailed, EngineUnavailable
from lanscribe.speech.audio import Samples, duration_s, sample_count
from lanscribe.speech.detection import SpeechDetector, SpeechMap
from lanscribe.speech.ring import SampleRing
from lanscribe.speech.transcript import Token, words_of
from lanscribe.tasks import Changes
from lanscribe.voxtral.steps import STEP_S

log = logging.getLogger(__name__)

MAX_UNHEARD_S = 30.0
STEP_SAMPLES = sample_count(STEP_S)
"""The least audio per token of progress while there is no engine session."""
UNHEARD_AT_END_S = 0.01
"""An engine session that ends with more fed audio unheard than this has broken off."""
UNHEARD_WHEN_OPEN_S = 1.0
"""Audio that may stay unheard while more is expected: a model's delay, part of a frame."""
KEPT_S = 60.0
"""How much audio with complete text, and how much of that text, is kept for a successor."""
STARVED_S = 10.0
"""An engine session without audio for this long is released: others may need its place."""
_SAME_S = 1e-6
"""Two times closer than this differ by rounding alone."""
JUDGED_HERE_SAMPLES = sample_count(0.2)
"""More audio than this is searched for speech in another thread: one second takes 7 ms."""


class EndlessEngine(Engine):
    """An engine with unlimited sessions, made from one with limited sessions."""

    def __init__(self, engine: Engine, timing: Timing) -> None:
        self._engine = engine
        self._timing = within(timing, engine.describe().max_session_s)

    def describe(self) -> EngineInfo:
        """The engine's facts, without its limit."""
        return replace(self._engine.describe(), max_session_s=None)

    def detector(self) -> SpeechDetector:
        """The engine's own detector."""
        return self._engine.detector()

    def session(self) -> "EndlessSession":
        """A new endless session."""
        return EndlessSession(self._engine, self._timing)

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()


class _DeafError(EngineFailed):
    """The engine session is alive, but writes no words over speech."""


class EndlessSession(EngineSession):
    """One utterance over as many engine sessions as it takes."""

    def __init__(self, engine: Engine, timing: Timing) -> None:
        self._engine = engine
        self._timing = timing
        self._may_go_deaf = engine.describe().may_go_deaf
        self._ring = SampleRing()
        self._speech = SpeechMap(engine.detector().stream())
        self._changes = Changes()
        self._waiting = WaitingTokens()
        self._said: deque[Token] = deque()
        self._heard_s = 0.0
        self._settled_s = 0.0
        self._lost_s = 0.0
        self._deafness = Deafness(timing.rut_s)
        self._patience = Patience(timing.retry_s)
        self._is_finished = False
        self._is_over = False
        self._watchdog = Watchdog(timing.stall_s)
        self._runner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; the session waits for an engine that is away."""
        self._runner = asyncio.create_task(self._run())
        self._runner.add_done_callback(self._end)  # also of one that was cancelled before it ran

    async def feed(self, samples: Samples) -> None:
        """Take audio, shape (n,); waits while 30 s are unheard.

        Raises RuntimeError after `finish`.
        """
        if self._is_finished:
            raise RuntimeError("feed() after finish()")
        await self._changes.until(
            lambda: duration_s(self._ring.end) - self._heard_s < MAX_UNHEARD_S or self._is_over
        )
        if len(samples) > JUDGED_HERE_SAMPLES:
            await asyncio.to_thread(self._speech.add, samples)
        else:
            self._speech.add(samples)
        self._ring.append(samples)
        self._changes.tell()

    async def finish(self) -> None:
        """Take no more audio; the iteration ends after the last engine session's last word."""
        self._speech.finish()
        self._is_finished = True
        self._changes.tell()

    async def abort(self) -> None:
        """End the current engine session, and the iteration."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])
        self._waiting.clear()

    async def __aiter__(self) -> AsyncIterator[Token]:
        """The tokens, with times in the whole utterance."""
        assert self._runner is not None, "not started"
        while True:
            await self._changes.until(lambda: bool(self._waiting) or self._is_over)
            if not self._waiting:
                break
            token = self._waiting.take()
            self._changes.tell()
            yield token
        if not self._runner.cancelled() and (error := self._runner.exception()):
            raise error

    async def _run(self) -> None:
        start: Start | None = Start(0.0, is_clean=True)
        while start is not None:
            engage = self._rest if start.is_quiet else self._engine_session
            start = await engage(start)

    def _end(self, _runner: asyncio.Task[None]) -> None:
        self._is_over = True
        self._changes.tell()

    async def _rest(self, start: Start) -> Start | None:
        """Wait without an engine session for the next speech; None at the end of the audio."""
        listened_s = start.at_s
        while True:
            await self._until_audio_after(sample_count(listened_s) + STEP_SAMPLES - 1)
            is_end, end_s = self._is_finished, duration_s(self._ring.end)
            waking_s = self._speech.waking(listened_s, self._speech.end_s)
            if waking_s is not None:
                await self._emit([Token("", waking_s)])
                begin_s = max(0.0, waking_s - self._timing.pre_roll_s)
                return Start(on_grid(begin_s), is_clean=True)
            listened_s = end_s if is_end else min(self._speech.end_s, end_s)
            await self._emit([Token("", listened_s)])
            if is_end:
                return None

    async def _engine_session(self, start: Start) -> Start | None:
        """Run one engine session; returns where its successor begins, None at the end."""
        await self._until_audio_after(sample_count(start.not_before_s))
        if start.is_clean and self._is_at_end(start):
            await self._emit([Token("", duration_s(self._ring.end))])
            return None
        rollover = Rollover(self._timing, start, self._speech)
        try:
            cut = await self._converse(rollover, start)
        except EngineError as error:
            await self._show("")
            return await self._after_error(error, rollover)
        await self._show("")
        self._patience.progressed()
        following = rollover.after_cut(cut, self._said_s, self._oldest_s) if cut else None
        if self._owed_s(rollover.fed_s) <= OWED_S:
            return following
        end = Start(rollover.fed_s, is_clean=True, not_before_s=rollover.fed_s)
        return await self._after_deafness(rollover, following or end)

    async def _after_error(self, error: EngineError, rollover: Rollover) -> Start:
        """Where to continue after an engine session that failed or was deaf."""
        if isinstance(error, _DeafError):
            log.info("%s", error)
            return await self._after_deafness(rollover, rollover.passing_over(self._oldest_s))
        await self._wait_after(error)
        return rollover.after_failure(max(self._said_s, self._settled_s), self._oldest_s)

    def _is_at_end(self, start: Start) -> bool:
        """Whether a session that was released for want of audio has left nothing to hear."""
        end_s = duration_s(self._ring.end)
        return self._is_finished and 0 < end_s <= start.not_before_s

    def _owed_s(self, heard_s: float) -> float:
        """How much clear speech was heard since the last word, or since the last lost audio."""
        if not self._may_go_deaf:
            return 0.0
        return self._speech.clear_speech_s(max(self._said_s, self._lost_s), heard_s)

    async def _after_deafness(self, rollover: Rollover, otherwise: Start) -> Start:
        """Let speech without words be heard again, once; after that, report it as lost."""
        if self._deafness.again():
            return await self._told(rollover.after_failure(self._said_s, self._oldest_s))
        return await self._told(otherwise)

    async def _told(self, start: Start) -> Start:
        """Report speech before `start` that has no words and is not heard again."""
        lost_s = self._speech.first_clear_speech(self._said_s, start.at_s)
        if lost_s is not None and max(lost_s, self._lost_s) < start.at_s:
            lost_s, self._lost_s = max(lost_s, self._lost_s), start.at_s
            log.warning("%.1f to %.1f s were passed over: no words", lost_s, start.at_s)
            await self._emit([Token("", start.at_s, start_s=lost_s, is_lost=True)])
        return start

    async def _converse(self, rollover: Rollover, start: Start) -> Cut | None:
        """Feed one engine session and emit its text, up to a cut or (None) the audio's end."""
        async with running(self._engine) as (session, tasks):
            feeder = tasks.create_task(self._feed(session, rollover, start))
            watchdog = tasks.create_task(self._watch(rollover, feeder))
            await self._listen(session, rollover, start, feeder)
            watchdog.cancel()
            if not feeder.done() or rollover.unheard_s > UNHEARD_AT_END_S:
                raise EngineFailed(f"the engine ended by itself at {rollover.heard_s:.1f} s")
        return feeder.result()

    async def _feed(self, session: EngineSession, rollover: Rollover, start: Start) -> Cut | None:
        position = sample_count(start.at_s)
        while True:
            await self._changes.until_at_most(STARVED_S, partial(self._has_after, position))
            piece = self._ring.read(position)
            cut = rollover.cut_by(duration_s(position + len(piece)))
            if cut:
                piece = piece[: sample_count(cut.at_s) - position]
            elif not len(piece) and not self._is_finished:
                cut = rollover.starved()
            position += len(piece)
            rollover.fed_s = duration_s(position)
            if len(piece):
                await self._watchdog.handed_over(session.feed(piece))
            if cut and cut.is_idle:
                await self._changes.until(lambda: rollover.is_close)
                cut = cut if rollover.confirms(cut) else None
            if cut or (self._is_finished and position == self._ring.end):
                await self._watchdog.handed_over(session.finish())
                return cut

    def _has_after(self, position: int) -> bool:
        return self._ring.end > position or self._is_finished

    async def _until_audio_after(self, position: int) -> None:
        await self._changes.until(lambda: self._has_after(position))

    async def _listen(
        self,
        session: EngineSession,
        rollover: Rollover,
        start: Start,
        feeder: "asyncio.Task[Cut | None]",
    ) -> None:
        """Emit the engine session's tokens, with times in the whole."""
        seam = self._seam(start)
        cut: Cut | None = None
        last_word = LastWord()
        tokens = aiter(session)
        while (relative := await self._watchdog.next_of(tokens)) is not None:
            token = relative.later(start.at_s)
            cut = feeder.result() if feeder.done() else None
            if token.is_tentative:
                await self._show("" if cut else seam.tentative(token))
                continue
            rollover.listened(token.end_s)
            for certain in self._certain(token, cut, last_word, rollover):
                rollover.heard(certain)
                await self._emit(seam.add(certain))
            if self._owed_s(rollover.heard_s) >= self._deafness.longest_s:
                await self._emit(seam.close())
                raise _DeafError(f"no words over speech at {token.end_s:.1f} s")
        if cut:
            for whole in last_word.whole(cut.at_s - self._timing.overlap_s):
                rollover.heard(whole)
                await self._emit(seam.add(whole))
        rollover.withheld(last_word.start_s)
        rest, heard_s = seam.close(), rollover.heard_s
        settled_s = min(heard_s, cut.certain_s, last_word.start_s) if cut else heard_s
        if rest or heard_s > self._heard_s or settled_s > self._settled_s:
            await self._emit([*rest, Token("", heard_s, settled_s=settled_s)])

    def _certain(
        self, token: Token, cut: Cut | None, last_word: LastWord, rollover: Rollover
    ) -> list[Token]:
        """The tokens to emit now that `token` has come; the successor gets the uncertain ones."""
        if cut is None:
            return [token]
        token = replace(token, tentative="")
        if token.text and cut.is_uncertain(token):
            rollover.withheld(token.begin_s)
            return []
        if not token.text:
            return [token.settled_by(min(cut.certain_s, last_word.start_s))]
        return [token] if cut.is_in_pause else last_word.add(token)

    async def _watch(self, rollover: Rollover, feeder: "asyncio.Task[Cut | None]") -> None:
        """Raise EngineFailed when the engine session owes a token and none comes for stall_s."""
        await self._watchdog.stalled(
            lambda: feeder.done() or rollover.unheard_s > UNHEARD_WHEN_OPEN_S
        )
        raise EngineFailed(
            f"the engine has said nothing for {self._timing.stall_s:g} s at {self._heard_s:.1f} s,"
            " though audio waits; it hangs or is overloaded"
        )

    def _seam(self, start: Start) -> Seam:
        said = [] if start.is_clean else words_of(self._said)
        begin_s = start.at_s + _SAME_S
        heard_again = [word for word in said if word.end_s > begin_s]
        return Seam(heard_again, needs_space=bool(self._said))

    async def _emit(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            if not self._waiting.has_room:
                self._changes.tell()
                await self._changes.until(lambda: self._waiting.has_room)
            self._heard_s = max(self._heard_s, token.end_s)
            self._settled_s = max(self._settled_s, token.known_s)
            self._deafness.heard(token)
            in_order = token.after(self._said_s)
            if token.text:
                self._said.append(in_order)
            self._waiting.append(in_order)
            self._forget()
        self._changes.tell()

    async def _show(self, tentative: str) -> None:
        """Tell tentative words, and nothing else, if they have changed."""
        if tentative != self._waiting.tentative:
            token = Token("", self._heard_s, settled_s=self._settled_s, tentative=tentative)
            await self._emit([replace(token, is_tentative=True)])

    def _forget(self) -> None:
        before_s = max(0.0, min(self._settled_s, self._heard_s) - KEPT_S)
        self._ring.forget(sample_count(before_s))
        self._speech.forget(before_s)
        while self._said and self._said[0].end_s < before_s and len(self._said) > 1:
            self._said.popleft()

    async def _wait_after(self, error: EngineError) -> None:
        """Wait before the next attempt. Raises an EngineError after one failure too many."""
        is_away = isinstance(error, EngineUnavailable)
        now_s = asyncio.get_running_loop().time()
        backoff_s = self._patience.failed(now_s, self._heard_s, is_away=is_away)
        if backoff_s is None:
            kind = EngineUnavailable if is_away else EngineFailed
            received_s = duration_s(self._ring.end)
            raise kind(
                f"{error.public_message}; heard up to {self._heard_s:.1f} s of the"
                f" {received_s:.1f} s received"
            ) from error
        log.warning("the engine is resumed at %.1f s: %s", self._heard_s, error)
        await asyncio.sleep(backoff_s)

    @property
    def _said_s(self) -> float:
        return self._said[-1].end_s if self._said else 0.0

    @property
    def _oldest_s(self) -> float:
        return duration_s(self._ring.oldest)
