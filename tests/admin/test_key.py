"""`serve.sh key`: it shows, makes and replaces the key, and signs browsers out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lanscribe import PROJECT_DIR
from lanscribe.admin import records
from lanscribe.admin.commands import dispatch
from lanscribe.server import keys
from tests.servers import StartServer
from tests.support import DEADLINE_S, get_json

KEY = "a-key-of-the-tests"


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key and a folder of state that the settings name."""
    path = tmp_path / "key"
    monkeypatch.setenv("LANSCRIBE_AUTH_KEY_FILE", str(path))
    monkeypatch.setenv("LANSCRIBE_SERVER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(records, "RECORDS_DIR", tmp_path / "servers")
    keys.make(path)
    return path


def test_a_new_key_says_what_it_means(key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = keys.read(key_file)
    assert dispatch(["key", "new"]) == 0
    said = capsys.readouterr()
    after = keys.read(key_file)
    assert after
    assert after != before
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert f"made a new key: {key_file}" in said.err
    assert "apps that have the old one need the new one" in said.err
    assert "all browsers are signed out" in said.err
    assert said.out == ""
    assert after not in said.err
    assert dispatch(["key"]) == 0
    assert capsys.readouterr().out == f"{after}\n"


@pytest.mark.parametrize("name", ["LANSCRIBE_AUTH_KEY", "VOXTRAL_API_KEY"])
def test_with_a_key_in_the_environment_the_file_has_no_effect(
    key_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    before = keys.read(key_file)
    monkeypatch.setenv(name, KEY)
    assert dispatch(["key", "new"]) == 1
    said = capsys.readouterr().err
    assert f"{name} is set and is the key, so {key_file} has no effect; change {name}" in said
    assert KEY not in said
    assert keys.read(key_file) == before


def test_a_key_that_cannot_be_replaced_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LANSCRIBE_AUTH_KEY_FILE", str(tmp_path / "none" / "key"))
    assert dispatch(["key", "new"]) == 1
    assert "none/key: No such file or directory; the key is the old one" in capsys.readouterr().err


def test_in_an_open_server_a_new_key_changes_nothing(
    key_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANSCRIBE_AUTH_MODE", "open")
    assert dispatch(["key", "new"]) == 0
    assert 'auth.mode is "open"' in capsys.readouterr().err


def test_signing_out_replaces_the_secret_of_all_passes(
    key_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = keys.read(key_file)
    assert dispatch(["key", "--sign-out"]) == 0
    assert "no browser has signed in yet" in capsys.readouterr().err
    secret = tmp_path / "state" / "sign-in"
    secret.parent.mkdir()
    keys.make(secret)
    first = keys.read(secret)
    assert dispatch(["key", "--sign-out"]) == 0
    assert "all browsers are signed out" in capsys.readouterr().err
    assert keys.read(secret) not in {None, first}
    assert keys.read(key_file) == before


def test_two_wishes_at_once_are_none(key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["key", "new", "--sign-out"]) == 2
    assert "got new and --sign-out; expected one of them" in capsys.readouterr().err


@pytest.mark.slow
def test_a_running_server_takes_the_new_key_at_once(
    start_server: StartServer, key_file: Path
) -> None:
    server = start_server("fake", "--auth", "key")
    models = f"{server.http_url}/v1/models"
    for _ in range(2):
        old = keys.read(key_file)
        assert get_json(models, **{"X-API-Key": str(old)})[0] == 200
        command = [sys.executable, "-m", "lanscribe", "key", "new"]
        subprocess.run(command, cwd=PROJECT_DIR, check=True, capture_output=True)
        assert get_json(models, **{"X-API-Key": str(old)})[0] == 401
        assert get_json(models, **{"X-API-Key": str(keys.read(key_file))})[0] == 200
    assert httpx.get(models).status_code == 401


@pytest.mark.slow
def test_a_pipe_in_the_place_of_the_key_does_not_hang_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    done = subprocess.run(
        [sys.executable, "-m", "lanscribe", "serve", "--port", "0"],
        cwd=PROJECT_DIR,
        env={**os.environ, "LANSCRIBE_AUTH_KEY_FILE": str(tmp_path / "key")},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert f"{tmp_path / 'key'}: the key cannot be read: it is not a regular file" in done.stderr


def test_a_running_server_with_another_key_is_named(
    key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = keys.read(key_file)
    with records.recorded("gateway", "127.0.0.1", 8000, records.More("LANSCRIBE_AUTH_KEY")):
        assert dispatch(["key"]) == 1
        said = capsys.readouterr()
        assert "on port 8000" in said.err
        assert f"is that in LANSCRIBE_AUTH_KEY, not in {key_file}" in said.err
        assert said.out == ""
        assert dispatch(["key", "new"]) == 1
        said = capsys.readouterr()
    assert "the new key has no effect in lanscribe on port 8000" in said.err
    assert f"key new changes {key_file} only; change LANSCRIBE_AUTH_KEY where that" in said.err
    assert "counts at once" not in said.err
    assert keys.read(key_file) != before


@pytest.mark.parametrize("place", ["", "the file"])
def test_a_running_server_with_the_same_key_or_of_an_older_version_changes_nothing(
    key_file: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    with records.recorded("gateway", "127.0.0.1", 8000, records.More(place and str(key_file))):
        assert dispatch(["key"]) == 0
        assert capsys.readouterr().out == f"{keys.read(key_file)}\n"
        assert dispatch(["key", "new"]) == 0
        assert "counts at once" in capsys.readouterr().err


def test_a_record_says_the_place_of_the_key_and_older_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RECORDS_DIR", tmp_path)
    path = tmp_path / f"{os.getpid()}.json"
    records.write("gateway", "::", 8000, records.More("a\nb", "own", 8443))
    found = records.read(path)
    assert found is not None
    assert (found.key_place, found.tls, found.tls_port) == ("a?b", "own", 8443)
    older = json.loads(path.read_text())
    del older["key_place"], older["tls"], older["tls_port"]
    path.write_text(json.dumps(older))
    found = records.read(path)
    assert found is not None
    assert (found.key_place, found.tls, found.tls_port) == ("", "", 0)
    for name, wrong in (("key_place", 5), ("tls", None), ("tls_port", "1"), ("tls_port", -1)):
        path.write_text(json.dumps({**older, name: wrong}))
        assert records.read(path) is None
