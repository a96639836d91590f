"""What a recording consists of: its track, its sound, and the parts that nobody can hear."""

from dataclasses import dataclass
from typing import Literal

from lanscribe.speech.audio import Samples


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a recording before its sound; always the first piece.

    number, count: the track that is read, from 1, and how many tracks of sound there are; number is
    0 if all of them are mixed. language, title: as the file has them, or "". why: why this track
    was taken, or "" if there is only one. duration_s: as the file declares or as its size suggests,
    None if unknown.
    """

    number: int = 1
    count: int = 1
    language: str = ""
    title: str = ""
    why: str = ""
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of a recording that cannot be heard.

    start_s, end_s: where it is in the recording, all missing parts included; end_s is None if
    nobody knows, as at the end of a file that was cut off. code: damaged, it could not be decoded;
    cut_off, the recording ends before its end; gap, nothing was recorded in this time; too_long,
    the rest was not read. why: the reason, a sentence without a period. skipped_s: how much time
    the samples after it leave out; the rest of the part is silence in the samples before it.
    """

    start_s: float
    end_s: float | None
    code: Literal["damaged", "cut_off", "gap", "too_long"]
    why: str
    skipped_s: float = 0.0


Piece = About | Samples | Missing
"""A recording is a sequence of these: About, then samples, shape (n,) with n > 0, and Missing."""


class Unreadable(Exception):
    """Nothing of a recording can be heard, and why: a sentence without a period."""


class NoSuchTrack(Unreadable):
    """The recording has no track such as the one that was asked for."""
