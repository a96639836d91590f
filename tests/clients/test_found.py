"""How a server is found that nobody names, and what is said about it."""

import ssl
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

import test_file_transcribe as client
from test_file_transcribe import Found, Server, Trouble, located
from tests.clients.test_file_client import refused_port

BOX = Found("lanscribe.local", "192.168.1.20", 8000, 8443, "lan")
OTHER = Found("lanscribe-2.local", "fd00::7", 8001, 0, "key")
KEY = {"Authorization": "Bearer abc"}


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> list[Found]:
    """The servers of the network."""
    found: list[Found] = []
    monkeypatch.setattr(client, "search", lambda: found)
    return found


def nowhere() -> Server:
    """What nobody has named, and where nothing runs."""
    return Server(f"ws://127.0.0.1:{refused_port()}/v1/realtime", named_by="")


def test_the_one_server_of_the_network_is_used_and_told(
    answering: list[Found], capsys: pytest.CaptureFixture[str]
) -> None:
    answering.append(BOX)
    server = located(nowhere(), discovers=True)
    assert server.url == "ws://192.168.1.20:8000/v1/realtime"
    assert server.named_by == "--discover"
    assert capsys.readouterr().err == "found lanscribe.local: ws://192.168.1.20:8000\n"


def test_without_a_url_a_server_is_looked_for_where_none_runs(
    answering: list[Found], capsys: pytest.CaptureFixture[str]
) -> None:
    answering.append(BOX)
    start = nowhere()
    assert located(start, discovers=False).url == "ws://192.168.1.20:8000/v1/realtime"
    line = f"nothing answers at {start.place}: looking for a server in this network\n"
    assert capsys.readouterr().err.startswith(line)
    named = replace(start, named_by="--url")
    assert located(named, discovers=False) is named


def test_several_servers_are_listed_with_what_to_type(
    answering: list[Found], capsys: pytest.CaptureFixture[str]
) -> None:
    answering += [BOX, OTHER]
    with pytest.raises(SystemExit) as caught:
        located(nowhere(), discovers=True)
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "several servers are in this network; name one:",
        "  --url ws://192.168.1.20:8000   (lanscribe.local)",
        "  --url ws://[fd00::7]:8001   (lanscribe-2.local)",
    ]


def test_no_server_is_told_with_what_to_do(answering: list[Found]) -> None:
    assert not answering
    with pytest.raises(Trouble, match=r"^--discover: no server answered within 3 s: is serve\.sh"):
        located(nowhere(), discovers=True)
    with pytest.raises(Trouble, match=r": Connection refused, and no server was found in this"):
        located(nowhere(), discovers=False)


def test_a_server_that_needs_a_key_is_not_asked_without(answering: list[Found]) -> None:
    answering.append(OTHER)
    with pytest.raises(Trouble) as caught:
        located(nowhere(), discovers=True)
    assert str(caught.value) == (
        "lanscribe-2.local (ws://[fd00::7]:8001) needs a key: pass it with --api-key or in"
        " LANSCRIBE_API_KEY; on the server's machine, bash serve.sh key shows it"
    )


def test_a_key_goes_to_nobody_who_only_answered(answering: list[Found]) -> None:
    """Anybody in the network can answer; a certificate of the person's own authority proves it."""
    start = replace(nowhere(), headers=KEY, key_by="LANSCRIBE_API_KEY")
    answering[:] = [BOX]
    assert located(start, discovers=False).headers == {}
    assert located(start, discovers=True).headers == KEY
    answering[:] = [replace(BOX, auth="key")]
    with pytest.raises(Trouble, match=r"it is sent only to a server that you name: --url ws://192"):
        located(start, discovers=False)
    context = ssl.create_default_context()
    proven = located(replace(start, context=context), discovers=False)
    assert (proven.url, proven.headers) == ("wss://192.168.1.20:8443/v1/realtime", KEY)


@pytest.mark.parametrize(
    ("addresses", "nearest"),
    [
        (["10.0.0.2", "192.168.1.20"], "192.168.1.20"),
        (["10.0.0.2", "fd00::7"], "fd00::7"),
        (["fd99::7", "10.0.0.2"], "10.0.0.2"),
        (["fd99::7"], "fd99::7"),
        (["fe80::7%2", "172.16.0.1"], "fe80::7%2"),
    ],
)
def test_the_address_in_a_network_of_this_machine_is_taken(
    addresses: list[str], nearest: str
) -> None:
    networks = ["127.0.0.0/8", "192.168.1.0/24", "fd00::/64", "fe80::/64"]
    assert client.nearest(addresses, networks) == nearest


def test_what_a_server_announces_may_be_anything() -> None:
    def found(**texts: str | None) -> Found:
        info = SimpleNamespace(
            server="b\x1box.local.",
            port=8000,
            decoded_properties=texts,
            parsed_scoped_addresses=lambda: ["192.168.1.20"],
        )
        return client.found_by(info, [])

    assert found(tls="8443", auth="lan") == replace(BOX, name="box.local")
    for wrong in ("", "-1", "99999", "\u0663", "no", None):
        assert found(tls=wrong).tls_port == 0


def test_an_old_environment_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(Trouble, match=r"^finding servers needs the package zeroconf: pip install"):
        client.search()


def test_a_url_and_discover_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        client.parse_options(["--audio_path", "a.wav", "--url", "box", "--discover"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("--discover and --url both say where the server is: leave out one")
