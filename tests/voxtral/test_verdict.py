from dataclasses import replace

import pytest

from lanscribe.voxtral.asked import Asked
from lanscribe.voxtral.verdict import Card, Host, Process, Verdict, best, judge, visible

HOST = Host(
    system="Linux",
    architecture="x86_64",
    glibc=(2, 36),
    is_wsl=False,
    available_ram_bytes=14_000_000_000,
    free_disk_bytes=100_000_000_000,
    needed_disk_bytes=27_200_000_000,
    is_vllm_running=False,
)
WSL = replace(HOST, is_wsl=True)
RTX_3060 = Card(
    name="NVIDIA GeForce RTX 3060",
    uuid="GPU-3060",
    total_mib=12288,
    free_mib=11804,
    capability=(8, 6),
    driver="580.95.05",
    cuda=(13, 0),
)
RTX_3060_IN_A_GAME = replace(
    RTX_3060,
    free_mib=6144,
    processes=(
        Process(2100, "Xorg", 310),
        Process(9000, "witcher3.exe", 5400),
        Process(2300, "gnome-shell", 190),
        Process(2500, "firefox", 120),
    ),
)
RTX_3090 = Card("NVIDIA GeForce RTX 3090", "GPU-3090", 24576, 23900, (8, 6), "590.48.01", (13, 1))
RTX_3070 = Card("NVIDIA GeForce RTX 3070", "GPU-3070", 8192, 7700, (8, 6), "580.95.05", (13, 0))
RTX_3050 = Card("NVIDIA GeForce RTX 3050", "GPU-3050", 6144, 5900, (8, 6), "580.95.05", (13, 0))
A100 = Card("NVIDIA A100-SXM4-40GB", "GPU-A100", 40960, 40000, (8, 0), "580.95.05", (13, 0))
GTX_1080 = Card("NVIDIA GeForce GTX 1080 Ti", "GPU-1080", 11264, 10900, (6, 1), "580.95.05")
RTX_2080 = Card("NVIDIA GeForce RTX 2080 Ti", "GPU-2080", 11264, 10900, (7, 5), "580.95.05")
OLD_DRIVER = replace(RTX_3060, driver="535.183.01", cuda=(12, 2))


@pytest.mark.parametrize(
    ("card", "profile"),
    [(RTX_3060, "rtx3060-12gb"), (RTX_3090, "24gb"), (RTX_3070, "8gb"), (A100, "24gb")],
    ids=["3060", "3090", "3070", "A100"],
)
def test_cards_that_will_do(card: Card, profile: str) -> None:
    verdict = judge(card, HOST)
    assert (verdict.profile, verdict.will_run, verdict.remedy) == (profile, True, "")
    assert verdict.result.endswith(f"Voxtral runs on it, with the profile {profile}")


def test_the_card_is_described() -> None:
    assert judge(RTX_3060, HOST).result.startswith(
        "NVIDIA GeForce RTX 3060, 12288 MiB (11804 free), compute capability 8.6, driver 580.95.05;"
    )


@pytest.mark.parametrize("card", [GTX_1080, RTX_2080], ids=["Pascal", "Turing"])
def test_a_generation_that_is_too_old_has_no_remedy(card: Card) -> None:
    verdict = judge(card, HOST)
    assert verdict == Verdict("", False, verdict.result, "")
    assert "too old: 8.0 or more is needed" in verdict.result
    assert verdict.result.endswith("the CPU engine serves")


def test_a_card_with_too_little_memory_has_no_remedy() -> None:
    verdict = judge(RTX_3050, HOST)
    assert (verdict.profile, verdict.remedy) == ("", "")
    assert "too little memory" in verdict.result


def test_an_old_driver() -> None:
    verdict = judge(OLD_DRIVER, HOST)
    assert (verdict.profile, verdict.will_run) == ("", False)
    assert "the driver is older than the 580 that CUDA 13 needs" in verdict.result
    assert verdict.remedy == (
        "install NVIDIA's driver 580 or newer, restart the machine; then: bash setup.sh"
    )


def test_an_old_driver_on_wsl_is_windows_own() -> None:
    assert judge(OLD_DRIVER, WSL).remedy == (
        "in Windows install NVIDIA's driver 580 or newer; wsl --shutdown; then: bash setup.sh"
    )


@pytest.mark.parametrize("driver", ["", "unknown", "x580"])
def test_a_driver_that_does_not_say_its_version_is_taken_for_old(driver: str) -> None:
    assert "the driver is older" in judge(replace(RTX_3060, driver=driver), HOST).result


def test_what_cannot_be_mended_is_told_first() -> None:
    assert "too old: 8.0" in judge(replace(GTX_1080, driver="470.1"), HOST).result


def test_memory_that_others_hold_is_told_with_their_names() -> None:
    verdict = judge(RTX_3060_IN_A_GAME, HOST)
    assert (verdict.profile, verdict.will_run) == ("rtx3060-12gb", False)
    assert "when 7837 MiB of its memory are free" in verdict.result
    assert verdict.result.endswith(
        "used by witcher3.exe (5400 MiB), Xorg (310 MiB), gnome-shell (190 MiB)"
    )
    assert verdict.remedy == "close these, then: bash serve.sh"


@pytest.mark.parametrize(
    ("free_mib", "share"), [(11_804, 0.66), (8400, 0.65), (7837, 0.61), (7836, 0.0)]
)
def test_the_share_is_what_the_card_has_left(free_mib: int, share: float) -> None:
    verdict = judge(replace(RTX_3060, free_mib=free_mib), HOST)
    assert (verdict.gpu_memory_utilization, verdict.will_run) == (share, share > 0)


def test_a_profile_that_is_asked_for_is_judged_instead() -> None:
    assert judge(RTX_3060, HOST, "fp8-12gb").gpu_memory_utilization == 0.79
    too_large = judge(RTX_3060, HOST, "bf16-24gb")
    assert (too_large.profile, too_large.will_run) == ("bf16-24gb", False)
    assert too_large.result.endswith("its memory is too small for the profile")
    assert too_large.remedy == 'set vllm.profile to "auto"'


def test_memory_that_others_hold_on_wsl_where_names_are_not_told() -> None:
    verdict = judge(replace(RTX_3060, free_mib=6144), WSL)
    assert verdict.remedy.startswith("close what uses the card (games, browsers)")


def test_a_program_whose_share_is_not_told() -> None:
    card = replace(RTX_3060, free_mib=100, processes=(Process(7, "game", None),))
    assert judge(card, HOST).result.endswith("used by game")


def test_memory_that_vllm_holds_is_in_good_hands() -> None:
    card = replace(RTX_3060, free_mib=900)
    busy = replace(HOST, is_vllm_running=True, available_ram_bytes=4_000_000_000)
    assert judge(card, busy).will_run
    assert judge(card, busy).remedy == ""


def test_too_little_disk_for_what_is_to_come() -> None:
    verdict = judge(RTX_3060, replace(HOST, free_disk_bytes=20_000_000_000))
    assert (verdict.profile, verdict.remedy) == ("", "free some, then: bash setup.sh")
    assert "20.0 GB of the disk are free, vLLM and the model need 27.2 GB" in verdict.result


def test_a_full_disk_does_not_matter_when_all_is_in_place() -> None:
    assert judge(RTX_3060, replace(HOST, free_disk_bytes=0, needed_disk_bytes=0)).will_run


@pytest.mark.parametrize(("host", "words"), [(HOST, "close what"), (WSL, ".wslconfig")])
def test_little_memory_of_the_machine_is_a_warning(host: Host, words: str) -> None:
    verdict = judge(RTX_3060, replace(host, available_ram_bytes=5_100_000_000))
    assert verdict.will_run
    assert "only 5.1 GB of the machine's own memory are free" in verdict.result
    assert words in verdict.remedy


def test_memory_of_the_machine_that_is_not_known() -> None:
    assert judge(RTX_3060, replace(HOST, available_ram_bytes=None)).remedy == ""


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (replace(HOST, architecture="aarch64"), "not Linux aarch64"),
        (replace(HOST, system="FreeBSD"), "not FreeBSD x86_64"),
        (replace(HOST, glibc=(2, 31)), "glibc 2.34 or newer, here is 2.31"),
        (replace(HOST, glibc=None), "here is another C library"),
    ],
)
def test_machines_that_vllm_has_no_packages_for(host: Host, words: str) -> None:
    verdict = judge(RTX_3060, host)
    assert words in verdict.result
    assert verdict.profile == ""


def test_a_card_in_parts_is_told_how_to_be_whole() -> None:
    verdict = judge(replace(RTX_3060, is_mig=True), HOST)
    assert (verdict.profile, verdict.will_run) == ("", False)
    assert "it is divided into parts (MIG mode), which setup does not use" in verdict.result
    assert verdict.remedy == (
        "turn that off: sudo nvidia-smi -i GPU-3060 -mig 0; then: bash setup.sh"
    )


def test_a_card_that_does_not_tell_its_memory_is_said() -> None:
    spark = Card("NVIDIA GB10", "GPU-1", 0, 0, (12, 1), "580.95.05")
    verdict = judge(spark, replace(HOST, architecture="aarch64"))
    assert verdict.result.startswith("NVIDIA GB10, whose memory the driver does not tell (on Jets")
    assert "not Linux aarch64" in verdict.result
    assert "vllm.url" in verdict.remedy
    assert "without that Voxtral cannot be planned" in judge(spark, HOST).result


LONG = Asked(max_model_len=131_072)


def test_sizes_that_fit_are_planned() -> None:
    longer = judge(RTX_3060, HOST, asked=Asked(max_model_len=8192))
    assert (longer.will_run, longer.refusal) == (True, "")
    assert longer.gpu_memory_utilization > judge(RTX_3060, HOST).gpu_memory_utilization
    assert judge(RTX_3060, HOST, asked=Asked(0, 0.9)).gpu_memory_utilization == 0.9


def test_sizes_that_do_not_fit_are_refused_with_numbers_and_the_card() -> None:
    verdict = judge(RTX_3060_IN_A_GAME, HOST, asked=LONG)
    assert verdict.refusal == ""  # not even the profile itself fits now, and that is told
    assert "when " in verdict.result
    verdict = judge(replace(RTX_3060, free_mib=9000), HOST, asked=LONG)
    assert (verdict.profile, verdict.will_run) == ("rtx3060-12gb", False)
    assert verdict.refusal.startswith("--max-model-len 131072 does not fit: with the 4 sessions of")
    assert verdict.refusal.endswith("driver 580.95.05")
    assert verdict.remedy == "leave the flag out, or give what fits"


def test_the_best_card_is_one_that_can_serve_now() -> None:
    assert best([], HOST) is None
    assert best([RTX_3060, RTX_3090], HOST) == RTX_3090
    assert best([replace(RTX_3090, free_mib=500), RTX_3060, GTX_1080], HOST) == RTX_3060
    assert best([GTX_1080, RTX_3060_IN_A_GAME], HOST) == RTX_3060_IN_A_GAME


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (None, [RTX_3060, RTX_3090]),
        ("1", [RTX_3090]),
        ("1,0", [RTX_3090, RTX_3060]),
        ("GPU-309, 0", [RTX_3090, RTX_3060]),
        ("0,7,1", [RTX_3060]),
        ("GPU-30", []),
        ("", []),
        ("-1", []),
    ],
)
def test_the_cards_that_cuda_shows(devices: str | None, expected: list[Card]) -> None:
    assert visible([RTX_3060, RTX_3090], devices) == expected
