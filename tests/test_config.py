import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR, config
from lanscribe.admin import sources
from lanscribe.admin.environment import HIDDEN_KEY, environment_lines
from lanscribe.admin.sources import REMOVED, load
from lanscribe.config import EngineSettings, Settings
from lanscribe.errors import ConfigError


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
        ("[auth]\nmode = 2020-01-01", ["auth.mode"]),
        ("[auth]\nproxies = ['home']", ["auth.proxies", "'home'", "IPv4 or IPv6 network"]),
        ("[server\n", ["is not TOML", "line 1"]),
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
        ("LANSCRIBE_", "1", "no such setting"),
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


def test_the_printed_environment_reads_back(file: Path) -> None:
    file.write_text(
        "[auth]\nhostnames = ['a b', 'c']\nproxies = ['10.0.0.0/8', '::1']\n"
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
