"""The key and the passes of a running server, whose files change meanwhile."""

import itertools
import os
import random
from pathlib import Path

import pytest

from lanscribe.config import AuthSettings
from lanscribe.errors import AuthError, ConfigError, GuessError
from lanscribe.server import keys
from lanscribe.server.key_check import KeyCheck
from lanscribe.server.passes import LIFETIME_S

WORLD = "203.0.113.9"


def admits(check: KeyCheck, *offered: str, address: str = WORLD) -> bool:
    try:
        check.check(offered, address)
    except AuthError:
        return False
    return True


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    keys.make(path)
    return path


def in_file(path: Path) -> str:
    key = keys.read(path)
    assert key is not None
    return key


def test_a_new_key_counts_at_once(key_file: Path) -> None:
    check = KeyCheck(AuthSettings(mode="key", key_file=str(key_file)))
    for _ in range(5):
        old = in_file(key_file)
        assert admits(check, old)
        keys.replace(key_file)
        assert not admits(check, old)
        assert admits(check, in_file(key_file))


def test_a_key_that_is_made_while_the_server_runs_counts(tmp_path: Path) -> None:
    check = KeyCheck(AuthSettings(key_file=str(tmp_path / "key")))
    assert check.key is None
    assert not admits(check, "None")
    keys.make(tmp_path / "key")
    assert admits(check, in_file(tmp_path / "key"))


def test_a_file_is_read_only_when_it_has_changed(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = list[Path]()
    read = keys.read

    def counted(path: Path, command: str = "") -> str | None:
        reads.append(path)
        return read(path, command)

    monkeypatch.setattr(keys, "read", counted)
    check = KeyCheck(AuthSettings(mode="key", key_file=str(key_file)))
    key = in_file(key_file)
    reads.clear()
    assert all(admits(check, key) for _ in range(100))
    assert len(reads) == 1


def test_the_key_of_the_settings_overrules_the_file(key_file: Path) -> None:
    auth = {"mode": "key", "key": "a-key-of-the-tests", "key_file": str(key_file)}
    check = KeyCheck(AuthSettings.model_validate(auth))
    assert admits(check, "a-key-of-the-tests")
    assert not admits(check, in_file(key_file))


@pytest.mark.parametrize("content", [None, "short"])
def test_a_server_does_not_start_without_a_key_that_it_needs(
    tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "key").write_text(content)
    with pytest.raises(ConfigError):
        KeyCheck(AuthSettings(mode="key", key_file=str(tmp_path / "key")))


def test_who_guesses_waits_and_learns_how_long(key_file: Path) -> None:
    now_s = [0.0]
    check = KeyCheck(AuthSettings(key_file=str(key_file)), clock=lambda: now_s[0])
    home = AuthError("not_allowed", "not from home")
    for number in range(6):
        with pytest.raises(AuthError, match="and without it not from home"):
            check.check([f"wrong-{number}"], WORLD, home)
    with pytest.raises(GuessError) as caught:
        check.check([in_file(key_file)], WORLD, home)
    assert caught.value.retry_after_s == 1
    now_s[0] = 1.0
    assert admits(check, in_file(key_file))


def test_a_pass_lives_as_long_as_key_secret_and_time_allow(key_file: Path, tmp_path: Path) -> None:
    secret, now_s = tmp_path / "state" / "sign-in", [1e9]
    auth = AuthSettings(mode="key", key_file=str(key_file))

    def restarted() -> KeyCheck:
        return KeyCheck(auth, secret, wall_clock=lambda: now_s[0])

    check = restarted()
    assert not check.has_pass(["x"]), "without a secret there is no pass"
    one = check.new_pass()
    assert secret.stat().st_mode & 0o777 == 0o600
    assert check.has_pass([one])
    assert restarted().has_pass(["x", one]), "after a restart too"
    assert not check.has_pass(["a", "b", "c", "d", one]), "only so many are looked at"
    now_s[0] += LIFETIME_S
    assert not check.has_pass([one])
    two = check.new_pass()
    keys.replace(secret)
    assert not check.has_pass([two])
    three = check.new_pass()
    keys.replace(key_file)
    assert not check.has_pass([three])
    four = check.new_pass()
    assert check.has_pass([four])
    secret.unlink()
    assert not check.has_pass([four])


@pytest.mark.parametrize("seed", range(30))
def test_whatever_changes_only_the_newest_key_and_its_passes_open(
    tmp_path: Path, seed: int
) -> None:
    """A row of new keys, lost keys, signing in and out, restarts and time."""
    rng, now_s = random.Random(seed), [1e9]
    key_file, secret = tmp_path / "key", tmp_path / "state" / "sign-in"
    auth = AuthSettings(key_file=str(key_file))
    keys.make(key_file)

    def started() -> KeyCheck:
        clock = itertools.count(0.0, 1000.0)  # no pause is ever felt
        return KeyCheck(auth, secret, lambda: next(clock), lambda: now_s[0])

    check, old_keys, old_passes = started(), ["a-key-of-nobody"], list[str]()
    current, good = in_file(key_file), dict[str, float]()
    for step in range(60):
        match rng.choice(["new", "lose", "out", "in", "in", "restart", "wait"]):
            case "new" | "lose" as change:
                old_keys.append(current)
                old_passes += good
                good.clear()
                if change == "lose":
                    key_file.unlink()
                    assert check.key is None
                    keys.make(key_file)
                keys.replace(key_file)
                current = in_file(key_file)
            case "out" if secret.exists():
                keys.replace(secret)
                old_passes += good
                good.clear()
            case "in":
                good[check.new_pass()] = now_s[0] + LIFETIME_S
            case "restart":
                check = started()
            case "wait":
                now_s[0] += rng.choice([1.0, LIFETIME_S / 3])
        why = f"seed {seed}, step {step}"
        assert admits(check, current, address=f"10.0.0.{step}"), why
        assert not admits(check, rng.choice(old_keys), address=f"10.0.1.{step}"), why
        for one, until_s in good.items():
            assert check.has_pass([one]) == (now_s[0] < until_s), why
        assert not any(check.has_pass([one]) for one in old_passes), why


def test_a_key_that_goes_while_somebody_signs_in_opens_nothing(
    key_file: Path, tmp_path: Path
) -> None:
    check = KeyCheck(AuthSettings(key_file=str(key_file)), tmp_path / "sign-in")
    key_file.unlink()
    with pytest.raises(ConfigError, match="has gone"):
        check.new_pass()


def test_where_nobody_signs_in_there_are_no_passes(key_file: Path) -> None:
    assert not KeyCheck(AuthSettings(mode="key", key_file=str(key_file))).has_pass(["x"])


def test_an_empty_secret_of_the_passes_is_replaced_by_itself(
    key_file: Path, tmp_path: Path
) -> None:
    """As a full disk left it, before files were put whole."""
    secret = tmp_path / "state" / "sign-in"
    secret.parent.mkdir()
    secret.touch()
    check = KeyCheck(AuthSettings(key_file=str(key_file)), secret)
    made = check.new_pass()
    assert check.has_pass([made])
    assert check.has_pass([check.new_pass()])
    assert check.has_pass([made])


def test_the_folder_of_the_passes_is_the_owners_alone(key_file: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret = tmp_path / "a" / "state" / "sign-in"
        KeyCheck(AuthSettings(key_file=str(key_file)), secret).new_pass()
    finally:
        os.umask(before)
    modes = {folder.stat().st_mode & 0o777 for folder in (secret.parent, secret.parent.parent)}
    assert modes == {0o700}
