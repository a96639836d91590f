"""What vLLM's lines mean. They are vLLM's own, of 0.32 on the CPU or out of its sources."""

import pytest

from lanscribe.vllm.log import LONGEST_LINE_BYTES, LineSplitter, diagnose, progress

CORE = "(EngineCore pid=4242) INFO 11-21 10:00:00"


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (
            f"{CORE} [gpu_model_runner.py:5039] Starting to load model /models/voxtral...",
            "loading the weights",
        ),
        (
            f"{CORE} [weight_utils.py:1042] Prefetching checkpoint files: 40% (1/1)",
            "reading the weights from disk, 40 %",
        ),
        (
            "Loading safetensors checkpoint shards:   0% Completed | 0/1 [00:00<?, ?it/s]",
            "loading the weights, 0 %",
        ),
        (
            "(EngineCore pid=4242) \rLoading safetensors checkpoint shards: 100% Completed | 1/1"
            " [00:21<00:00, 21.3s/it]",
            "loading the weights, 100 %",
        ),
        (
            f"{CORE} [gpu_model_runner.py:5149] Model loading took 3.01 GiB memory and 24 s",
            "the weights are loaded",
        ),
        (
            f"{CORE} [backends.py:1167] Dynamo bytecode transform time: 8.12 s",
            "compiling; the first time this takes minutes",
        ),
        (
            f"{CORE} [gpu_worker.py:759] Available KV cache memory: 4.31 GiB",
            "measuring the memory for sessions",
        ),
        (
            f"{CORE} [kv_cache_utils.py:2327] GPU KV cache size: 36,864 tokens",
            "making room for sessions",
        ),
        (
            "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  33%|███▎      | 1/3"
            " [00:00<00:01,  1.61it/s]",
            "recording CUDA graphs, 33 %",
        ),
        (
            f"{CORE} [gpu_model_runner.py:6581] Graph capturing finished in 2 secs, took 0.21 GiB",
            "the CUDA graphs are recorded",
        ),
        (
            f"{CORE} [core.py:403] init engine (profile, create kv cache, warmup model) took 19 s",
            "starting to listen",
        ),
        ("(APIServer pid=4241) INFO:     Application startup complete.", "listening"),
        (f"{CORE} [core.py:133] Initializing a V1 LLM engine (v0.33.0) with config: ...", None),
        ("(APIServer pid=4241) INFO:     127.0.0.1:40000 - 'GET /health HTTP/1.1' 200", None),
    ],
)
def test_progress(line: str, stage: str | None) -> None:
    assert progress(line) == stage


ERROR = "(EngineCore pid=4242) ERROR 11-21 10:00:00 [core.py:1160]"
PASSING = {
    "other programs hold too much",
    "another program released",
    "ran out of memory",
    "port for vLLM",
    "the GPU failed",
}
"""Causes that may be gone at the next start."""


@pytest.mark.parametrize(
    ("line", "cause", "remedy"),
    [
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12080)."
            " Please update your GPU driver",
            "driver is too old",
            "580",
        ),
        (
            "Error 803: Failed to initialize NVML: Driver/library version mismatch",
            "driver was updated",
            "restart the machine",
        ),
        ("RuntimeError: No CUDA GPUs are available", "finds no NVIDIA GPU", "nvidia-smi"),
        (
            f"{ERROR} ValueError: Free memory on device cuda:0 (4.1/11.63 GiB) on startup is less"
            " than desired GPU memory utilization (0.81, 9.42 GiB). Decrease it",
            "other programs hold too much",
            "close them",
        ),
        (
            f"{ERROR} AssertionError: Error in memory profiling. Initial free memory 4.1 GiB,"
            " current free memory 9.9 GiB. This happens when other processes",
            "another program released",
            "the next start",
        ),
        (
            f"{ERROR} ValueError: To serve at least one request with the model's max seq len"
            " (131072), (17.00 GiB KV cache is needed, which is larger than the available KV cache"
            " memory (4.20 GiB).",
            "no room for a session",
            "--max-model-len",
        ),
        (
            f"{ERROR} torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 216.00 MiB.",
            "ran out of memory",
            "smaller profile",
        ),
        ("OSError: [Errno 98] Address already in use", "port for vLLM", "vllm.port"),
        (
            "ValueError: Unknown quantization method: bitsandbytes. Must be one of ['awq', 'fp8']",
            "lacks the plugin",
            "setup.sh",
        ),
        ("ModuleNotFoundError: No module named 'xgrammar'", "xgrammar is missing", "setup.sh"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/models/v/tekken.json'",
            "a file is missing: /models/v/tekken.json",
            "setup.sh",
        ),
        (
            "RuntimeError: Cannot find any model weights with `models/voxtral`",
            "model is not in vllm.model_dir",
            "setup.sh",
        ),
        ("OSError: [Errno 28] No space left on device", "disk is full", "free some"),
        (
            "SafetensorError: Error while deserializing header: incomplete metadata",
            "weights are damaged",
            "setup.sh",
        ),
        (
            "api_server.py: error: unrecognized arguments: --max-modellen 7",
            "does not accept its flags: --max-modellen 7",
            "vllm.arguments",
        ),
        ("RuntimeError: UVA is not available", "WSL2", "VLLM_WSL2_ENABLE_PIN_MEMORY=1"),
        (
            f"{ERROR} torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
            "the GPU failed",
            "restart the machine",
        ),
    ],
)
def test_a_known_cause_has_its_remedy(line: str, cause: str, remedy: str) -> None:
    diagnosis = diagnose([f"{CORE} loading", line, "RuntimeError: Engine core failed"], 1)
    assert cause in diagnosis.cause
    assert remedy in diagnosis.remedy
    assert not diagnosis.last_words
    assert diagnosis.is_lasting is (cause not in PASSING)


@pytest.mark.parametrize("status", [-9, 137])
def test_a_kill_without_a_word_is_the_systems(status: int) -> None:
    diagnosis = diagnose([f"{CORE} loading"], status)
    assert "killed from outside" in diagnosis.cause
    assert "Out of memory" in diagnosis.remedy


def test_a_core_that_is_killed_ends_its_server_in_peace() -> None:
    server = "(APIServer pid=4241) WARNING 11-21 10:00:00 [core_client.py:817] [shutdown] MPClient:"
    lines = [f"{server} engine core exited unexpectedly; starting cleanup", "INFO: Shutting down"]
    assert "killed from outside" in diagnose(lines, 0).cause
    failed = [f"{ERROR} EngineCore encountered a fatal error.", f"{ERROR} KeyError: 7", *lines]
    assert diagnose(failed, 0).cause == "vLLM ended with status 0"


def test_a_crash_that_names_its_cause_counts_more_than_the_kill() -> None:
    assert "ran out of memory" in diagnose(["CUDA out of memory"], 137).cause


@pytest.mark.parametrize(
    "line",
    [
        "Failed to load CPU gemm_4bit_forward from kernels-community: No module named 'kernels'.",
        "WARNING 11-21 [interface.py:221] libnuma.so.1: cannot open shared object file: No such"
        " file or directory",
    ],
)
def test_what_vllm_can_do_without_is_no_cause(line: str) -> None:
    assert diagnose([line], 1).cause == "vLLM ended with status 1"


def test_what_is_not_known_is_shown() -> None:
    lines = [f"line {number}" for number in range(100)]
    diagnosis = diagnose(lines, 3)
    assert diagnosis.cause == "vLLM ended with status 3"
    assert not diagnosis.is_lasting
    assert str(diagnosis).splitlines()[-2:] == [
        "      | line 99",
        "    what to do: see logs/vllm.log, which has it all",
    ]
    assert "line 80" not in str(diagnosis)


def test_a_hang_is_told_as_one() -> None:
    assert diagnose([], None).cause == "vLLM did not answer"


def test_what_cannot_get_better_by_itself_is_lasting() -> None:
    assert diagnose(["RuntimeError: No CUDA GPUs are available"], 1).is_lasting
    assert not diagnose(["CUDA out of memory"], 1).is_lasting


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_come_out_whole_however_they_arrive(size: int) -> None:
    data = "eins\nzwei\r\n\n10%\r20%\rdrei\nvïer\n".encode()
    splitter = LineSplitter()
    lines: list[str] = []
    for start in range(0, len(data), size):
        lines += splitter.feed(data[start : start + size])
    assert lines == ["eins", "zwei", "10%", "20%", "drei", "vïer"]
    assert splitter.end() == []


def test_the_last_line_needs_no_end() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.feed(b"o") == []
    assert splitter.end() == ["two"]


def test_a_line_without_an_end_takes_no_memory() -> None:
    splitter = LineSplitter()
    lines = [line for _ in range(100) for line in splitter.feed(b"x" * 10_000)]
    assert max(len(line) for line in lines) == LONGEST_LINE_BYTES
    assert sum(len(line) for line in [*lines, *splitter.end()]) == 1_000_000


def test_bytes_that_are_no_text_do_not_matter() -> None:
    assert LineSplitter().feed(b"\xff\xfe ok\n") == ["\ufffd\ufffd ok"]
