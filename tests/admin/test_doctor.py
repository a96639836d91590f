import json
from pathlib import Path

import pytest

from lanscribe.admin import doctor, machine
from lanscribe.admin.card_checks import judge_gpu, judge_voxtral
from lanscribe.admin.check import Check
from lanscribe.admin.commands import dispatch
from lanscribe.admin.doctor import (
    Examination,
    as_json,
    judge_access,
    judge_disk,
    judge_memory,
    judge_microphone,
    judge_model,
    judge_network,
    judge_packages,
    judge_port,
    judge_portaudio,
    judge_python,
    judge_server,
    judge_settings,
    judge_tls_port,
    judge_wyoming,
    table,
)
from lanscribe.admin.environment import HIDDEN_KEY
from lanscribe.admin.machine import GraphicsFacts, KeyFacts, PortFacts
from lanscribe.identity import reachable
from lanscribe.installation import Outcome
from lanscribe.voxtral.verdict import Verdict

SMI_WORKS = Outcome(0, "GPU 0: NVIDIA GeForce RTX 3060 (UUID: GPU-5d8c2a6e)\n")
SOUND = (
    '{"version": "PortAudio V19.6.0-devel, revision 396fe4b", "microphones": ["USB Mic", "pulse"]}'
)
NO_PORTAUDIO = Outcome(1, "", "Traceback ...\nOSError: PortAudio library not found\n")
READY = (200, '{"status": "ok", "engine": "embedded"}')
LOADING = (503, '{"status": "loading", "reason": "the engine is loading"}')


def graphics(nvidia_smi: Outcome | None = None, *, card: bool = False) -> GraphicsFacts:
    return GraphicsFacts("Linux", "x86_64", nvidia_smi, has_nvidia_card=card)


def taken(health: tuple[int, str] | None, number: int = 8000) -> PortFacts:
    return PortFacts("0.0.0.0", number, "Address already in use", health)


def test_python() -> None:
    assert judge_python((3, 11, 2), "/usr/bin/python3").status == "ok"
    assert judge_python((3, 10, 12), "/usr/bin/python3").status == "fail"


def test_packages_before_setup() -> None:
    check = judge_packages(None)
    assert (check.status, check.remedy) == ("fail", "bash setup.sh")


def test_packages_in_place() -> None:
    assert judge_packages(Outcome(0, "")).status == "ok"


def test_packages_with_faults() -> None:
    check = judge_packages(Outcome(1, "numpy is not installed\nsoxr is 1, not 2\n"))
    assert (check.status, check.result) == ("fail", "numpy is not installed (and 1 more)")


def test_packages_when_their_python_does_not_run() -> None:
    check = judge_packages(Outcome(None, "", "[Errno 8] Exec format error"))
    assert (check.status, check.result) == ("fail", "[Errno 8] Exec format error")


def test_settings() -> None:
    assert judge_settings(None).status == "warn"
    assert judge_settings(Outcome(0, "LANSCRIBE_SERVER_PORT=8000\n")).status == "ok"


def test_settings_that_are_wrong_are_told_in_the_loaders_words() -> None:
    words = "config/local.toml: server.port: got 70000; it should be at most 65535"
    check = judge_settings(Outcome(2, "", f"lanscribe: {words}\n"))
    assert (check.status, check.result) == ("fail", words)


def test_settings_of_an_older_version_are_a_warning() -> None:
    old = "warning: config/local.toml: log.file_bytes has no effect any more"
    check = judge_settings(Outcome(0, "LANSCRIBE_SERVER_PORT=8000\n", f"lanscribe: {old}\n"))
    assert (check.status, check.result) == ("warn", old)
    wrong = Outcome(2, "", f"lanscribe: {old}\nlanscribe: server.port: got 'x'\n")
    assert judge_settings(wrong).result == "server.port: got 'x'"


def test_settings_that_cannot_be_read() -> None:
    check = judge_settings(Outcome(1, "", "Traceback\nModuleNotFoundError: no pydantic\n"))
    assert (check.status, check.remedy) == ("fail", "bash setup.sh")


def test_model() -> None:
    assert judge_model("base-en", Outcome(0, "")).status == "ok"
    assert judge_model("base-en", None).status == "fail"
    check = judge_model("tiny-en", Outcome(1, "", "model: tiny-en/vad.onnx is damaged\n"))
    assert check.result == "tiny-en/vad.onnx is damaged"
    assert check.remedy == "bash setup.sh --model tiny-en"


def test_portaudio_in_place() -> None:
    check = judge_portaudio("Linux", Outcome(0, SOUND), has_library=False)
    assert check == Check("portaudio", "ok", "PortAudio V19.6.0-devel")


@pytest.mark.parametrize(
    ("system", "remedy"),
    [("Linux", "sudo apt install libportaudio2"), ("Darwin", "brew install portaudio")],
)
def test_portaudio_missing_spoils_only_the_microphone_client(system: str, remedy: str) -> None:
    check = judge_portaudio(system, NO_PORTAUDIO, has_library=False)
    assert (check.status, check.remedy) == ("warn", remedy)
    assert "everything works except stream_microphone.py" in check.result


def test_portaudio_before_setup() -> None:
    assert judge_portaudio("Linux", None, has_library=True).status == "ok"
    assert judge_portaudio("Linux", None, has_library=False).status == "warn"
    assert judge_portaudio("Darwin", None, has_library=False).status == "ok"


def test_portaudio_that_crashes() -> None:
    check = judge_portaudio("Linux", Outcome(-11, "", "Segmentation fault"), has_library=False)
    assert (check.status, check.result) == ("warn", "does not work here: Segmentation fault")


def test_microphone() -> None:
    assert judge_microphone(Outcome(0, SOUND)).result == "USB Mic and 1 more"
    none = judge_microphone(Outcome(0, '{"version": "x", "microphones": []}'))
    assert (none.status, none.result) == ("warn", "none on this machine")
    assert judge_microphone(NO_PORTAUDIO).status == "warn"
    assert judge_microphone(None).status == "warn"


def test_memory_and_disk() -> None:
    assert judge_memory(16_000_000_000, 1).result == "16.0 GB of memory, 1 core"
    assert judge_memory(512_000_000, 4).status == "warn"
    assert judge_disk(80_000_000_000).status == "ok"
    assert judge_disk(400_000_000).status == "warn"


def test_gpu_none() -> None:
    assert judge_gpu(graphics(), None) == Check("gpu", "ok", "none; the CPU engine serves")


MISMATCH = (
    "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95"
)


@pytest.mark.parametrize("card", [True, False])
def test_a_driver_that_was_updated_while_it_ran(card: bool) -> None:
    check = judge_gpu(graphics(Outcome(18, MISMATCH), card=card), None)
    assert check.status == "warn"
    assert "the NVIDIA driver was updated while it ran" in check.result
    assert check.remedy == "restart the machine, then: bash setup.sh"


@pytest.mark.parametrize(("value", "status"), [("1", "warn"), ("0", "ok"), ("", "ok")])
def test_a_frontend_of_vllm_without_realtime_is_named(value: str, status: str) -> None:
    environ = {"VLLM_USE_RUST_FRONTEND": value}
    check = judge_voxtral(None, Outcome(0, ""), None, environ)
    assert check.status == status
    assert ("VLLM_USE_RUST_FRONTEND=1, and that frontend has no" in check.result) == (value == "1")


def test_gpu_that_will_do() -> None:
    verdict = Verdict("rtx3060-12gb", True, "RTX 3060; Voxtral runs on it")
    check = judge_gpu(graphics(SMI_WORKS, card=True), verdict)
    assert check == Check("gpu", "ok", "RTX 3060; Voxtral runs on it")


def test_gpu_that_will_never_do_is_nothing_to_worry_about() -> None:
    verdict = Verdict("", False, "GTX 1080; too old; the CPU engine serves")
    assert judge_gpu(graphics(SMI_WORKS, card=True), verdict).status == "ok"


def test_gpu_that_would_do_with_another_driver() -> None:
    verdict = Verdict("", False, "RTX 3060; the driver is older", "install NVIDIA's driver 580")
    check = judge_gpu(graphics(SMI_WORKS, card=True), verdict)
    assert (check.status, check.remedy) == ("warn", "install NVIDIA's driver 580")


def test_gpu_whose_driver_fails() -> None:
    words = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    check = judge_gpu(graphics(Outcome(9, words), card=True), None)
    assert check.status == "warn"
    assert words in check.result
    assert (
        check.remedy == "reinstall the NVIDIA driver (on WSL2 in Windows), then restart the machine"
    )


def test_gpu_without_a_driver() -> None:
    check = judge_gpu(graphics(card=True), None)
    assert (check.status, "without NVIDIA's driver" in check.result) == ("ok", True)
    assert check.remedy == (
        "to use it install NVIDIA's driver 580 or newer (in a container: start that with"
        " --gpus all), then: bash setup.sh"
    )


def test_nvidia_smi_left_over_without_a_card() -> None:
    check = judge_gpu(graphics(Outcome(9, "failed")), None)
    assert check.result == "none; the CPU engine serves"


def test_apple_silicon() -> None:
    check = judge_gpu(GraphicsFacts("Darwin", "arm64", None, has_nvidia_card=False), None)
    assert (check.status, "Apple silicon" in check.result) == ("ok", True)


@pytest.mark.parametrize("verdict", [None, Verdict("", False, "too old")])
def test_voxtral_without_a_card_for_it(verdict: Verdict | None) -> None:
    check = judge_voxtral(verdict, None, "the Voxtral model is not here")
    assert check == Check("voxtral", "ok", "not set up: no card for it")


@pytest.mark.parametrize(
    ("packages", "files_fault", "result", "remedy"),
    [
        (None, "no model", "not set up yet; the CPU engine serves", "bash setup.sh"),
        (
            Outcome(1, "torch is not installed\nvllm is not installed\n"),
            None,
            "torch is not installed",
            "bash setup.sh, which rebuilds .venv-vllm",
        ),
        (
            Outcome(None, "", "Exec format error"),
            None,
            "Exec format error",
            "bash setup.sh, which rebuilds .venv-vllm",
        ),
        (Outcome(0, ""), "params.json is missing", "params.json is missing", "bash setup.sh"),
    ],
)
def test_voxtral_that_is_not_whole_leaves_the_cpu_engine(
    packages: Outcome | None, files_fault: str | None, result: str, remedy: str
) -> None:
    verdict = Verdict("rtx3060-12gb", True, "RTX 3060")
    check = judge_voxtral(verdict, packages, files_fault)
    assert check == Check("voxtral", "warn", result, remedy)


def test_voxtral_in_place() -> None:
    check = judge_voxtral(Verdict("8gb", True, "RTX 3070"), Outcome(0, ""), None)
    assert check == Check("voxtral", "ok", "vLLM and the model are in place")


def test_port_free() -> None:
    facts = PortFacts("0.0.0.0", 8000, "", None)
    assert judge_port(facts) == Check("port", "ok", "8000 is free")
    assert judge_server(facts).result == "not running"
    assert judge_port(PortFacts("0.0.0.0", 0, "", None)).result == "any free one"


def test_port_where_lanscribe_runs() -> None:
    assert judge_port(taken(READY)) == Check("port", "ok", "8000: lanscribe is running there")
    assert judge_server(taken(READY)) == Check("server", "ok", "ready")


def test_server_that_is_loading() -> None:
    assert judge_port(taken(LOADING)).status == "ok"
    check = judge_server(taken(LOADING))
    assert (check.status, check.result) == ("warn", "not ready: the engine is loading")


@pytest.mark.parametrize("body", ["", "<html>", "[]", '"ok"', '{"status": "green"}'])
def test_port_taken_by_another_web_server(body: str) -> None:
    check = judge_port(taken((200, body)))
    assert (check.status, check.result) == ("fail", "8000 is taken by another web server")
    assert check.remedy.endswith("bash serve.sh --port 8001")
    assert judge_server(taken((200, body))).result == "not running"


def test_port_taken_by_something_else() -> None:
    check = judge_port(taken(None, 65_535))
    assert check.result == "cannot listen on 0.0.0.0:65535: Address already in use"
    assert check.remedy.endswith("--port 8000")


def test_the_port_for_tls() -> None:
    free = PortFacts("0.0.0.0", 8443, "")
    assert judge_tls_port(free, is_own=True) == Check("tls", "ok", "8443 is free")
    running = judge_tls_port(taken(READY, 8443), is_own=True)
    assert running.result == "8443: lanscribe is running there"
    assert judge_tls_port(taken(None, 8443), is_own=False).status == "warn"
    check = judge_tls_port(taken(None, 8443), is_own=True)
    assert (check.status, "tls.port in config/local.toml" in check.remedy) == ("fail", True)


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ('{"type": "info"}\n{"asr": [{"name": "lanscribe"}]}', None),
        ('{"type": "error"}\n{"code": "engine_unavailable"}', None),
        ('{"type": "info"}\n{"asr": [{"name": "faster-whisper"}]}', "another server for Home"),
        ("", "cannot listen on 0.0.0.0:10300: Address already in use"),
    ],
)
def test_the_port_for_home_assistant(answer: str, result: str | None) -> None:
    check = judge_wyoming(PortFacts("0.0.0.0", 10300, "Address already in use", wyoming=answer))
    if result is None:
        assert check == Check("wyoming", "ok", "10300: lanscribe is running there")
    else:
        assert (check.status, result in check.result) == ("warn", True)
        assert "wyoming.port in config/local.toml" in check.remedy


def test_home_assistants_port_free_or_not_wanted() -> None:
    assert judge_wyoming(PortFacts("0.0.0.0", 10300, "")).result == "10300 is free"
    assert judge_wyoming(None).result == "off in the settings"


@pytest.mark.parametrize(
    ("lines", "tls", "wyoming"),
    [
        ("", "any free one; your own certificate, 20 days left", 0),
        ("LANSCRIBE_TLS_MODE=off\n", "off in the settings", 0),
        ("LANSCRIBE_WYOMING_ENABLED=False\n", "any free one; your own", None),
    ],
)
def test_ports_are_asked_about_when_the_settings_want_them(
    monkeypatch: pytest.MonkeyPatch, lines: str, tls: str, wyoming: int | None
) -> None:
    lines += "LANSCRIBE_TLS_PORT=0\nLANSCRIBE_WYOMING_PORT=0\n"
    monkeypatch.setattr(machine, "settings", lambda _: Outcome(0, lines))
    examination = doctor.Examination()
    told = '{"mode": "own", "days_left": 20, "readable_by_others": "", "trouble": ""}'
    monkeypatch.setattr(machine, "certificate", lambda _: Outcome(0, told))
    assert examination.tls.result.startswith(tls)
    assert (examination.wyoming and examination.wyoming.port) == wyoming


def test_network() -> None:
    assert judge_network(["192.168.1.5", "box.local"]).result == "192.168.1.5, box.local"
    assert judge_network(["box.local"]).status == "warn"
    assert judge_network([]).status == "warn"
    assert judge_network(["100.64.0.7"]).status == "ok"


def test_network_with_ipv6_only() -> None:
    found = ["fd00::7", "lanscribe.local"]
    assert judge_network(found, "::").result == "fd00::7, lanscribe.local"
    told = judge_network(found, "0.0.0.0")
    assert told.status == "warn"
    assert "fd00::7" in told.result
    assert told.remedy == 'set server.host = "::" in config/local.toml'
    assert (
        judge_network(["192.168.1.5", *found], "0.0.0.0").result == "192.168.1.5, lanscribe.local"
    )


def test_the_addresses_come_from_the_environment_and_before_setup_from_the_routes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lanscribe.identity.network.routed_addresses", lambda: ["192.168.1.5"])
    assert machine.addresses(tmp_path) == ["192.168.1.5"]
    monkeypatch.undo()
    assert {*reachable.addresses("::")} <= {*machine.addresses()}


def test_the_table_is_aligned_and_puts_the_remedy_below() -> None:
    checks = [Check("gpu", "ok", "none"), Check("packages", "fail", "one\ntwo", "bash setup.sh")]
    assert table(checks).splitlines() == [
        "ok    gpu       none",
        "fail  packages  one",
        "                two",
        "                -> bash setup.sh",
    ]


def test_json_is_what_the_docstring_says() -> None:
    checks = [Check("gpu", "ok", "none"), Check("disk", "warn", "0.4 GB free", "free some")]
    report = json.loads(as_json(checks))
    assert report == {
        "ok": True,
        "checks": [
            {"name": "gpu", "status": "ok", "result": "none", "remedy": ""},
            {"name": "disk", "status": "warn", "result": "0.4 GB free", "remedy": "free some"},
        ],
    }
    assert json.loads(as_json([Check("disk", "fail", "none")]))["ok"] is False


def test_every_check_bears_its_name_and_the_status_follows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "run_in_venv", lambda *_, **__: None)
    assert dispatch(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in report["checks"]] == list(doctor.CHECKS)
    assert dispatch(["doctor", "--only", "memory", "--only", "gpu"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()][:1] == ["memory"]


def test_broken_settings_do_not_hide_the_other_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "settings", lambda _: Outcome(2, "", "lanscribe: wrong\n"))
    dispatch(["doctor", "--only", "settings", "--only", "port"])
    assert "8000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mode", "key", "status", "words"),
    [
        ("lan", KeyFacts("config/key", is_there=True), "ok", "others with the key in config/key"),
        ("lan", KeyFacts("config/key", is_there=False), "ok", "no key for others"),
        ("key", KeyFacts("config/key", is_there=True), "ok", "only with the key in config/key"),
        ("key", KeyFacts("config/key", is_there=False), "fail", "config/key is missing"),
        ("lan", KeyFacts("k", is_there=True, is_readable_by_others=True), "warn", "can read"),
        ("open", KeyFacts("config/key", is_there=True), "warn", "anybody"),
    ],
)
def test_access(mode: str, key: KeyFacts, status: str, words: str) -> None:
    check = judge_access(mode, key)
    assert (check.status, words in check.result) == (status, True)
    assert (check.status == "ok") == (check.remedy == "")


@pytest.mark.parametrize("has_key", [True, False])
def test_access_proposes_the_networks_at_hand(has_key: bool) -> None:
    key = KeyFacts("config/key", is_there=has_key)
    check = judge_access("lan", key, ["tailscale", "own-prefix"])
    assert check.status == "ok"
    assert check.remedy == (
        "for your tailnet and your IPv6 prefix to come in without the key,"
        " add to auth.networks: tailscale, own-prefix"
    )
    for mode in ("key", "open"):
        assert "networks" not in judge_access(mode, key, ["tailscale"]).remedy


def test_networks_that_are_named_are_not_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "home_networks", lambda _: ["tailscale", "own-prefix"])
    examination = Examination()
    examination.__dict__["values"] = {"LANSCRIBE_AUTH_NETWORKS": "own-prefix"}
    assert examination.offers == ["tailscale"]
    examination.__dict__["values"] = {}
    assert examination.offers == ["tailscale", "own-prefix"]


def test_the_networks_at_hand_are_asked_for_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert machine.home_networks(tmp_path) == []
    assert {*machine.home_networks()} <= {"tailscale", "own-prefix"}
    done = Outcome(0, "tailscale own-prefix\n")
    monkeypatch.setattr(machine, "run_in_venv", lambda *_: done)
    assert machine.home_networks() == ["tailscale", "own-prefix"]


def test_where_the_key_is(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("x")
    (tmp_path / "k").chmod(0o644)
    values = {"LANSCRIBE_AUTH_KEY_FILE": "k"}
    assert machine.key(values, tmp_path) == KeyFacts("k", True, is_readable_by_others=True)
    (tmp_path / "k").chmod(0o600)
    assert machine.key(values, tmp_path) == KeyFacts("k", is_there=True)
    assert not machine.key({}, tmp_path).is_there
    shown = machine.parse_environment(f"LANSCRIBE_AUTH_MODE=key\n{HIDDEN_KEY}\n")
    assert machine.key(shown, tmp_path) == KeyFacts("the settings", is_there=True)
