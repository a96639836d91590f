import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR, config
from lanscribe.admin import sources
from lanscribe.admin.environment import HIDDEN_KEY, environment_lines
from lanscribe.admin.sources import _LISTS, REMOVED, load
from lanscribe.config import AuthSettings, EngineSettings, Settings
from lanscribe.errors import ConfigError
from lanscribe.voxtral.delay import DELAYS_MS

SETTINGS = list(config.documented_keys())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "test.toml"


def complaint(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file=file)
    return caught.value.public_message


def test_the_shipped_file_holds_every_default() -> None:
    shipped = load(file=PROJECT_DIR / "config/lanscribe.toml")
    assert shipped == Settings()
    assert shipped.model_dump(exclude_unset=True) == Settings().model_dump()


def test_the_shipped_file_and_the_docs_explain_every_key() -> None:
    shipped = (PROJECT_DIR / "config/lanscribe.toml").read_text()
    documented = (PROJECT_DIR / "docs/configuration.md").read_text()
    for _, key, text in config.documented_keys():
        assert text
        assert f"# {text} Allowed: " in shipped
        assert f"| `{key}` |" in documented
        assert text in documented


def test_later_sources_overrule_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, local = tmp_path / "lanscribe.toml", tmp_path / "local.toml"
    shipped.write_text(
        "[server]\nport = 1\nhost = '10.0.0.1'\n[engine]\nsessions = 1\n[limits]\nconnections = 1"
    )
    local.write_text("[server]\nport = 2\n[engine]\nsessions = 2\n[limits]\nconnections = 2")
    monkeypatch.setattr(sources, "DEFAULT_FILES", (shipped, local))
    environ = {"LANSCRIBE_LIMITS_CONNECTIONS": "3", "LANSCRIBE_ENGINE_SESSIONS": "3", "PATH": "/"}
    settings = load(environ=environ, flags={"engine.sessions": "4"})
    assert settings.server.host == "10.0.0.1"
    assert settings.server.port == 2
    assert settings.limits.connections == 3
    assert settings.engine.sessions == 4


def test_a_file_that_is_not_there_by_default_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "DEFAULT_FILES", (tmp_path / "none.toml",))
    assert load() == Settings()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[server]\nport = 99999", ["server.port", "99999", "65535"]),
        ("[server]\nport = '8000'", ["server.port", "'8000'", "integer"]),
        ("[server]\nport = true", ["server.port", "True", "integer"]),
        ("[server]\nprot = 1", ["server.prot", "no such setting", "server.port"]),
        ("[sever]\nport = 1", ["sever", "no such setting"]),
        ("port = 9000", ["port: no such setting", "belongs below [server] or "]),
        ("server = 1", ["server", "got 1", "table"]),
        ("[limits]\nidle_timeout_s = nan", ["limits.idle_timeout_s"]),
        ("[limits]\nidle_timeout_s = 0", ["limits.idle_timeout_s", "greater than 0"]),
        ("[auth]\nmode = 'none'", ["auth.mode", "'none'", "'lan', 'key' or 'open'"]),
        ("[auth]\nhostnames = 'box'", ["auth.hostnames", "'box'"]),
        *(
            (
                f"[auth]\nhostnames = ['{name}']",
                ["auth.hostnames", name, "name or an address alone"],
            )
            for name in (
                "https://box.example.org",
                "*.example.org",
                "box.example.org:8443",
                "box.example.org/",
                "[fd00::7]",
                "b\u00fccher.example",
                "a b",
                "-a",
                ".",
            )
        ),
        ("[auth]\nhostnames = ['']", ["auth.hostnames", "name or an address alone"]),
        ("[auth]\nmode = 2020-01-01", ["auth.mode"]),
        ("[auth]\nproxies = ['home']", ["auth.proxies", "'home'", "IPv4 or IPv6 network"]),
        ("[server\n", ["is not TOML", "line 1"]),
        ("[server]\nport = 1\nport = 2", ["is not TOML: line 3: port is there a second time"]),
        ("[server]\nport = " + 9999 * "[", ["is not TOML"]),
        ("[server]\nport = " + 9999 * "9", ["is not TOML"]),
        ("#" * 300_000, ["got a file of more than 262144 bytes"]),
        ("\n".join(f"x{n} = 1" for n in range(30)), ["x19: no such setting", ": 10 more"]),
        ("[server]\nport = 0.5\nhost = 5", ["server.port", "server.host"]),
    ],
)
def test_a_bad_value_names_file_key_value_and_what_is_allowed(
    file: Path, text: str, parts: list[str]
) -> None:
    message = complaint(file, text)
    for part in [str(file), *parts]:
        assert part in message


def test_a_whole_number_will_do_for_seconds(file: Path) -> None:
    file.write_text("[limits]\nidle_timeout_s = 5")
    assert load(file=file).limits.idle_timeout_s == 5.0


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig"])
def test_the_mark_that_windows_puts_before_a_text_is_no_part_of_it(file: Path, coding: str) -> None:
    file.write_text("[server]\nport = 9000\n", encoding=coding)
    assert load(file=file).server.port == 9000


def test_a_file_in_another_coding_is_to_be_saved_again(file: Path) -> None:
    file.write_text("[server]\nhost = 'küche'\n", encoding="latin-1")
    with pytest.raises(ConfigError) as caught:
        load(file=file)
    assert caught.value.public_message == (
        f"{file}: is not TOML: it is not UTF-8 from byte 18 on; save it as UTF-8"
    )


WRONG_VALUES = ("[]", "{}", "''", "'x'", "true", "-1", "1.5", "1e99", "nan", "inf", "['a', 1]")


@pytest.mark.parametrize(("table", "key"), [(table, key) for table, key, _ in SETTINGS])
def test_no_setting_is_refused_in_the_words_of_the_library(
    file: Path, table: str, key: str
) -> None:
    told = []
    for value in WRONG_VALUES:
        file.write_text(f"[{table}]\n{key} = {value}\n")
        with suppress(ConfigError):
            load(file=file)
            continue
        told.append(complaint(file, f"[{table}]\n{key} = {value}\n"))
    for value in ("x", "-1", "1.5", "nan", "1e99", "\u00e4,,"):
        try:
            load(environ={f"LANSCRIBE_{table}_{key}".upper(): value})
        except ConfigError as error:
            told.append(error.public_message)
    assert told
    for message in told:
        assert not re.search(r"Input|[Vv]alue error|parse|pattern|valid |tuple|instance", message)
        assert "; it should be " in message or "does not appear to be an IPv4" in message
        assert message.count("\n") == 0 or key in _LISTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[vllm]\ndelay_ms = 1280",
            "vllm.delay_ms: got 1280; it should be at most 1200, or 2400: the model was not trained"
            " for delays between them (How far",
        ),
        ("[vllm]\nurl = 'box:8001'", "got 'box:8001'; it should be http://HOST:PORT, or empty ("),
        ("[vllm]\nmax_model_len = 100", "got 100; it should be 0, or 825 (a minute of audio) or m"),
        (
            "[rollover]\ntarget_s = 400",
            "rollover.target_s: got 400; it should be at most rollover.limit_s, which is 300"
            " (by default)",
        ),
        (
            "[rollover]\nlimit_s = 100",
            "rollover.limit_s: got 100; it should be at least rollover.target_s, which is 240 by"
            " default",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_the_start(
    file: Path, text: str, message: str
) -> None:
    assert message in complaint(file, text)


def test_the_delays_of_the_settings_are_those_of_the_model() -> None:
    def is_taken(delay_ms: int) -> bool:
        with suppress(ConfigError):
            return load(flags={"vllm.delay_ms": str(delay_ms)}).vllm.delay_ms == delay_ms
        return False

    assert tuple(filter(is_taken, range(0, 3000, 80))) == DELAYS_MS


def test_the_file_the_variable_or_the_flag_that_was_given_is_named(file: Path) -> None:
    file.write_text("[rollover]\ntarget_s = 290")
    environ = {"LANSCRIBE_ROLLOVER_LIMIT_S": "250"}
    with pytest.raises(ConfigError) as caught:
        load(file=file, environ=environ)
    assert caught.value.public_message == (
        f"{file}: rollover.target_s: got 290; it should be at most rollover.limit_s, which is 250"
        " (environment: LANSCRIBE_ROLLOVER_LIMIT_S)"
    )
    with pytest.raises(ConfigError, match=r"^command line: --tls-port: got 'x'; it should"):
        load(flags={"tls.port": "x"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load(file=tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_named(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(file=file)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("LANSCRIBE_SERVER_PORT", "eight", "LANSCRIBE_SERVER_PORT: got 'eight'"),
        ("LANSCRIBE_SERVER_PROT", "1", "LANSCRIBE_SERVER_PROT: no such setting"),
        ("LANSCRIBE_NONSENSE", "1", "LANSCRIBE_NONSENSE: no such setting"),
        ("LANSCRIBE_NONSENSE_OF_MINE", "1", "LANSCRIBE_NONSENSE_OF_MINE: no such setting"),
        ("LANSCRIBE_SERVER", "1", "LANSCRIBE_SERVER: no such setting"),
        ("LANSCRIBE_server_Port", "x", "LANSCRIBE_server_Port: got 'x'"),
        ("LANSCRIBE_AUTH_PROXIES", "x", "LANSCRIBE_AUTH_PROXIES: got 'x'"),
        ("LANSCRIBE_", "1", "LANSCRIBE_: no such setting"),
    ],
)
def test_a_bad_variable_is_named(name: str, value: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={name: value})
    assert part in caught.value.public_message


def test_aliases_are_understood_and_ours_overrule_them() -> None:
    aliases = {
        "VOXTRAL_API_KEY": "theirs",
        "MAX_CONCURRENT_CONNECTIONS": "7",
        "WS_MAX_CONNECTION_DURATION_S": "5400",
    }
    settings = load(environ=aliases)
    assert settings.auth.key.get_secret_value() == "theirs"
    assert (settings.engine.sessions, settings.limits.session_s) == (7, 5400)
    both = load(environ={**aliases, "LANSCRIBE_AUTH_KEY": "ours", "LANSCRIBE_ENGINE_SESSIONS": "2"})
    assert (both.auth.key.get_secret_value(), both.engine.sessions) == ("ours", 2)
    assert load(environ=dict.fromkeys(aliases, "")) == load()


def test_the_key_of_yap_is_required_as_there(file: Path) -> None:
    file.write_text("[auth]\nmode = 'lan'\nkey = 'that of the file'")
    assert load(file=file).auth.key_name == f"{file}: auth.key"
    environ = {"VOXTRAL_API_KEY": "that of yap"}
    auth = load(file=file, environ=environ).auth
    assert (auth.mode, auth.key_name) == ("key", "VOXTRAL_API_KEY")
    ours = load(file=file, environ={**environ, "LANSCRIBE_AUTH_KEY": "ours"}).auth
    assert (ours.mode, ours.key_name) == ("key", "LANSCRIBE_AUTH_KEY")
    for given in ({"environ": {**environ, "LANSCRIBE_AUTH_MODE": "open"}}, {"environ": environ}):
        flags = {} if len(given["environ"]) > 1 else {"auth.mode": "open"}
        assert load(file=file, flags=flags, **given).auth.mode == "open"


@pytest.mark.parametrize("value", ["1001", "2000", "1e9", "inf", "0", "-1"])
def test_no_number_of_yaps_connections_stops_the_server(value: str) -> None:
    """It bounds the sessions; where it bounds nothing, the machine's measure remains."""
    names = ("MAX_CONCURRENT_CONNECTIONS", "WS_MAX_CONNECTION_DURATION_S")
    settings = load(environ={names[0]: value, names[1]: "inf"})
    assert settings == Settings()
    embedded = settings.engine.model_copy(update={"name": "embedded"})
    assert embedded.capacity(lambda: 4) == 4


@pytest.mark.parametrize(
    ("before", "alias", "sessions", "session_s"),
    [(8, 100, 8, 8), (8, 3, 3, 3), (8, 0, 8, 8), (0, 100, 100, 100), (0, 0, 0, 0)],
)
def test_an_alias_lowers_a_bound_and_never_raises_it(
    file: Path, before: int, alias: int, sessions: int, session_s: float
) -> None:
    file.write_text(f"[engine]\nsessions = {before}\n[limits]\nsession_s = {before}")
    names = ("MAX_CONCURRENT_CONNECTIONS", "WS_MAX_CONNECTION_DURATION_S")
    settings = load(file=file, environ=dict.fromkeys(names, str(alias)))
    assert (settings.engine.sessions, settings.limits.session_s) == (sessions, session_s)


@pytest.mark.parametrize(
    ("environ", "capacity"),
    [
        ({}, 4),
        ({"MAX_CONCURRENT_CONNECTIONS": "100"}, 4),
        ({"MAX_CONCURRENT_CONNECTIONS": "3"}, 3),
        ({"LANSCRIBE_ENGINE_SESSIONS": "100"}, 100),
        ({"MAX_CONCURRENT_CONNECTIONS": "3", "LANSCRIBE_ENGINE_SESSIONS": "100"}, 100),
    ],
)
def test_only_our_own_name_allows_more_sessions_than_the_machine_holds(
    environ: dict[str, str], capacity: int
) -> None:
    engine = load(environ=environ).engine.model_copy(update={"name": "embedded"})
    assert engine.capacity(lambda: 4) == capacity


def test_what_the_machine_holds_is_measured_only_where_it_counts() -> None:
    def measure() -> int:
        raise AssertionError

    assert EngineSettings(sessions=7).capacity(measure) == 7


def test_a_setting_of_an_older_version_is_named_and_has_no_effect(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for table, keys in REMOVED.items():
        for key in keys:
            file.write_text(f"[{table}]\n{key} = 'anything'")
            variable = f"LANSCRIBE_{table}_{key}".upper()
            assert load(file=file, environ={variable: "anything"}) == Settings()
            assert capsys.readouterr().err == (
                f"lanscribe: warning: {file}: {table}.{key} has no effect any more\n"
                f"lanscribe: warning: environment: {variable} has no effect any more\n"
            )


@pytest.mark.parametrize("document", sorted((PROJECT_DIR / "docs").glob("*.md")), ids=str)
def test_no_document_names_a_setting_of_an_older_version(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = [f"`{table}.{key}`" for table, keys in REMOVED.items() for key in keys]
    assert not [name for name in named if name in text]


def test_no_setting_is_both_there_and_removed() -> None:
    assert not {(table, key) for table, key, _ in config.documented_keys()} & {
        (table, key) for table, keys in REMOVED.items() for key in keys
    }


def test_an_alias_that_is_wrong_is_named_as_it_was_given() -> None:
    with pytest.raises(ConfigError, match="environment: MAX_CONCURRENT_CONNECTIONS: got 'many'"):
        load(environ={"MAX_CONCURRENT_CONNECTIONS": "many"})


def test_the_key_is_never_shown(file: Path) -> None:
    assert "53cr3t" not in complaint(file, "[auth]\nkey = ['53cr3t']")
    settings = load(environ={"LANSCRIBE_AUTH_KEY": "53cr3t"})
    printed = "\n".join(environment_lines(settings))
    assert "53cr3t" not in printed + repr(settings)
    assert HIDDEN_KEY in printed


def test_the_clients_variables_are_not_settings() -> None:
    assert load(environ={"LANSCRIBE_URL": "ws://box:8000", "LANSCRIBE_API_KEY": "k"}) == load()


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://HA.example:443", "https://ha.example"),
        ("http://ha.example:80", "http://ha.example"),
        ("https://ha.example:8443", "https://ha.example:8443"),
        ("http://ha.example:443", "http://ha.example:443"),
        ("https://[fd00::80]", "https://[fd00::80]"),
        ("app://obsidian.md", "app://obsidian.md"),
    ],
)
def test_an_origin_is_as_browsers_send_it(given: str, origin: str) -> None:
    assert AuthSettings.model_validate({"origins": [given]}).origins == (origin,)


@pytest.mark.parametrize("name", ["box", "Box.Example.org.", "xn--bcher-kva.example", "fd00::7"])
def test_a_hostname_is_a_name_or_an_address_alone(name: str) -> None:
    assert AuthSettings.model_validate({"hostnames": [name]}).hostnames == (name,)


def test_the_printed_environment_reads_back(file: Path) -> None:
    file.write_text(
        "[vllm]\narguments = 'a b'\n[auth]\nhostnames = ['a.b', 'c']\n"
        "proxies = ['10.0.0.0/8', '::1']\n"
        "origins = ['https://a.example:8443']\nnetworks = ['tailscale']\n"
        "[limits]\nidle_timeout_s = 7"
    )
    settings = load(file=file)
    script = "\n".join(["set -a", *environment_lines(settings), "env -0"])
    output = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env={}
    ).stdout
    environ = dict(line.split("=", 1) for line in output.split("\0") if "=" in line)
    assert load(environ=environ) == settings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["check-config"], 0),
        (["check-config", "--port", "x"], 2),
        (["print-env", "--port", "70000"], 2),
        (["check-config", "--delay-ms", "960", "--profile", "24gb"], 0),
        (["check-config", "--delay-ms", "961"], 2),
        (["serve", "--config", "none.toml"], 2),
        (["serve", "--nonsense"], 2),
        ([], 2),
    ],
)
def test_exit_status_and_one_clear_line(arguments: list[str], status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lanscribe", *arguments],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == bool(status)


@pytest.mark.slow
def test_print_env_shows_a_flag() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lanscribe", "print-env", "--port", "1234"],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "LANSCRIBE_SERVER_PORT=1234" in done.stdout
