"""One recording in a source, opened by FFmpeg, and its tracks of sound."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from lanscribe.media.ffmpeg import open_container, tracks_of
from lanscribe.media.mixed import together
from lanscribe.media.parts import ANY_STREAM, FileKind, Stream, Window, next_begin
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece, Unreadable
from lanscribe.media.recording import Recording
from lanscribe.media.source import Source
from lanscribe.media.tape import Tape
from lanscribe.media.tracks import TrackFacts, chosen
from lanscribe.speech.audio import SAMPLE_RATE_HZ

_SILENT = 0.001
"""A track that is never louder, -60 dBFS, is silent."""
_SILENT_S = 3600.0
"""A track that has been silent for so long is passed over; to hear it takes some seconds."""
_MOST_MIXED = 16
"""The most tracks that are mixed: each is read on its own, with tables of all of them."""
UNKNOWN_BYTES = 2**26
"""So much of a pipe of unknown content is kept, to find sound by seeking in it."""


class Part:
    """A recording at a place. A context manager; raises av.FFmpegError or Unreadable at the start.

    A part has one track that is read, or all of them mixed.
    """

    def __init__(
        self, source: Source, kind: FileKind | None, place: int, end: int | None = None
    ) -> None:
        """end: where the recording ends, if it was searched before."""
        self._source = source
        self._kind = kind
        self._place = place
        self._end = end
        self._file, self._container = self._opened()
        self._tracks = tracks_of(self._container)

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def end(self) -> int:
        """The place where the recording ends, as far as it was read."""
        return self._file.end if self._file.end is not None else self._file.place

    def choose(self, wanted: str) -> tuple[int | None, About]:
        """The index of the wanted track, None for all of them, and what to tell of it.

        Raises NoSuchTrack.
        """
        facts = [_facts(track) for track in self._tracks]
        best = self._container.streams.best("audio")
        preferred = next((at for at, track in enumerate(self._tracks) if track is best), 0)
        index, why = chosen(facts, preferred, wanted, self._has_sound)
        duration_s = self._duration_s()
        if index is None and len(facts) > _MOST_MIXED:
            raise NoSuchTrack(f"it has {len(facts)} tracks, of which {_MOST_MIXED} can be mixed")
        if index is None:
            return None, About(0, len(facts), why=why, duration_s=duration_s)
        one = facts[index]
        about = About(index + 1, len(facts), one.language, one.title, why, duration_s)
        return index, about

    def pieces(self, index: int | None, tape: Tape) -> Iterator[Piece]:
        """The sound of a track, or of all mixed, and what is missing."""
        if index is None:
            yield from self._mixed(tape)
        elif index < len(self._tracks):  # when opened again, a damaged one may have fewer
            recording = Recording(self._container, self._tracks[index], self._file, tape)
            yield from recording.pieces()

    def _opened(self) -> tuple[Stream | Window, InputContainer]:
        """The recording without seeking if that is enough, and else with."""
        if self._kind and self._kind.is_stream:
            stream = Stream(self._source, self._kind, self._place)
            return stream, _with_tracks(open_container(stream))
        if not self._source.is_complete:
            with suppress(av.FFmpegError, Unreadable):
                stream = Stream(self._source, ANY_STREAM, self._place)
                container = _with_tracks(open_container(stream))
                if not self._source.is_complete:  # else it may have to be sought in
                    return stream, container
                container.close()
            if not self._kind and not self._source.drain(UNKNOWN_BYTES):
                size = UNKNOWN_BYTES // 2**20
                raise Unreadable(f"there is no sound in the first {size} MiB of this pipe")
        if self._kind and self._end is None:
            self._end = next_begin(self._source, self._kind, self._place + 1)
        window = Window(self._source, self._place, self._end)
        self._end = window.end
        return window, _with_tracks(open_container(window))

    def _again(self, index: int, tape: Tape, stack: ExitStack) -> Iterator[Piece]:
        """A track, read on its own from the beginning."""
        other = stack.enter_context(Part(self._source, self._kind, self._place, self._end))
        return other.pieces(index, tape)

    def _has_sound(self, index: int) -> bool:
        with ExitStack() as stack:
            tape = Tape()
            for piece in self._again(index, tape, stack):
                if isinstance(piece, np.ndarray) and np.abs(piece).max() > _SILENT:
                    return True
                if tape.at_s > _SILENT_S:
                    return False
        return False

    def _mixed(self, tape: Tape) -> Iterator[Piece]:
        start_s = tape.time_s
        with ExitStack() as stack:
            tracks = [self._again(index, Tape(), stack) for index in range(len(self._tracks))]
            for piece in together(tracks):
                if isinstance(piece, Missing):
                    end_s = None if piece.end_s is None else piece.end_s + start_s
                    yield replace(piece, start_s=piece.start_s + start_s, end_s=end_s)
                else:
                    yield from tape.add(piece, SAMPLE_RATE_HZ, ())
        yield from tape.flush()

    def _duration_s(self) -> float | None:
        if isinstance(self._file, Stream) and self._file.declared_s:
            return self._file.declared_s
        return self._container.duration / av.time_base if self._container.duration else None


def _with_tracks(container: InputContainer) -> InputContainer:
    """The container, if it has a track of sound; else it is closed. Raises Unreadable."""
    if tracks_of(container):
        return container
    kinds = ", ".join(track.type for track in container.streams) or "none"
    container.close()
    raise Unreadable(f"it has no track of sound that can be read; its tracks: {kinds}")


def _facts(track: AudioStream) -> TrackFacts:
    language = track.language or ""
    title = track.metadata.get("title", "")
    is_default = bool(track.disposition & track.disposition.default)
    return TrackFacts("" if language == "und" else language, title, is_default)
