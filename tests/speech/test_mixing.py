"""No voice is lost among channels: it arrives at its level, wherever it is."""

import numpy as np
import pytest

from lanscribe.speech.mixing import Channels, Mixer, weights_of

RATE_HZ = 16_000
SURROUND = ["FL", "FR", "FC", "LFE", "BL", "BR"]


def voice(seconds: float = 3.0, seed: int = 0) -> Channels:
    """Noise in bursts with pauses, shape (n,), at -20 dBFS."""
    random_ = np.random.default_rng(seed)
    noise = random_.standard_normal(round(seconds * RATE_HZ)) * 0.1
    bursts = np.repeat(random_.random(len(noise) // 2_000 + 1) > 0.3, 2_000)[: len(noise)]
    return np.where(bursts, noise, 0).astype(np.float32)


def level_db(samples: Channels) -> float:
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean()))


def mixed(channels: Channels, names: list[str] | None = None, block: int = 777) -> Channels:
    mixer = Mixer(RATE_HZ, weights_of(names or []))
    blocks = range(0, channels.shape[1], block)
    return np.concatenate([mixer.feed(channels[:, at : at + block]) for at in blocks])


def test_one_channel_stays_as_it_is() -> None:
    assert np.array_equal(mixed(voice()[np.newaxis]), voice())


@pytest.mark.parametrize("count", [2, 3, 8, 40])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_voice_in_one_of_many_channels_arrives_at_its_level(count: int, place: int) -> None:
    channels = np.zeros((count, len(voice())), dtype=np.float32)
    channels[place] = voice()
    assert np.array_equal(mixed(channels), voice())


@pytest.mark.parametrize("place", range(6))
def test_a_voice_in_any_channel_of_surround_sound_arrives_at_its_level(place: int) -> None:
    """In the one for the bass, too, if there is nothing else."""
    channels = np.zeros((6, len(voice())), dtype=np.float32)
    channels[place] = voice()
    assert mixed(channels, SURROUND) == pytest.approx(voice(), abs=1e-6)


def test_a_voice_in_the_centre_is_as_loud_as_before_beside_softer_sound() -> None:
    around = [voice(seed=seed) * np.float32(0.1) for seed in range(1, 7)]
    channels = np.stack(around)
    channels[2] = voice()
    out = mixed(channels, SURROUND)
    assert level_db(out) == pytest.approx(level_db(voice()), abs=0.3)
    assert np.corrcoef(out, voice())[0, 1] > 0.97


@pytest.mark.parametrize("count", [2, 6, 16])
def test_the_same_sound_in_all_channels_keeps_its_level(count: int) -> None:
    names = SURROUND if count == 6 else []
    out = mixed(np.tile(voice(), (count, 1)), names)
    assert out == pytest.approx(voice(), abs=1e-6)


@pytest.mark.parametrize("other", [-1.0, -0.9, -1.1])
def test_opposite_phase_is_heard(other: float) -> None:
    out = mixed(np.stack([voice(), voice() * np.float32(other)]))
    assert abs(np.corrcoef(out, voice())[0, 1]) > 0.99
    assert level_db(out) == pytest.approx(level_db(voice()), abs=1)


def test_what_cancels_only_for_a_time_is_heard_all_the_time() -> None:
    left, right = voice(6.0), voice(6.0).copy()
    right[RATE_HZ * 2 : RATE_HZ * 4] *= -1
    noise = np.random.default_rng(5).standard_normal((2, len(left))) * 0.003
    out = mixed((np.stack([left, right]) + noise).astype(np.float32))
    for second in range(6):
        part = slice(second * RATE_HZ + RATE_HZ // 4, (second + 1) * RATE_HZ)
        assert level_db(out[part]) == pytest.approx(level_db(left[part]), abs=1.5), second


def test_another_channel_is_taken_when_the_one_alone_falls_silent() -> None:
    first = np.concatenate([voice(2.0), np.zeros(4 * RATE_HZ, dtype=np.float32)])
    later = np.concatenate([np.zeros(3 * RATE_HZ, dtype=np.float32), voice(3.0, seed=2)])
    channels = np.stack([first, -first, later, -later])
    out = mixed(channels)
    assert level_db(out[: 2 * RATE_HZ]) == pytest.approx(level_db(voice(2.0)), abs=1)
    assert level_db(out[4 * RATE_HZ :]) == pytest.approx(level_db(later[4 * RATE_HZ :]), abs=1)


@pytest.mark.parametrize("seed", range(10))
def test_two_people_in_two_channels_are_both_heard(seed: int) -> None:
    loud, soft = voice(4.0, seed), voice(4.0, seed + 50) * np.float32(0.03)
    soft[: 2 * RATE_HZ] = 0
    loud[2 * RATE_HZ :] = 0
    out = mixed(np.stack([loud, soft]))
    assert level_db(out[2 * RATE_HZ :]) == pytest.approx(level_db(soft[2 * RATE_HZ :]), abs=1)


def test_blocks_of_any_length_come_out_at_once() -> None:
    channels = np.stack([voice(0.5), voice(0.5, seed=1)])
    for block in (1, 160, 1_600, 8_000):
        assert len(mixed(channels, block=block)) == channels.shape[1]
    assert len(Mixer(RATE_HZ).feed(channels[:, :0])) == 0
    silent = np.zeros((2, 50), dtype=np.float32)
    assert not Mixer(RATE_HZ).feed(silent).any()


def test_only_a_centre_among_others_gives_weights() -> None:
    assert weights_of(["FL", "FR"]) is None
    assert weights_of(["FC"]) is None
    weights = weights_of(SURROUND)
    assert weights is not None
    assert weights.tolist() == [0.7, 0.7, 1.0, 0.0, 0.5, 0.5]
