import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.admin import fitness
from lanscribe.admin.fitness import Machine, fault_of, read_machine, temporary_fault
from tests.admin.tmpfs import tiny_folder
from tests.nvml import NO_PACKAGE
from tests.projects import write_script

# Of /proc/cpuinfo in a virtual machine of Proxmox, whose default processor is kvm64, and of N100.
KVM64_FLAGS = (
    "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2"
    " ht syscall nx lm constant_tsc nopl xtopology cpuid pni cx16 x2apic hypervisor pti"
)
KVM64 = f"""processor\t: 0
model name\t: Common KVM processor
flags\t\t: {KVM64_FLAGS}

processor\t: 1
model name\t: Common KVM processor
flags\t\t: none
"""
N100_FLAGS = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush dts acpi mmx"
    " fxsr sse sse2 ss ht tm pbe syscall nx pdpe1gb rdtscp lm constant_tsc pni pclmulqdq dtes64"
    " ssse3 sdbg fma cx16 xtpr pdcm sse4_1 sse4_2 x2apic movbe popcnt aes xsave avx lahf_lm abm"
)
LINUX = Machine(
    "Linux",
    "x86_64",
    64,
    glibc=(2, 36),
    processor_flags=frozenset(N100_FLAGS.split()),
    processor="Intel(R) N100",
)
MAC = Machine("Darwin", "arm64", 64, macos=(14, 0))
ARM = Machine("Linux", "aarch64", 64, glibc=(2, 28), processor_flags=frozenset({"fp", "asimd"}))


@pytest.mark.parametrize("machine", [LINUX, MAC, ARM, replace(LINUX, processor_flags=frozenset())])
def test_machines_that_will_do(machine: Machine) -> None:
    assert fault_of(machine) is None


def test_a_processor_that_is_too_old_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(KVM64)
    found = read_machine(tmp_path / "cpuinfo")
    kvm = replace(LINUX, processor_flags=found.processor_flags, processor=found.processor)
    assert fault_of(kvm) == (
        "the processor (Common KVM processor) is older than x86-64-v2, which the packages are built"
        " for: it lacks lahf_lm, popcnt, sse4_1, sse4_2, ssse3",
        "in a virtual machine give it the processor of the host (Proxmox: Hardware, Processors,"
        ' Type "host"; QEMU: -cpu host), then: bash setup.sh; without one use a machine from 2009'
        " or later",
    )


@pytest.mark.parametrize(
    ("machine", "why", "remedy"),
    [
        (
            replace(ARM, bits=32),
            "this Python has 32 bits, and the packages are built for 64 (aarch64 is the kernel's",
            "Raspberry Pi OS (64-bit)",
        ),
        (replace(ARM, architecture="armv7l"), "not built for Linux armv7l", "x86-64 or arm64"),
        (replace(LINUX, system="FreeBSD"), "not built for FreeBSD x86_64", "use Linux"),
        (replace(MAC, architecture="x86_64"), "not built for Darwin x86_64", "Apple silicon"),
        (replace(MAC, architecture="x86_64", is_rosetta=True), "(Rosetta)", "/opt/homebrew"),
        (replace(LINUX, glibc=(2, 27)), "glibc 2.28 or newer, here is 2.27", "Ubuntu 20.04"),
        (replace(LINUX, glibc=None), "(musl, as of Alpine)", "debian:12-slim"),
        (replace(MAC, macos=(13, 7)), "macOS 14 or newer, here is 13.7", "upgrade macOS"),
    ],
)
def test_machines_that_no_package_runs_on(machine: Machine, why: str, remedy: str) -> None:
    fault = fault_of(machine)
    assert fault is not None
    assert why in fault[0]
    assert remedy in fault[1]


def test_this_machine_is_read() -> None:
    assert read_machine().bits == 64
    assert fault_of(read_machine()) is None
    assert read_machine(Path("/no/such")).processor_flags == frozenset()


def test_a_small_folder_for_temporary_files_is_named_with_a_larger_one() -> None:
    tmp = Path("/tmp")
    assert temporary_fault(tmp, 250_000_000, None) is None
    assert temporary_fault(tmp, 64_000_000, Path("/var/tmp")) == (
        "64 MB are free in /tmp, where pip unpacks; it needs 250 MB",
        "TMPDIR='/var/tmp' bash setup.sh",
    )
    assert temporary_fault(tmp, 0, None) == (
        "0 MB are free in /tmp, where pip unpacks; it needs 250 MB",
        "free some in /tmp",
    )


def ask(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`lanscribe fitness` without a card, or with the programs in this folder."""
    (folder / "pynvml.py").write_text(NO_PACKAGE)
    surroundings = {
        **os.environ,
        "PYTHONPATH": f"{folder}:{PROJECT_DIR}",
        "PATH": f"{folder}:/usr/bin:/bin",
    }
    command = [sys.executable, "-P", "-m", "lanscribe", "fitness"]
    return subprocess.run(
        command,
        env={**surroundings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory of 8 MB."""
    with tiny_folder(tmp_path / "tiny") as folder:
        yield folder


def test_a_real_tiny_folder_is_told(tmp_path: Path, tiny: Path) -> None:
    done = ask(tmp_path, TMPDIR=str(tiny))
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == [
        "setup: lanscribe cannot be set up here",
        f"       why:  8 MB are free in {tiny}, where pip unpacks; it needs 250 MB",
    ]
    (tiny / "full").write_bytes(bytes(1))
    with (tiny / "full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(2**16))
    assert ask(tmp_path).returncode == 0


def test_a_program_that_tells_another_machine_is_believed(tmp_path: Path) -> None:
    write_script(tmp_path / "uname", '[ "$1" = -m ] && echo riscv64 || echo Linux')
    done = ask(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not built for Linux riscv64" in done.stderr


def test_a_card_that_will_not_be_used_is_told_before_the_download(tmp_path: Path) -> None:
    words = "Failed to initialize NVML: Driver/library version mismatch"
    write_script(tmp_path / "nvidia-smi", f"echo '{words}'; exit 18")
    done = ask(tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("setup: warning: the NVIDIA driver was updated while it ran")
    assert done.stderr.endswith("next: restart the machine, then: bash setup.sh\n")


def test_a_folder_that_is_none_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setenv("TMPDIR", "/no/such")
    fault = fitness._temporary_fault()
    assert fault is not None
    assert fault[0].startswith("0 MB are free in /no/such")
