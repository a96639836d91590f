"""How a server is found that nobody names, and what is said about it."""

import asyncio
import random
import signal
import ssl
import sys
from dataclasses import replace
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest
import zeroconf
from zeroconf.asyncio import AsyncServiceInfo

import test_file_transcribe as client
from test_file_transcribe import KIND, Found, Server, Trouble, located
from tests.clients.conftest import StartMicrophone
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
    proven = located(trusting(start), discovers=False)
    assert (proven.url, proven.headers) == ("wss://192.168.1.20:8443/v1/realtime", KEY)


def trusting(server: Server) -> Server:
    """The server, for somebody who names an authority."""
    return replace(server, context=ssl.create_default_context(), ca_by="--ca-file a.pem")


def test_with_an_authority_a_server_without_tls_gets_nothing(
    answering: list[Found], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever leaves TLS out of an announcement gets neither the key nor the sound."""
    start = trusting(replace(nowhere(), headers=KEY))
    answering[:] = [OTHER]
    for discovers in (False, True):
        with pytest.raises(Trouble) as caught:
            located(start, discovers=discovers)
        assert str(caught.value) == (
            "found lanscribe-2.local (ws://[fd00::7]:8001), which announces no TLS; with --ca-file"
            " a.pem only wss:// is used, so nothing was sent: give that server a certificate, or"
            " leave out --ca-file"
        )
    answering[:] = [OTHER, BOX]
    for headers in (KEY, {}):
        server = located(replace(start, headers=headers), discovers=True)
        assert server.url == "wss://192.168.1.20:8443/v1/realtime"
        assert server.headers == headers
    answering[:] = [BOX, replace(OTHER, tls_port=8444)]
    with pytest.raises(SystemExit):
        located(start, discovers=True)
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "  --url wss://192.168.1.20:8443   (lanscribe.local)",
        "  --url wss://[fd00::7]:8444   (lanscribe-2.local)",
    ]


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
    def found(**texts: str | None) -> Found | None:
        info = SimpleNamespace(
            server="b\x1box.local.",
            port=8000,
            decoded_properties=texts,
            parsed_scoped_addresses=lambda: ["192.168.1.20"],
        )
        return client.found_by(info, [])

    assert found(tls="8443", auth="lan") == replace(BOX, name="box.local")
    for wrong in ("", "-1", "99999", "9" * 200, "\u0663", "no", None):
        assert found(tls=wrong) == replace(BOX, name="box.local", tls_port=0, auth="")


@pytest.mark.parametrize(
    ("address", "is_near"),
    [
        ("10.1.2.3", True),
        ("172.31.0.1", True),
        ("172.32.0.1", False),
        ("169.254.7.7", True),
        ("100.64.0.1", True),
        ("fd00::7", True),
        ("fe80::7%2", True),
        ("2a02:8071::7", True),
        ("2a02:8072::7", False),
        ("8.8.8.8", False),
        ("0.0.0.0", False),
        ("::", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("224.0.0.251", False),
        ("ff02::fb", False),
        ("255.255.255.255", False),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_an_address_is_of_this_network(address: str, is_near: bool) -> None:
    assert client.is_near(address, ["127.0.0.0/8", "::1/128", "2a02:8071::/64"]) is is_near


# What anybody can announce.

REAL = {
    "port": 8000,
    "server": "lanscribe.local.",
    "properties": {"tls": "8443", "auth": "lan"},
    "parsed_addresses": ["192.168.1.20"],
}


def answers_of(announced: dict[str, dict[str, Any]], silent: set[str]) -> list[Found]:
    """What is found if each name announces these fields, and the silent ones nothing more."""

    class Announced(AsyncServiceInfo):
        """An answer of zeroconf, without a network."""

        def __init__(self, kind: str, name: str) -> None:
            super().__init__(kind, name, **announced[name])

        async def async_request(self, *_: object) -> bool:
            await asyncio.sleep(client.SEARCH_S if self.name in silent else 0)
            return self.name not in silent

    async def look() -> list[Found]:
        kinds = SimpleNamespace(AsyncServiceInfo=Announced)
        module = SimpleNamespace(Error=zeroconf.Error, asyncio=kinds)
        answers = client.Answers(module, None, [])
        for name in announced:
            answers.note(None, KIND, name, None)
        await answers.wait()
        return list(answers.found.values())

    return asyncio.run(look())


def any_text(dice: random.Random) -> str:
    """Letters as zeroconf reads them from any bytes."""
    return dice.randbytes(dice.randrange(70)).decode("utf-8", "replace")


def any_fields(dice: random.Random) -> dict[str, Any]:
    """An announcement that may be valid."""
    addresses = [dice.randbytes(dice.choice([4, 16])) for _ in range(dice.randrange(3))]
    near = [bytes([10, *dice.randbytes(3)])] if dice.random() < 0.7 else []
    servers = [f"{any_text(dice)}.local.", ".", None, "\x1b[2Jbox\nline\u202e.local."]
    return {
        "port": dice.choice([0, 1, 8000, 65_535, 65_536, -1, None]),
        "server": dice.choice(servers),
        "properties": dice.choice([dice.randbytes(dice.randrange(90)), b"\x08tls=\xff\x1b99"]),
        "addresses": addresses + near,
    }


@pytest.mark.parametrize("seed", range(40))
def test_the_real_server_is_found_beside_anything(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SEARCH_S", 0.5)
    monkeypatch.setattr(client, "OTHERS_S", 0.05)
    dice = random.Random(seed)
    kinds = [f".{KIND}", f".{KIND}", "._http._tcp.local.", ".example.com.", "."]
    names = [any_text(dice) + dice.choice(kinds) for _ in range(40)]
    announced = {name: any_fields(dice) for name in names}
    silent = {name for name in names if dice.random() < 0.3}
    found = answers_of({**announced, f"real.{KIND}": REAL}, silent)
    assert BOX in found
    for one in found:
        assert client.plain(one.name) == one.name
        assert one.name
        assert "\n" not in one.name
        address = ip_address(one.address)
        assert any(address in network for network in client.HOME_NETWORKS)
        server = client.named_by_itself(replace(one, auth=""), nowhere(), discovers=True)
        assert server.port == one.port


def test_no_more_names_are_asked_than_a_home_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "OTHERS_S", 0.05)
    announced = {f"{number}.{KIND}": REAL for number in range(1_000)}
    assert len(answers_of(announced, set())) == client.MOST_NAMES


def test_ctrl_c_ends_the_search(start_microphone: StartMicrophone) -> None:
    program = start_microphone("--discover")
    program.interrupt()
    assert program.wait() in {130, -signal.SIGINT}  # a shell tells both as 130
    assert "Traceback" not in program.err.text


def test_an_old_environment_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(Trouble, match=r"^finding servers needs the package zeroconf: pip install"):
        client.search()


def test_a_url_and_discover_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        client.parse_options(["--audio_path", "a.wav", "--url", "box", "--discover"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("--discover and --url both say where the server is: leave out one")
