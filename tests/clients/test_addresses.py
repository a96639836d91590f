"""What a person types to name the server: what it means, and what is said if it is wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import stream_microphone
import test_file_transcribe as client
from test_file_transcribe import CA_VARIABLE, KEY_VARIABLE, URL_VARIABLE, Server
from tests.server.test_tls import make_certificate

SUCH_AS = "; expected such as ws://HOST:8000"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (URL_VARIABLE, KEY_VARIABLE, CA_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


def server_of(*arguments: str) -> Server:
    """The server that a command line names."""
    server: Server = client.parse_options(["--audio_path", "a.wav", *arguments]).server
    return server


@pytest.fixture
def refusal_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Gives the last line of a command line that is wrong."""

    def refusal(*arguments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            server_of(*arguments)
        assert caught.value.code == 2
        return capsys.readouterr().err.splitlines()[-1].partition("error: ")[2]

    return refusal


# What pasting adds.


@pytest.mark.parametrize(
    "pasted",
    [
        " ws://box:8000 ",
        "\tws://box:8000\r\n",
        "\u00a0ws://box:8000\u3000",
        "\ufeffws://box:8000",
        "ws://\u200bbox:8000\u2060",
        "'ws://box:8000'",
        '" ws://box:8000"',
        "`ws://box:8000`",
        "<ws://box:8000>",
        "\u201cws://box:8000\u201d",
        "\u201ews://box:8000\u201c",
        "\u00abws://box:8000\u00bb",
    ],
)
def test_what_pasting_adds_is_taken_off_an_address(pasted: str) -> None:
    assert server_of("--url", pasted).url == "ws://box:8000/v1/realtime"


@pytest.mark.parametrize(
    "pasted", [" abc ", "abc\n", "'abc'", "\u201cabc\u201d", "a\u200bbc", "Bearer abc"]
)
def test_what_pasting_adds_is_taken_off_a_key(pasted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server_of("--api-key", pasted).headers == {"Authorization": "Bearer abc"}
    monkeypatch.setenv(KEY_VARIABLE, pasted)
    server = server_of()
    assert server.headers == {"Authorization": "Bearer abc"}
    assert server.key_by == KEY_VARIABLE


def test_what_pasting_adds_is_taken_off_a_model() -> None:
    assert server_of("--model", " 'whisper-1'\n").model == "whisper-1"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("", "--url: got '': it names no host"),
        (" ", "--url: got '': it names no host"),
        ("ws://", "--url: got 'ws://': it names no host"),
        ("ws:// box", "--url: got 'ws:// box': a space or a line break is in it"),
        ("ws://b\nox", "--url: got 'ws://b\\nox': a space or a line break is in it"),
        ("ws://b\x1box", "--url: got 'ws://b\\x1box': a space or a line break is in it"),
        ('"ws://box', "--url: got '\"ws://box': \"ws:// is not ws://, wss://, http:// or https://"),
        ("tcp://b:1", "--url: got 'tcp://b:1': tcp:// is not ws://, wss://, http:// or https://"),
        ("box:80000", "--url: got 'box:80000': its host or its port is wrong"),
        ("box:0", "--url: got 'box:0': its host or its port is wrong"),
        ("box:8000,", "--url: got 'box:8000,': its host or its port is wrong"),
        ("[::1", "--url: got '[::1': its host or its port is wrong"),
        ("192.168.1", "--url: got '192.168.1': '192.168.1' does not appear to be an IPv4"),
        ("ws://b\u00fc..x", "'b\u00fc..x' cannot be the name of a machine"),
    ],
)
def test_an_address_that_is_wrong_is_named_with_its_flag(
    typed: str, line: str, refusal_of: Callable[..., str]
) -> None:
    told = refusal_of("--url", typed)
    assert line in told
    assert told.startswith("--url: got ")
    assert told.endswith(SUCH_AS)


def test_a_variable_is_named_where_it_has_the_address(
    monkeypatch: pytest.MonkeyPatch, refusal_of: Callable[..., str]
) -> None:
    monkeypatch.setenv(URL_VARIABLE, "ftp://box")
    assert refusal_of().startswith("LANSCRIBE_URL: got 'ftp://box': ")
    assert server_of("--url", "box").named_by == "--url"


@pytest.mark.parametrize("empty", ["", " ", "\u200b"])
def test_a_variable_that_is_empty_is_none(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    for variable in (URL_VARIABLE, KEY_VARIABLE):
        monkeypatch.setenv(variable, empty)
    assert server_of() == Server("ws://127.0.0.1:8000/v1/realtime", named_by="")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("two words", "--api-key: ' ' is letter 4 of the 9 that were given; expected a key of"),
        ("a\u2013b", "--api-key: '\u2013' is letter 2 of the 3 that were given; expected a key of"),
        ("secret\nsecret", "--api-key: '\\n' is letter 7 of the 13 that were given"),
    ],
)
def test_a_key_that_cannot_be_sent_is_not_shown(
    key: str, line: str, refusal_of: Callable[..., str]
) -> None:
    told = refusal_of("--api-key", key)
    assert told.startswith(line)
    assert key not in told
    assert "secret" not in told


def test_a_user_and_a_key_cannot_both_be_sent(refusal_of: Callable[..., str]) -> None:
    told = refusal_of("--url", "ws://me:word@box", "--api-key", "abc")
    assert told == "--url has a user name, and --api-key a key: only one can be sent"


def test_a_user_is_sent_and_not_shown() -> None:
    server = server_of("--url", "https://me:p%40ss@box.example/speech")
    assert server.url == "wss://box.example/speech/v1/realtime"
    assert server.headers == {"Authorization": "Basic bWU6cEBzcw=="}
    assert (server.place, server.key_by) == ("box.example:443", "")


@pytest.mark.parametrize("flag", ["--save", "--captions"])
def test_a_file_without_a_name_is_wrong(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        stream_microphone.parse_options([flag, ""])
    assert f"argument {flag}: got '', expected the name of a file" in capsys.readouterr().err


def test_a_reference_without_a_name_is_wrong(refusal_of: Callable[..., str]) -> None:
    told = refusal_of("--reference", " ")
    assert told == "argument --reference: got ' ', expected the name of a file"


# What an address means.


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("ws://box", "ws://box:8000/v1/realtime"),
        ("http://box", "ws://box:8000/v1/realtime"),
        ("HTTP://box:80", "ws://box:80/v1/realtime"),
        ("box:", "ws://box:8000/v1/realtime"),
        ("wss://box", "wss://box:8443/v1/realtime"),
        ("https://BOX.local", "wss://box.local:8443/v1/realtime"),
        ("wss://box.example", "wss://box.example/v1/realtime"),
        ("wss://[fd00::7]", "wss://[fd00::7]:8443/v1/realtime"),
        ("https://box:443/", "wss://box:443/v1/realtime"),
        ("http://box:8000/v1/", "ws://box:8000/v1/realtime"),
        ("http://box:8000/v1/v1", "ws://box:8000/v1/realtime"),
        ("http://box:8000/V1/Realtime//", "ws://box:8000/v1/realtime"),
        ("http://box:8000/v1/audio/transcriptions", "ws://box:8000/v1/realtime"),
        ("http://box:8000/v1/audio/transcriptions/realtime", "ws://box:8000/v1/realtime"),
        ("http://box:8000/v1/models#top", "ws://box:8000/v1/realtime"),
        ("http://box:8000/health", "ws://box:8000/v1/realtime"),
        ("https://b.example/a//b/v1/realtime?x=1&y", "wss://b.example/a/b/v1/realtime?x=1&y"),
        ("box/spr\u00e4che", "ws://box:8000/spr%C3%A4che/v1/realtime"),
        ("b\u00fccher.example", "ws://xn--bcher-kva.example:8000/v1/realtime"),
        ("BOX.local", "ws://box.local:8000/v1/realtime"),
        ("::1", "ws://[::1]:8000/v1/realtime"),
        ("http://fd00::7/v1", "ws://[fd00::7]:8000/v1/realtime"),
        ("[fd00::7]:9", "ws://[fd00::7]:9/v1/realtime"),
        ("fe80::7%eth0", "ws://[fe80::7%eth0]:8000/v1/realtime"),
        ("ws://[fe80::7%25eth0]:9", "ws://[fe80::7%eth0]:9/v1/realtime"),
    ],
)
def test_an_address_is_what_a_person_means(typed: str, url: str) -> None:
    assert client.realtime_url(typed) == url


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("box", 8443),
        ("localhost", 8443),
        ("lanscribe.local", 8443),
        ("box.fritz.box", 8443),
        ("box.home.arpa", 8443),
        ("127.0.0.1", 8443),
        ("10.1.2.3", 8443),
        ("192.168.1.7", 8443),
        ("100.64.0.1", 8443),
        ("fd00::7", 8443),
        ("fe80::7%eth0", 8443),
        ("100.128.0.1", 443),
        ("8.8.8.8", 443),
        ("2606:4700::1", 443),
        ("box.example", 443),
        ("local.example", 443),
        ("box.tail1234.ts.net", 443),
    ],
)
def test_tls_without_a_port_is_8443_at_home_and_443_elsewhere(host: str, port: int) -> None:
    assert client.default_port("wss", host) == port
    assert client.default_port("ws", host) == 8000


@pytest.mark.parametrize(
    ("url", "place", "host", "models_url"),
    [
        ("ws://box:9/v1/realtime", "box:9", "box", "http://box:9/v1/models"),
        ("wss://box/a/v1/realtime?k=1", "box:443", "box", "https://box/a/v1/models?k=1"),
        (
            "ws://xn--bcher-kva:9/v1/realtime",
            "b\u00fccher:9",
            "xn--bcher-kva",
            "http://xn--bcher-kva:9/v1/models",
        ),
        (
            "ws://[fe80::7%eth0]:9/v1/realtime",
            "[fe80::7%eth0]:9",
            "fe80::7%eth0",
            "http://[fe80::7%25eth0]:9/v1/models",
        ),
        (
            "ws://xn--\u00fc:9/v1/realtime",
            "xn--\u00fc:9",
            "xn--\u00fc",
            "http://xn--\u00fc:9/v1/models",
        ),
    ],
)
def test_a_server_has_names_for_people_and_for_programs(
    url: str, place: str, host: str, models_url: str
) -> None:
    server = Server(url)
    assert (server.place, server.host, server.models_url) == (place, host, models_url)


# With an authority, TLS or nothing.


@pytest.fixture
def authority(tmp_path: Path) -> str:
    """A file with a certificate."""
    return str(make_certificate(tmp_path, "-nodes")[0])


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("box", "wss://box:8443"),
        ("box:9000", "wss://box:9000"),
        ("speech.example.org/a", "wss://speech.example.org/a"),
        ("fd00::7", "wss://[fd00::7]:8443"),
        ("https://box", "wss://box:8443"),
    ],
)
def test_an_address_without_a_scheme_has_tls(authority: str, typed: str, url: str) -> None:
    server = server_of("--url", typed, "--ca-file", authority)
    assert server.url == f"{url}/v1/realtime"
    assert server.context is not None


def test_the_server_of_this_machine_is_reached_by_tls_too(
    authority: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CA_VARIABLE, authority)
    for arguments in ([], ["--discover"]):
        assert server_of(*arguments).url == "wss://127.0.0.1:8443/v1/realtime"


def test_an_authority_and_no_tls_contradict_each_other(
    authority: str, refusal_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "--url: got 'ws://box:8000': with --ca-file only wss:// is used; expected such as"
    refusal = refusal_of("--url", "ws://box:8000", "--ca-file", authority)
    assert refusal == f"{told} wss://box, or leave out --ca-file"
    monkeypatch.setenv(URL_VARIABLE, "http://[fd00::7]")
    monkeypatch.setenv(CA_VARIABLE, authority)
    told = "LANSCRIBE_URL: got 'http://[fd00::7]': with LANSCRIBE_CA_FILE only wss:// is used;"
    assert refusal_of() == f"{told} expected such as wss://[fd00::7], or unset LANSCRIBE_CA_FILE"


def test_an_address_that_is_wrong_is_shown_as_it_was_typed(
    authority: str, refusal_of: Callable[..., str]
) -> None:
    assert refusal_of("--url", "box:0", "--ca-file", authority).startswith("--url: got 'box:0': ")


def test_an_authority_is_in_a_file_of_usual_size(
    tmp_path: Path, refusal_of: Callable[..., str]
) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large.pem"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(2**20 + 1)
    expected = "expected a certificate's file"
    for path in (pipe, Path("/dev/zero"), tmp_path):
        told = f"--ca-file: got '{path}': it is no regular file; {expected}"
        assert refusal_of("--url", "box", "--ca-file", str(path)) == told
    told = f"--ca-file: got '{large}': it is larger than 1 MiB; {expected}"
    assert refusal_of("--url", "box", "--ca-file", str(large)) == told


def test_the_help_says_to_whom_a_key_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        server_of("--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "a key goes to whoever answers, unless --ca-file proves who that is" in told
