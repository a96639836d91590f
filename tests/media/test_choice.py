"""The wanted track of a real container is heard, alone or with the others."""

import io
from collections.abc import Sequence

import av
import numpy as np
import pytest

from lanscribe.engines.fake import spoken
from lanscribe.media.pieces import About, Missing, NoSuchTrack, Piece
from lanscribe.media.reader import read
from lanscribe.media.source import Source
from lanscribe.speech.audio import Samples

SILENCE = np.zeros(64_000, dtype=np.float32)
ONE = spoken([5_000, 9] * 25)
TWO = spoken([9, 7_000, 9, 9] * 12)


def film(tracks: Sequence[Samples], kind: str = "matroska", languages: Sequence[str] = ()) -> bytes:
    """A file with several tracks of sound without loss."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        streams = []
        for index, _ in enumerate(tracks):
            stream = container.add_stream("pcm_s16le", rate=16_000)
            assert isinstance(stream, av.AudioStream)
            stream.layout = "mono"
            if languages:
                stream.metadata["language"] = languages[index]
            streams.append(stream)
        for start in range(0, max(map(len, tracks)), 1_600):
            for stream, track in zip(streams, tracks, strict=True):
                if len(part := track[start : start + 1_600]):
                    pcm16 = np.rint(part * 32_768).astype("<i2")[np.newaxis]
                    frame = av.AudioFrame.from_ndarray(pcm16, "s16", "mono")
                    frame.sample_rate, frame.pts = 16_000, start
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return file.getvalue()


def heard(data: bytes, track: str = "") -> tuple[About, Samples]:
    pieces: list[Piece] = list(read(io.BytesIO(data), track))
    about = pieces[0]
    assert isinstance(about, About)
    return about, np.concatenate([p for p in pieces if not isinstance(p, About | Missing)])


@pytest.mark.parametrize("kind", ["matroska", "mov"])
def test_a_silent_track_is_passed_over_for_one_with_sound(kind: str) -> None:
    about, sound = heard(film([SILENCE, ONE, TWO], kind))
    assert (about.number, about.count, about.why) == (2, 3, "track 1 is silent")
    assert np.array_equal(sound[: len(ONE)], ONE)


def test_a_track_with_sound_only_late_is_kept() -> None:
    late = np.concatenate([SILENCE, SILENCE, ONE])
    about, sound = heard(film([late, TWO]))
    assert about.number == 1
    assert np.array_equal(sound, late)


def test_silence_alone_is_heard_as_silence() -> None:
    about, sound = heard(film([SILENCE, SILENCE]))
    assert about.number == 1
    assert not sound.any()


@pytest.mark.parametrize(
    ("wanted", "number"), [("1", 1), ("2", 2), ("de", 2), ("eng", 1), ("default", 1)]
)
def test_a_track_is_heard_by_its_name(wanted: str, number: int) -> None:
    about, sound = heard(film([ONE, TWO], languages=["eng", "ger"]), wanted)
    assert about.number == number
    assert about.language == ["eng", "ger"][number - 1]
    assert np.array_equal(sound, [ONE, TWO][number - 1])


def test_all_tracks_are_mixed() -> None:
    first, second = ONE.copy(), TWO.copy()
    first[len(first) // 2 :] = 0
    second[: len(first) // 2] = 0
    about, sound = heard(film([first, SILENCE, second]), "all")
    assert (about.number, about.count) == (0, 3)
    wanted = np.zeros(len(sound), dtype=np.float32)
    wanted[: len(first)] += first
    wanted[: len(second)] += second
    gains = sound[wanted > 0.1] / wanted[wanted > 0.1]
    assert gains[: len(gains) // 4] == pytest.approx(1, abs=1e-3)
    assert (gains > 0.7).all(), "3 dB less for a moment after another one was heard"
    assert (gains < 1.01).all()


def test_a_track_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(NoSuchTrack, match=r"1 \(eng\), 2 \(ger\)"):
        heard(film([ONE, TWO], languages=["eng", "ger"]), "fr")
    with pytest.raises(NoSuchTrack, match="from 1 to 1"):
        heard(film([ONE]), "2")


def test_more_tracks_than_can_be_mixed_are_refused() -> None:
    short = [ONE[:1_600]] * 17
    with pytest.raises(NoSuchTrack, match="17 tracks, of which 16 can be mixed"):
        heard(film(short), "all")
    assert heard(film(short[:16]), "all")[0].count == 16


def test_a_track_that_is_silent_for_an_hour_is_passed_over() -> None:
    """The rest of it is not searched."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        streams = [container.add_stream("pcm_u8", rate=1_000) for _ in range(2)]
        for stream in streams:
            assert isinstance(stream, av.AudioStream)
            stream.layout = "mono"
        block = np.full((1, 60_000), 128, np.uint8)
        for minute in range(62):
            for stream in streams:
                has_sound = minute == 61 if stream is streams[0] else minute == 0
                values = (
                    np.tile(np.array([120, 136], np.uint8), 30_000)[np.newaxis]
                    if has_sound
                    else block
                )
                frame = av.AudioFrame.from_ndarray(values, "u8", "mono")
                frame.sample_rate, frame.pts = 1_000, minute * 60_000
                assert isinstance(stream, av.AudioStream)
                container.mux(stream.encode(frame))
        for stream in streams:
            assert isinstance(stream, av.AudioStream)
            container.mux(stream.encode(None))
    about = next(read(io.BytesIO(file.getvalue())))
    assert isinstance(about, About)
    assert (about.number, about.why) == (2, "track 1 is silent")


def test_a_later_part_without_the_track_is_heard_by_its_own() -> None:
    about, sound = heard(film([ONE, TWO]) + film([ONE]), "2")
    assert about.number == 2
    assert np.array_equal(sound, np.concatenate([TWO, ONE]))


def test_a_source_is_read_again_and_again() -> None:
    source = Source(io.BytesIO(film([ONE, TWO])))
    for wanted, track in [("1", ONE), ("2", TWO), ("1", ONE)]:
        pieces = [p for p in read(source, wanted) if isinstance(p, np.ndarray)]
        assert np.array_equal(np.concatenate(pieces), track)
