"""The download against a hub of the tests' own, with the real client code on a real socket."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from lanscribe.voxtral import files as voxtral_files
from lanscribe.voxtral import hub_download
from lanscribe.voxtral.files import FILES, REPOSITORY, WEIGHTS, FilesError, adopt, fault, install
from tests.model_hub import COMMIT, Fault, Hub, Server
from tests.projects import DEADLINE_S, copy_project
from tests.voxtral_copy import CONTENT, MIB, PARAMS

UNWANTED = {"model.safetensors": b"the same once more", "README.md": b"# Voxtral"}


def redirect_library(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT does when huggingface_hub is imported."""
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the model; this process and those it starts take it for the real one."""
    hub = Hub(REPOSITORY, CONTENT | UNWANTED, frozenset({WEIGHTS, "tekken.json"}))
    with Server(hub, "hub") as first, Server(hub, "content") as second:
        threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            for server in (first, second)
        ]
        for thread in threads:
            thread.start()
        hub.url, hub.content_url = first.url, second.url
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        redirect_library(monkeypatch, hub.url)
        yield hub
        huggingface_hub.close_session()
        for server in (first, second):
            server.shutdown()
        for thread in threads:
            thread.join()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token and no settings of whoever runs the tests."""
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the model goes."""
    return tmp_path / "a b" / "voxtral"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the model that somebody has already."""
    copy = tmp_path / "other disk"
    copy.mkdir()
    for name, content in (CONTENT | UNWANTED).items():
        (copy / name).write_bytes(content)
    return copy


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time here."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


def run(
    project: Path, *arguments: str, action: str = "install", **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m lanscribe models install voxtral` in a copy of the project."""
    return subprocess.run(
        command(*arguments, action=action),
        env={**os.environ, "PYTHONPATH": str(project), **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def command(*arguments: str, action: str = "install") -> list[str]:
    models = ["-m", "lanscribe", "models", action, "voxtral"]
    return [sys.executable, "-P", "-W", "error", *models, *arguments]


def assert_whole(folder: Path) -> None:
    assert fault(folder, thorough=True) is None
    assert {path.name for path in folder.iterdir()} == {*FILES, "manifest.json"}
    for name in FILES:
        assert (folder / name).read_bytes() == CONTENT[name]


def partial_of_weights(folder: Path) -> Path:
    (partial,) = folder.glob(f".{WEIGHTS}.*.partial")
    return partial


# The command line.


def test_the_four_files_are_fetched_and_a_second_run_changes_nothing(
    hub: Hub, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "a b" / "lanscribe")
    folder = project / "models/voxtral-mini-4b-realtime"
    done = run(project)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert f"voxtral: the model is in {folder}\n" in done.stderr
    assert_whole(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["repository"], manifest["commit"]) == (REPOSITORY, COMMIT)
    asked = len(hub.requests)
    again = run(project)
    assert (again.returncode, len(hub.requests)) == (0, asked)
    assert again.stderr == f"voxtral: the model is in {folder}; nothing to do\n"


def test_looking_needs_no_installed_package(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "lanscribe")
    models = [sys.executable, "-S", "-P", "-m", "lanscribe", "models"]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [*models, "check", "voxtral"]
    check = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (check.returncode, b"is not in" in check.stderr) == (1, True)
    command = [*models, "install", "voxtral"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, b"is not installed; run again" in done.stderr) == (1, True)


def test_a_process_that_died_is_continued_where_it_was(hub: Hub, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "lanscribe")
    largest_file_is_2_mib = ["bash", "-c", 'ulimit -f 2048; exec "$@"', "-"]
    dying = subprocess.run(
        [*largest_file_is_2_mib, *command()],
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (dying.returncode, "File too large" in dying.stderr) == (1, True), dying.stderr
    folder = project / "models/voxtral-mini-4b-realtime"
    assert "is not in" in (fault(folder) or "")
    assert partial_of_weights(folder).stat().st_size == 2 * MIB
    assert run(project).returncode == 0
    assert hub.ranges(WEIGHTS) == ["", f"bytes={2 * MIB}-"]
    assert_whole(folder)


def test_ctrl_c_leaves_what_was_fetched_and_says_how_to_go_on(hub: Hub, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "lanscribe")
    held = threading.Event()

    def interrupt() -> None:
        process.send_signal(signal.SIGINT)
        held.wait(DEADLINE_S)

    hub.faults[WEIGHTS].append(Fault(cut_at=2 * MIB, after=interrupt))
    process = subprocess.Popen(
        command(),
        env={**os.environ, "PYTHONPATH": str(project)},
        stderr=subprocess.PIPE,
        text=True,
    )
    _, errors = process.communicate(timeout=DEADLINE_S)
    held.set()
    assert (process.returncode, "interrupted; to continue" in errors) == (130, True), errors
    assert run(project).returncode == 0
    assert_whole(project / "models/voxtral-mini-4b-realtime")


def test_offline_with_nothing_there(hub: Hub, tmp_path: Path) -> None:
    done = run(copy_project(tmp_path / "lanscribe"), HF_HUB_OFFLINE="1")
    assert (done.returncode, hub.requests) == (1, [])
    assert "HF_HUB_OFFLINE forbids the network" in done.stderr
    assert "bash setup.sh --model-dir DIR" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_offline_with_everything_there(tmp_path: Path, copy: Path) -> None:
    project = copy_project(tmp_path / "lanscribe")
    assert run(project, "--model-dir", str(copy)).returncode == 0
    done = run(project, HF_HUB_OFFLINE="1")
    assert (done.returncode, "nothing to do" in done.stderr) == (0, True)
    assert run(project, action="check").returncode == 0


# A download that goes wrong.


def test_a_cut_connection_is_taken_up_where_it_was_cut(
    hub: Hub, folder: Path, pauses: list[float]
) -> None:
    hub.faults[WEIGHTS] += [Fault(cut_at=MIB + 7), Fault(cut_at=MIB)]
    assert install(folder)
    first, second, third = hub.ranges(WEIGHTS)
    assert first == ""
    assert 0 < int(second[len("bytes=") : -1]) <= MIB + 7
    assert int(second[len("bytes=") : -1]) < int(third[len("bytes=") : -1])
    assert pauses == []
    assert_whole(folder)


def test_a_server_that_cannot_continue_sends_all_of_it_again(
    hub: Hub, folder: Path, pauses: list[float]
) -> None:
    hub.faults[WEIGHTS] += [Fault(cut_at=2 * MIB), Fault(ignores_range=True)]
    assert install(folder)
    assert len(hub.ranges(WEIGHTS)) == 2
    assert_whole(folder)


def test_a_connection_that_brings_nothing_new_is_given_up_and_continued_by_the_next_run(
    hub: Hub, folder: Path, pauses: list[float]
) -> None:
    hub.faults[WEIGHTS] += [Fault(cut_at=2 * MIB), *[Fault(cut_at=0)] * 6]
    with pytest.raises(FilesError, match=r"cannot fetch consolidated\.safetensors"):
        install(folder)
    assert pauses == list(hub_download.PAUSES_S) == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert partial_of_weights(folder).stat().st_size >= MIB
    assert install(folder)
    assert_whole(folder)


def test_a_server_that_always_cuts_and_cannot_continue_is_given_up(
    hub: Hub, folder: Path, pauses: list[float]
) -> None:
    hub.faults[WEIGHTS] += [Fault(cut_at=2 * MIB, ignores_range=True)] * 100
    with pytest.raises(FilesError, match="check the network"):
        install(folder)
    assert len(hub.ranges(WEIGHTS)) < 10


def test_a_hub_that_limits_its_clients_is_asked_again_when_it_says(
    hub: Hub, folder: Path, pauses: list[float]
) -> None:
    hub.faults[WEIGHTS] += [Fault(status=429, retry_after_s=7), Fault(cut_at=2 * MIB)]
    hub.faults[WEIGHTS] += [Fault(status=429)] * 2
    assert install(folder)
    assert pauses == [8, 1, 2]  # a second more than it says
    assert len(hub.ranges(WEIGHTS)) == 5
    assert_whole(folder)


def test_a_hub_that_always_limits_is_given_up(hub: Hub, folder: Path, pauses: list[float]) -> None:
    hub.faults[WEIGHTS] += [Fault(status=429)] * 100
    with pytest.raises(FilesError, match="the status 429; try again later"):
        install(folder)
    assert len(pauses) < 10


def test_wrong_bytes_are_fetched_once_more(hub: Hub, folder: Path) -> None:
    hub.faults[WEIGHTS].append(Fault(content=bytes(len(CONTENT[WEIGHTS]))))
    assert install(folder)
    assert_whole(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "params.json"])
@pytest.mark.parametrize("length", [-10, 0, 10, 2 * MIB])
def test_wrong_bytes_again_and_again_are_told(
    hub: Hub, folder: Path, name: str, length: int
) -> None:
    wrong = bytes(max(len(CONTENT[name]) + length, 0))
    hub.faults[name] += [Fault(content=wrong)] * 4
    with pytest.raises(FilesError, match=f"{name} is not what .* announces") as caught:
        install(folder)
    assert f"downloaded {hub_download.DOWNLOADS} times" in str(caught.value)
    assert not list(folder.glob(".*.partial"))
    assert "is not in" in (fault(folder) or "")


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_hub_that_lies_about_a_size(hub: Hub, folder: Path, difference: int) -> None:
    hub.sizes[WEIGHTS] = len(CONTENT[WEIGHTS]) + difference
    with pytest.raises(FilesError, match="is not what"):
        install(folder)


def test_an_answer_without_end_does_not_fill_the_disk(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults["params.json"] += [Fault(content=bytes(64 * MIB))] * 2
    written: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: written.append(os.fstat(number).st_size))
    with pytest.raises(FilesError, match="is not what"):
        install(folder)
    assert max(written) <= hub_download.CHUNK_BYTES


def test_a_partial_file_that_was_damaged_is_fetched_anew(hub: Hub, folder: Path) -> None:
    hub.faults[WEIGHTS].append(Fault(status=500))
    with pytest.raises(FilesError):
        install(folder)
    partial_of_weights(folder).write_bytes(bytes(2 * MIB))
    assert install(folder)
    assert hub.ranges(WEIGHTS)[1:] == [f"bytes={2 * MIB}-", ""]
    assert_whole(folder)


def test_a_partial_file_that_is_too_long_is_fetched_anew(hub: Hub, folder: Path) -> None:
    hub.faults[WEIGHTS].append(Fault(status=500))
    with pytest.raises(FilesError):
        install(folder)
    partial_of_weights(folder).write_bytes(bytes(9 * MIB))
    assert install(folder)
    assert_whole(folder)


def test_two_downloads_at_once_do_not_mix(hub: Hub, folder: Path) -> None:
    errors: list[FilesError] = []

    def meanwhile() -> None:
        with pytest.raises(FilesError) as caught:
            install(folder)
        errors.append(caught.value)

    hub.faults["config.json"].append(Fault(before=meanwhile))
    assert install(folder)
    assert "another process is fetching config.json" in str(errors[0])
    assert_whole(folder)


# A hub that refuses.


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "requires a token (401); set HF_TOKEN"),
        (403, f"access is denied (403); accept the terms at {{url}}/{REPOSITORY}"),
        (404, f"{{url}}/{REPOSITORY} does not exist (404); check HF_ENDPOINT"),
        (500, "answers with the status 500; try again later"),
    ],
)
@pytest.mark.parametrize("where", ["listing", "params.json"])
def test_a_refusal_is_told_with_its_remedy(
    hub: Hub, folder: Path, status: int, words: str, where: str
) -> None:
    hub.faults[where].append(Fault(status=status))
    with pytest.raises(FilesError) as caught:
        install(folder)
    assert words.format(url=hub.url) in str(caught.value)
    assert "bash setup.sh" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_token_is_sent_to_the_hub_and_to_nobody_else(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert install(folder)
    to_content = [headers for server, _, headers in hub.requests if server == "content"]
    assert to_content
    assert not any("authorization" in headers for headers in to_content)


def test_a_wrong_token_is_told_and_not_shown(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_mistyped")
    with pytest.raises(FilesError, match="does not accept the token") as caught:
        install(folder)
    assert "hf_mistyped" not in str(caught.value)


def test_a_repository_without_one_of_the_files(hub: Hub, folder: Path) -> None:
    del hub.files["tekken.json"]
    with pytest.raises(FilesError, match=f"{REPOSITORY} has no tekken.json"):
        install(folder)


def test_a_repository_that_has_become_another_model(hub: Hub, folder: Path) -> None:
    hub.files["params.json"] = json.dumps(PARAMS | {"dim": 4096}).encode()
    with pytest.raises(FilesError, match=f"has changed, in its commit {COMMIT}") as caught:
        install(folder)
    assert "params.json has dim = 4096, not the 3072" in str(caught.value)
    assert "update lanscribe, then run again: bash setup.sh, or: " in str(caught.value)
    assert hub.ranges(WEIGHTS) == []


def test_a_login_page_in_between(hub: Hub, folder: Path) -> None:
    hub.faults["listing"].append(Fault(content=b"<html>Welcome to Hotel Wi-Fi</html>"))
    with pytest.raises(FilesError, match="a login page"):
        install(folder)


def test_without_a_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redirect_library(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(FilesError, match=r"check the network; then run again: bash setup\.sh"):
        install(folder)


# The disk.


def test_too_little_space_is_told_before_anything_is_fetched(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))(10**10, 10**10, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FilesError, match=r"1.0 GB are free in .*, 1.0 GB are needed"):
        install(folder)
    assert [path for _, path, _ in hub.requests] == [f"/api/models/{REPOSITORY}"]


def test_a_disk_that_fills_up_is_told(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FilesError, match="the disk is full"):
        install(folder)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in the way")
    with pytest.raises(FilesError, match="cannot write to"):
        install(tmp_path / "models/voxtral")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_shrank_is_noticed_and_only_that_is_fetched(
    hub: Hub, folder: Path, name: str
) -> None:
    install(folder)
    with (folder / name).open("r+b") as file:
        file.truncate(5)
    assert f"{name} is damaged: 5 bytes" in (fault(folder) or "")
    before = {other: len(hub.ranges(other)) for other in FILES}
    assert install(folder)
    assert {other for other in FILES if len(hub.ranges(other)) > before[other]} == {name}
    assert_whole(folder)


def test_a_file_that_changed_in_place_is_noticed_by_the_thorough_check(
    hub: Hub, folder: Path
) -> None:
    install(folder)
    with (folder / WEIGHTS).open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"?")
    assert fault(folder) is None
    assert f"{WEIGHTS} is damaged: its hash" in (fault(folder, thorough=True) or "")


def test_a_file_that_vanished(hub: Hub, folder: Path) -> None:
    install(folder)
    (folder / "params.json").unlink()
    assert "params.json is missing" in (fault(folder) or "")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {"a": 1}}'])
def test_a_manifest_that_is_damaged(hub: Hub, folder: Path, content: str) -> None:
    install(folder)
    (folder / "manifest.json").write_text(content)
    assert "cannot be used" in (fault(folder) or "")
    asked = len(hub.requests)
    assert install(folder)
    assert len(hub.requests) == asked + 1
    assert_whole(folder)


# A copy that is here already.


def test_a_copy_is_linked_and_not_copied(folder: Path, copy: Path) -> None:
    assert adopt(copy, folder)
    assert_whole(folder)
    assert all((folder / name).is_symlink() for name in FILES)
    assert {path.name for path in copy.iterdir()} == {*CONTENT, *UNWANTED}
    assert not adopt(copy, folder)
    assert not install(folder)


def test_a_copy_in_the_models_own_folder_is_taken_as_it_is(folder: Path, copy: Path) -> None:
    shutil.copytree(copy, folder)
    assert adopt(folder, folder)
    assert fault(folder, thorough=True) is None
    assert not (folder / WEIGHTS).is_symlink()
    assert not adopt(folder, folder)


def test_another_copy_replaces_the_links_to_the_first(
    folder: Path, copy: Path, tmp_path: Path
) -> None:
    adopt(copy, folder)
    copy.rename(tmp_path / "moved")
    assert "is missing" in (fault(folder) or "")
    assert adopt(tmp_path / "moved", folder)
    assert_whole(folder)


def test_a_whole_download_is_not_thrown_away_for_a_copy(hub: Hub, folder: Path, copy: Path) -> None:
    install(folder)
    with pytest.raises(FilesError, match="a complete copy is in"):
        adopt(copy, folder)
    assert_whole(folder)


def test_a_disk_that_is_not_mounted_starts_no_download(
    hub: Hub, folder: Path, copy: Path, tmp_path: Path
) -> None:
    adopt(copy, folder)
    copy.rename(tmp_path / "away")
    with pytest.raises(FilesError, match="or download the model: rm -rf"):
        install(folder)
    (tmp_path / "away").rename(copy)
    assert not install(folder)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (WEIGHTS, CONTENT[WEIGHTS][:-1], "it is incomplete"),
        (WEIGHTS, b"version https://git-lfs.github.com/spec/v1\n", "not in the safetensors"),
        (WEIGHTS, b"", "not in the safetensors"),
        ("params.json", b"{", "cannot be read"),
        ("params.json", b"[]", "cannot be read"),
        ("params.json", b'{"dim": 4096}', "has dim = 4096, not the 3072"),
        ("params.json", json.dumps(PARAMS | {"n_layers": 30}).encode(), "has n_layers = 30"),
        ("tekken.json", b"{}", "no settings for audio"),
        ("config.json", b"", "cannot be read"),
    ],
)
def test_what_cannot_be_the_model_is_refused(
    folder: Path, copy: Path, name: str, content: bytes, words: str
) -> None:
    (copy / name).write_bytes(content)
    with pytest.raises(FilesError, match=words):
        adopt(copy, folder)
    assert not folder.exists()


def test_another_models_params_are_refused(folder: Path, copy: Path) -> None:
    text_only = {key: value for key, value in PARAMS.items() if key != "multimodal"}
    (copy / "params.json").write_text(json.dumps(text_only))
    with pytest.raises(FilesError, match="describes no audio encoder"):
        adopt(copy, folder)


def test_a_folder_without_the_files_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FilesError, match=r"it has no config.json, params.json"):
        adopt(tmp_path / "nowhere", folder)


def test_approximate_size_is_that_of_the_published_files() -> None:
    assert 8_860_000_000 < voxtral_files.APPROXIMATE_BYTES < 9_500_000_000
