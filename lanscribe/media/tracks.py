"""Chooses a track of sound by its number, its language, its default mark, or its sound."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lanscribe.media.pieces import NoSuchTrack

MIXED = "all"
_DEFAULT = "default"
_MOST_DESCRIBED, _MOST_LETTERS = 20, 50


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What a file says of a track of sound."""

    language: str
    title: str
    is_default: bool


def chosen(
    tracks: Sequence[TrackFacts], best: int, wanted: str, has_sound: Callable[[int], bool]
) -> tuple[int | None, str]:
    """The index of the wanted track, None for all of them mixed, and why.

    best: the index of the one that FFmpeg prefers. has_sound is asked only if the wish leaves the
    choice open. Raises NoSuchTrack.
    """
    wanted = wanted.strip()
    if wanted == MIXED:
        return None, "all tracks were asked for"
    numbers = [str(number) for number in range(1, len(tracks) + 1)]
    if wanted in numbers:
        return numbers.index(wanted), "it was asked for"
    if wanted == _DEFAULT:
        marked = [index for index, track in enumerate(tracks) if track.is_default]
        return (marked[0], "it is the default") if marked else (0, "it is the first")
    if not wanted:
        return _first_with_sound(len(tracks), best, has_sound)
    language = _standard(wanted)
    for index, track in enumerate(tracks):
        if language and _standard(track.language) == language:
            return index, f"its language is {track.language}"
    raise NoSuchTrack(
        f"got the track {wanted[:50]!r}; expected a number from 1 to {len(tracks)}, a language,"
        f" {_DEFAULT} or {MIXED}; the tracks are {described(tracks)}"
    )


def _first_with_sound(count: int, best: int, has_sound: Callable[[int], bool]) -> tuple[int, str]:
    if count == 1:
        return 0, ""
    order = [best, *(index for index in range(count) if index != best)]
    taken = next((index for index in order if has_sound(index)), best)
    if taken == best:
        return best, "it is the default"
    return taken, f"track {best + 1} is silent"


def _standard(language: str) -> str:
    """A code of a language as the shortest of ISO 639, so that de, deu and ger are the same."""
    import langcodes  # noqa: PLC0415  it takes 40 ms, and few ask for a language

    try:
        return langcodes.Language.get(language).language or ""
    except ValueError:
        return ""


def described(tracks: Sequence[TrackFacts]) -> str:
    """The tracks in words, the first of many."""
    words = []
    for number, track in enumerate(tracks[:_MOST_DESCRIBED], start=1):
        facts = [fact[:_MOST_LETTERS] for fact in (track.language, track.title) if fact]
        words.append(f"{number} ({', '.join(facts)})" if facts else str(number))
    others = len(tracks) - len(words)
    return ", ".join(words) + (f" and {others} others" if others else "")
