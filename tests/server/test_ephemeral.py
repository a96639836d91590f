"""Ephemeral keys: once, and not for long."""

import random

import pytest

from lanscribe.errors import AuthError
from lanscribe.server.ephemeral import LONGEST_S, MOST_KEYS, EphemeralKeys


def refusal(keys: EphemeralKeys, key: str, now_s: float) -> str:
    with pytest.raises(AuthError) as caught:
        keys.use(key, now_s)
    assert caught.value.code == "unauthorized"
    assert key not in caught.value.public_message
    return caught.value.public_message


def test_a_key_is_used_once_and_brings_its_first_message() -> None:
    keys = EphemeralKeys()
    one, other = keys.make("one", 0.0), keys.make("", 0.0)
    assert one.startswith("ek_")
    assert one != other
    assert keys.use(one, 1.0) == "one"
    assert "was used before" in refusal(keys, one, 1.0)
    assert keys.use(other, 1.0) == ""


@pytest.mark.parametrize(("asked_s", "given_s"), [(10, 10), (LONGEST_S, LONGEST_S), (7200, 60)])
def test_a_key_expires(asked_s: float, given_s: float) -> None:
    keys = EphemeralKeys()
    first, second = (keys.make("", 100.0, asked_s) for _ in range(2))
    assert keys.use(first, 100.0 + given_s) == ""
    assert "has expired" in refusal(keys, second, 100.5 + given_s)


def test_what_was_made_here_is_known_and_nothing_else() -> None:
    keys = EphemeralKeys()
    key = keys.make("", 0.0)
    keys.use(key, 0.0)
    assert keys.is_known(key)
    assert not keys.is_known("ek_" + key)
    assert not EphemeralKeys().is_known(key)


def test_the_oldest_is_forgotten() -> None:
    keys = EphemeralKeys()
    made = [keys.make("", 0.0) for _ in range(MOST_KEYS + 3)]
    assert [keys.is_known(key) for key in made[:4]] == [False] * 3 + [True]


def test_no_key_admits_twice_whatever_happens() -> None:
    for seed in range(20):
        random_, keys, now_s = random.Random(seed), EphemeralKeys(), 0.0
        ends: dict[str, float] = {}
        for _ in range(300):
            now_s += random_.choice([0.0, 0.1, 20.0])
            if random_.random() < 0.4:
                ends[keys.make("", now_s)] = now_s + LONGEST_S
            elif ends and keys.is_known(key := random_.choice(list(ends))):
                if now_s <= ends[key]:
                    keys.use(key, now_s)
                    ends[key] = -1.0
                else:
                    refusal(keys, key, now_s)
