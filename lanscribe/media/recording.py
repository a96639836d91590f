"""Puts the frames of one recording at their places, and tells what is missing between them."""

from collections.abc import Iterator, Sequence

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from lanscribe.media.ffmpeg import Fault, Frames, is_timed
from lanscribe.media.parts import Stream, Window
from lanscribe.media.pieces import Missing, Piece, Unreadable
from lanscribe.media.tape import Tape
from lanscribe.media.times import FrameTimes

_GAP_S = 0.1
"""A hole in the times that is longer is filled, so that what follows keeps its time."""
_NOTHING = "the file has no sound for this time: nothing was recorded, or it is damaged"
_TOLD_S = 1.0
"""A hole that is longer is told even if nothing is damaged: recorders leave out what is silent."""
_BACK_S = 0.5
"""Times that go back by more begin again, as where recordings are joined."""
_WITHOUT_HOLES = {"flac", "ogg"}
"""The formats in which a hole is always damage."""
_JITTER_S = 0.02
_ROUNDING_S = 0.005
"""Containers round times to a millisecond."""
_SHORT_BY_S = 0.15
"""A recording that ends this much before it says it does was cut off."""
_DECLARING = {
    *("mov", "flac", "mp3", "wav", "aiff", "au", "tta", "ape", "wv", "nistsphere", "mxf", "rm"),
    *("avi", "apm", "ast", "argo_asf", "kvag", "smjpeg"),
}
"""The formats whose header has the length; of others FFmpeg only estimates it. An MP3 has it in a
Xing header; FFmpeg cannot estimate a stream of unknown size. An AIFF with GSM counts packets or
samples, and an AVI with ADPCM counts something else."""


class Recording:
    """One recording, which is read once."""

    def __init__(
        self, container: InputContainer, track: AudioStream, file: Stream | Window, tape: Tape
    ) -> None:
        self._container = container
        self._track = track
        self._file = file
        self._tape = tape
        self._is_timed = is_timed(container)
        self._start_s = tape.time_s
        self._shift_s: float | None = None
        self._converter = _Converter()

    def pieces(self) -> Iterator[Piece]:
        """Its sound, and what is missing. Raises Unreadable if its rate cannot be resampled."""
        faults: list[Fault] = []
        times = FrameTimes[tuple[AudioFrame, list[Fault]]]()
        for event in Frames(self._container, self._track, self._file.size_bytes):
            if isinstance(event, Fault):
                faults.append(event)
                continue
            item, faults = (event, faults), []
            if not self._is_timed:
                yield from self._add(item, None)
                continue
            length_s, is_after_fault = event.samples / event.sample_rate, bool(item[1])
            for placed in times.add(item, length_s, event.time, is_after_fault=is_after_fault):
                yield from self._add(*placed)
        for placed in times.flush():
            yield from self._add(*placed)
        yield from self._tape.flush()
        if faults and not self._tape.has_sound:
            raise Unreadable(f"none of its sound can be decoded: {faults[0].why}")
        yield from self._end(faults)

    def _add(self, item: tuple[AudioFrame, list[Fault]], time_s: float | None) -> Iterator[Piece]:
        """What is missing before a frame, and its sound."""
        frame, faults = item
        yield from self._miss(self._gap_s(time_s, faults), faults)
        names = [channel.name for channel in frame.layout.channels]
        yield from self._tape.add(self._converter.floats(frame), frame.sample_rate, names)

    def _miss(self, gap_s: float, faults: Sequence[Fault]) -> Iterator[Piece]:
        """A gap between frames."""
        if faults and gap_s > _ROUNDING_S:
            yield from self._tape.miss("damaged", faults[0].why, gap_s)
        elif gap_s > _JITTER_S and self._container.format.name in _WITHOUT_HOLES:
            yield from self._tape.miss("damaged", "a part of the file cannot be read", gap_s)
        elif gap_s > _GAP_S:
            is_told = gap_s > _TOLD_S
            yield from self._tape.miss("gap", _NOTHING, gap_s, is_told=is_told)

    def _gap_s(self, time_s: float | None, faults: Sequence[Fault]) -> float:
        """How much time is between the sound so far and a frame that begins at a time."""
        if not self._is_timed or time_s is None:
            return sum(fault.length_s for fault in faults)
        here_s = self._tape.time_s - self._start_s
        if self._shift_s is None:
            start_s = self._container.start_time
            self._shift_s = -(time_s if start_s is None else start_s / av.time_base)
        gap_s = time_s + self._shift_s - here_s
        if gap_s < -_BACK_S:
            self._shift_s -= gap_s
            return sum(fault.length_s for fault in faults)
        return gap_s

    def _end(self, faults: Sequence[Fault]) -> Iterator[Piece]:
        """What is missing at the end."""
        here_s, declared_s = self._tape.time_s, self._declared_s
        if declared_s and here_s - self._start_s < declared_s - _SHORT_BY_S:
            end_s = self._start_s + declared_s
            why = f"the file ends early: it declares {declared_s:.1f} s"
            yield Missing(here_s, end_s, "cut_off", why)
        elif not declared_s and (lost_s := sum(fault.length_s for fault in faults)) > _TOLD_S:
            yield Missing(here_s, here_s + lost_s, "damaged", faults[0].why)
        elif not declared_s and self._is_broken_off(faults):
            yield Missing(here_s, None, "cut_off", "the file ends in the middle of its sound")
        elif self._file.lacks and not self._is_at_end():
            yield Missing(here_s, None, "cut_off", self._file.lacks)

    def _is_at_end(self) -> bool:
        """Whether a file that is short of bytes has its last sound, so that others are missing."""
        if not self._container.format.name.startswith("matroska") or not self._container.duration:
            return False
        end_s = self._tape.time_s - self._start_s + _SHORT_BY_S
        return end_s > self._container.duration / av.time_base

    def _is_broken_off(self, faults: Sequence[Fault]) -> bool:
        """Whether faults at the end of the file are more than padding and a tag."""
        is_damaged = any(not 0 < fault.length_s < _ROUNDING_S for fault in faults)
        return is_damaged and not self._file.is_tagged

    @property
    def _declared_s(self) -> float | None:
        """How long the recording says to be; None if it does not, or only by an estimate."""
        name = self._container.format.name.split(",")[0]
        if isinstance(self._file, Stream) and (self._file.declared_s or name == "wav"):
            return self._file.declared_s
        if name == "ogg":
            return self._declared_of_ogg
        codec = self._track.codec_context.name
        if name == "avi" and codec.startswith("pcm_"):
            return self._track.frames / self._track.rate
        is_counted = codec != "gsm" and (name != "avi" or codec.startswith("mp"))
        is_counted = is_counted and (name != "mov" or self._track.frames > 0)  # not of fragments
        if name in _DECLARING and is_counted and self._track.duration and self._track.time_base:
            return float(self._track.duration * self._track.time_base)
        is_alone = name in {"matroska", "flv"} and len(self._container.streams) == 1
        if is_alone and self._container.duration:
            return self._container.duration / av.time_base
        return None

    @property
    def _declared_of_ogg(self) -> float | None:
        """By the time of the last page; None if that is not there."""
        end_s = self._file.end_s if isinstance(self._file, Stream) else None
        if end_s is None or self._file.lacks:
            return None
        return end_s - (self._container.start_time or 0) / av.time_base


_MOST_PLANES = 2
"""Frames with more channels are packed first: beyond the eighth plane PyAV reads memory that is not
there."""


class _Converter:
    """Frames of any sample format to floats."""

    def __init__(self) -> None:
        self._form: object = None
        self._resampler = av.AudioResampler(format="flt")

    def floats(self, frame: AudioFrame) -> npt.NDArray[np.float32]:
        """The samples of a frame, shape (channels, n)."""
        if frame.format.name == "fltp" and frame.layout.nb_channels <= _MOST_PLANES:
            return np.asarray(frame.to_ndarray(), dtype=np.float32)
        form = (frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate)
        if form != self._form:
            self._resampler = av.AudioResampler(format="flt")
            self._form = form
        parts = [
            packed.to_ndarray().reshape(-1, packed.layout.nb_channels).T
            for packed in self._resampler.resample(frame)
        ]
        return np.concatenate(parts, axis=1).astype(np.float32, copy=False)
