import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe import installation
from lanscribe.installation import (
    STAMP_NAME,
    Outcome,
    Pin,
    file_faults,
    lock_path,
    package_faults,
    read_pins,
    read_stamp,
    stamp_fault,
    write_stamp,
)
from tests.projects import PROJECT_DIR

LOCK = """\
# by a tool
numpy==2.4.6 \\
    --hash=sha256:00 \\
    --hash=sha256:01
Typing_Extensions==4.16.0 \\
    --hash=sha256:02
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:03
two-ways==1.0 ; python_full_version < '3.12' \\
    --hash=sha256:04
two-ways==2.0 ; python_full_version >= '3.12' \\
    --hash=sha256:05
    # via numpy==9
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a b"
    (folder / ".venv").mkdir(parents=True)
    (folder / "requirements").mkdir()
    for lock in ("embedded", "dev"):
        lock_path(lock, folder).write_text(LOCK)
    return folder


def install(site_packages: Path, name: str, version: str, files: dict[str, str]) -> None:
    """As pip does it: the files, and last the RECORD that lists them."""
    dist_info = f"{name}-{version}.dist-info"
    (site_packages / dist_info).mkdir(parents=True)
    for path, text in files.items():
        (site_packages / path).parent.mkdir(parents=True, exist_ok=True)
        (site_packages / path).write_text(text)
    rows = [f'"{path}",sha256=x,{len(text)}' for path, text in files.items()]
    rows += [f"{name}/__pycache__/x.pyc,,", f"{dist_info}/RECORD,,"]
    (site_packages / dist_info / "RECORD").write_text("\n".join(rows) + "\n")


def test_a_finished_setup_has_no_fault(project: Path) -> None:
    write_stamp("embedded", project)
    assert stamp_fault("embedded", project) == ""


def test_the_test_tools_include_everything_else(project: Path) -> None:
    write_stamp("dev", project)
    assert stamp_fault("embedded", project) == ""
    write_stamp("embedded", project)
    assert "not those of dev.txt" in stamp_fault("dev", project)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lock": "embedded"}', '{"lock": 1, "x": 2}'])
def test_a_stamp_that_is_not_whole_is_none(project: Path, text: str) -> None:
    (project / ".venv" / STAMP_NAME).write_text(text)
    assert read_stamp(project) is None
    assert "not finished" in stamp_fault("embedded", project)


def test_an_environment_that_was_moved_is_noticed(project: Path) -> None:
    write_stamp("embedded", project)
    moved = project.rename(project.with_name("elsewhere"))
    assert f"made in {project}/.venv" in stamp_fault("embedded", moved)


def test_a_changed_lock_file_is_noticed(project: Path) -> None:
    write_stamp("embedded", project)
    lock_path("embedded", project).write_text(LOCK.replace("2.4.6", "2.4.7"))
    assert "embedded.txt has changed" in stamp_fault("embedded", project)


def test_another_python_is_noticed(project: Path) -> None:
    write_stamp("embedded", project)
    stamp = project / ".venv" / STAMP_NAME
    stamp.write_text(stamp.read_text().replace(sys.implementation.cache_tag, "cpython-310"))
    assert "made for cpython-310" in stamp_fault("embedded", project)


def test_pins_are_read_with_their_conditions(project: Path) -> None:
    assert read_pins(lock_path("embedded", project)) == {
        "numpy": Pin(frozenset({"2.4.6"}), is_conditional=False),
        "typing-extensions": Pin(frozenset({"4.16.0"}), is_conditional=False),
        "colorama": Pin(frozenset({"0.4.6"}), is_conditional=True),
        "two-ways": Pin(frozenset({"1.0", "2.0"}), is_conditional=True),
    }


def test_missing_and_other_packages_are_named(project: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "typing_extensions", "4.16.0", {})
    install(site, "two_ways", "3.0", {})
    assert list(package_faults(read_pins(lock_path("embedded", project)), site)) == [
        "numpy is not installed",
        "two-ways is 3.0, not 1.0 or 2.0",
    ]


def test_files_are_compared_with_the_record(tmp_path: Path) -> None:
    install(tmp_path, "numpy", "2.4.6", {"numpy/a.py": "abc", "numpy/with, comma.py": "abc"})
    assert list(file_faults(tmp_path)) == []
    (tmp_path / "numpy/a.py").write_text("ab")
    (tmp_path / "numpy/with, comma.py").unlink()
    assert list(file_faults(tmp_path)) == [
        "numpy/a.py of numpy-2.4.6 is missing or changed",
        "numpy/with, comma.py of numpy-2.4.6 is missing or changed",
    ]


def test_a_package_cut_short_is_noticed(tmp_path: Path) -> None:
    install(tmp_path, "numpy", "2.4.6", {"numpy/a.py": "abc"})
    (tmp_path / "numpy-2.4.6.dist-info/RECORD").unlink()
    assert list(file_faults(tmp_path)) == ["numpy-2.4.6.dist-info was not fully installed"]


def test_a_module_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "COMPILED", ("math", "no_such_module"))
    assert [fault.split(":")[0] for fault in installation.import_faults()] == [
        "no_such_module cannot be loaded"
    ]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("SIGILL", ": this processor lacks an instruction that it was built for"),
        ("SIGSEGV", ": a fault of the program, of its installation or of the machine's memory"),
        ("SIGTERM", ""),
    ],
)
def test_a_module_that_ends_the_process_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, meaning: str
) -> None:
    (tmp_path / "crashing.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{name})")
    run = installation.run
    monkeypatch.setattr(installation, "run", lambda command, **more: run(command, tmp_path, **more))
    monkeypatch.setattr(installation, "COMPILED", ("math", "crashing", "json"))
    assert list(installation.import_faults()) == [
        f"crashing cannot be loaded: it was ended by {name}{meaning}"
    ]


def test_the_last_words_of_a_program_that_a_signal_ends_are_its_own_if_it_has_any() -> None:
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 4)"]
    assert installation.run(command).last_words.startswith("it was ended by SIGILL: this processor")
    assert Outcome(-4, "", "cannot go on\n").last_words == "cannot go on"
    assert Outcome(3, "").last_words == ""


@pytest.mark.parametrize("lock", installation.LOCKS)
def test_lock_files_name_no_place_and_hash_everything(lock: str) -> None:
    text = lock_path(lock).read_text()
    assert not re.search(r"https?://|--(extra-)?index|--find-links|--trusted-host", text)
    entries = re.findall(r"^\S+==.*(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+$", text, re.M)
    assert len(entries) == len(re.findall(r"^\S+==", text, re.M)) > 20


def test_lock_files_agree_with_each_other_and_with_what_was_asked_for() -> None:
    embedded, dev = (read_pins(lock_path(lock)) for lock in installation.LOCKS)
    assert embedded.items() <= dev.items()
    for name, pins in (("embedded", embedded), ("dev", dev)):
        asked = (PROJECT_DIR / f"requirements/{name}.in").read_text()
        for package, version in re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", asked, re.M):
            assert pins[package].versions == {version}


def test_a_download_runs_the_same_code_in_every_environment() -> None:
    locks = [read_pins(lock_path(name)) for name in ("embedded", "vllm", "vllm-cpu")]
    assert len({pins["huggingface-hub"].versions for pins in locks}) == 1


def test_the_installation_module_runs_without_any_package() -> None:
    script = "import sys, lanscribe.admin.doctor; print(*sorted(sys.modules))"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.append({str(PROJECT_DIR)!r});{script}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) <= {"lanscribe", "__main__"}


def test_the_stamp_is_json_for_whoever_reads_it(project: Path) -> None:
    write_stamp("dev", project)
    stamp = json.loads((project / ".venv" / STAMP_NAME).read_text())
    assert stamp["lock"] == "dev"
    assert stamp["venv"] == str(project / ".venv")
