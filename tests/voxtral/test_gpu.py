"""The facts about the card, from stand-ins for NVIDIA's library and program."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe.voxtral import gpu
from lanscribe.voxtral.verdict import Card, Process
from tests.nvml import NO_DRIVER, NO_PACKAGE, RTX_3060, put_large_disk, put_nvml
from tests.projects import PROJECT_DIR, write_script

SMI_LINE = "NVIDIA GeForce RTX 3060, GPU-5d8c2a6e, 12288, 11804, 8.6, 580.95.05\n"
CARD = Card("NVIDIA GeForce RTX 3060", "GPU-5d8c2a6e", 12288, 11804, (8, 6), "580.95.05")


def ask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m lanscribe gpu` with what is in this folder instead of NVIDIA's."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}:{PROJECT_DIR}",
        "PATH": f"{folder}:/usr/bin:/bin",
    }
    return subprocess.run(
        [sys.executable, "-P", "-m", "lanscribe", "gpu", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def found_card(folder: Path) -> Card | None:
    found = json.loads(ask(folder, "--json").stdout)["card"]
    if found is None:
        return None
    processes = tuple(Process(**entry) for entry in found.pop("processes"))
    cuda = found.pop("cuda")
    capability = tuple(found.pop("capability"))
    assert found.pop("is_mig") is False
    return Card(
        **found,
        capability=capability,
        cuda=tuple(cuda) if cuda else None,
        processes=processes,
    )


def test_the_library_is_asked(tmp_path: Path) -> None:
    programs = {
        2100: ("G", "/usr/lib/xorg/Xorg vt2", 310),
        9000: ("C", "/usr/bin/python3", None),
        9100: ("G", "", 5),
        9200: ("G", "/tmp/a\x1b[2Jb", 5),
    }
    put_nvml(tmp_path, RTX_3060 | {"processes": programs})
    card = found_card(tmp_path)
    assert card == Card(
        "NVIDIA GeForce RTX 3060",
        "GPU-5d8c2a6e",
        12288,
        11804,
        (8, 6),
        "580.95.05",
        (13, 0),
        (
            Process(9000, "python3", None),
            Process(2100, "Xorg", 310),
            Process(9100, "a program", 5),
            Process(9200, "a program", 5),
        ),
    )


def test_what_an_old_driver_cannot_tell_is_left_out(tmp_path: Path) -> None:
    put_nvml(tmp_path, RTX_3060 | {"processes": None, "cuda": 0})
    assert found_card(tmp_path) == CARD


def test_the_best_of_two_cards_is_taken(tmp_path: Path) -> None:
    put_large_disk(tmp_path)
    pascal = RTX_3060 | {"name": "GTX 1080 Ti", "capability": (6, 1), "free_mib": 12000}
    put_nvml(tmp_path, pascal, RTX_3060)
    card = found_card(tmp_path)
    assert card is not None
    assert card.name == "NVIDIA GeForce RTX 3060"
    assert ask(tmp_path).returncode == (0 if platform.machine() == "x86_64" else gpu.NOT_USABLE)


@pytest.mark.parametrize("library", [NO_PACKAGE, NO_DRIVER])
def test_without_the_library_nvidia_smi_is_asked(tmp_path: Path, library: str) -> None:
    (tmp_path / "pynvml.py").write_text(library)
    write_script(tmp_path / "nvidia-smi", f"echo '{SMI_LINE.strip()}'")
    assert found_card(tmp_path) == CARD


@pytest.mark.parametrize("library", [NO_PACKAGE, NO_DRIVER])
@pytest.mark.parametrize(
    "program", ["exit 9", "echo No devices were found", "echo 'Unknown Error'; exit 255", ""]
)
def test_without_a_card(tmp_path: Path, library: str, program: str) -> None:
    (tmp_path / "pynvml.py").write_text(library)
    write_script(tmp_path / "nvidia-smi", program)
    done = ask(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (gpu.NO_CARD, "", "")
    assert found_card(tmp_path) is None


def test_the_exit_status_is_the_verdict(tmp_path: Path) -> None:
    put_nvml(tmp_path, RTX_3060 | {"capability": (6, 1)})
    done = ask(tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (gpu.NOT_USABLE, 1)
    put_nvml(tmp_path, RTX_3060 | {"driver": "535.183.01"})
    done = ask(tmp_path)
    assert done.returncode == gpu.NOT_USABLE


def test_smi_lines_that_are_none_are_left_out() -> None:
    lines = "Warning: infoROM is corrupted\n" + SMI_LINE + "a, b, 12288, 11804, none, 580\n"
    assert gpu.parse_smi(lines) == [CARD]


@pytest.mark.parametrize("told", ["[N/A]", "N/A", "[Not Supported]"])
def test_a_card_without_memory_of_its_own_is_a_card(told: str) -> None:
    line = f"NVIDIA GB10, GPU-1, {told}, {told}, 12.1, 580.95.05\n"
    assert gpu.parse_smi(line) == [Card("NVIDIA GB10", "GPU-1", 0, 0, (12, 1), "580.95.05")]


def test_a_card_whose_memory_the_library_does_not_tell_is_said(tmp_path: Path) -> None:
    put_large_disk(tmp_path)
    put_nvml(tmp_path, RTX_3060 | {"name": "NVIDIA GB10", "total_mib": None})
    done = ask(tmp_path)
    assert done.returncode == gpu.NOT_USABLE
    assert "NVIDIA GB10, whose memory the driver does not tell (on Jetson and GB10" in done.stdout
    assert "-> run vLLM for Voxtral by yourself" in done.stdout


@pytest.mark.skipif(platform.machine() != "x86_64", reason="vLLM is for x86-64 here")
def test_a_card_that_is_divided_is_said(tmp_path: Path) -> None:
    put_large_disk(tmp_path)
    put_nvml(tmp_path, RTX_3060 | {"mig": 1})
    done = ask(tmp_path)
    assert done.returncode == gpu.NOT_USABLE
    assert "divided into parts (MIG mode)" in done.stdout
    assert "-> turn that off: sudo nvidia-smi -i GPU-5d8c2a6e -mig 0; then: bash" in done.stdout


@pytest.mark.skipif(platform.machine() != "x86_64", reason="vLLM is for x86-64 here")
def test_a_card_that_is_not_divided_is_taken(tmp_path: Path) -> None:
    put_large_disk(tmp_path)
    put_nvml(tmp_path, RTX_3060 | {"mig": 0})
    assert ask(tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("Linux version 5.15.167.4-microsoft-standard-WSL2 (root@f9c826d3017f)", True),
        ("Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)", True),
        ("Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)", False),
        ("", False),
    ],
)
def test_is_wsl(version: str, expected: bool) -> None:
    assert gpu.is_wsl(version) is expected


def test_available_ram() -> None:
    meminfo = "MemTotal: 16316412 kB\nMemFree: 1 kB\nMemAvailable:   12000000 kB\n"
    assert gpu.available_ram_bytes(meminfo) == 12_288_000_000
    assert gpu.available_ram_bytes("") is None


def test_vllm_is_known_by_its_title_and_its_folder(tmp_path: Path) -> None:
    here, core = tmp_path / "lanscribe", "VLLM::EngineCore"
    for pid, title, folder in (
        ("1", "init", here),
        ("77", "python\0-m\0vllm", here),
        ("78", core, tmp_path),
        ("self", core, here),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_text(title)
        (tmp_path / pid / "cwd").symlink_to(folder)
    assert not gpu.is_vllm_running(tmp_path, here)
    (tmp_path / "77/cmdline").write_text(core)
    assert gpu.is_vllm_running(tmp_path, here)
    (tmp_path / "77/cwd").unlink()
    assert not gpu.is_vllm_running(tmp_path, here)


def test_this_machine(tmp_path: Path) -> None:
    host = gpu.read_host(project=tmp_path)
    assert host.free_disk_bytes > 0
    assert host.needed_disk_bytes >= gpu.PACKAGES_BYTES
    assert gpu.read_host(model_is_here=True, project=tmp_path).needed_disk_bytes == (
        gpu.PACKAGES_BYTES
    )
