"""Reads vLLM's output: the progress of its start, and why it ended.

Pure. The patterns come from the sources of vllm 0.32 and 0.33, torch and uvicorn.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

LONGEST_LINE_BYTES = 4096
_LAST_LINES = 12
_KILLED = {-9, 137}
"""SIGKILL, as the status of a child process and as that of a shell."""
_CORE_IS_GONE = "engine core exited unexpectedly"
_CORE_SAYS_WHY = "EngineCore encountered a fatal error"


class LineSplitter:
    """Cuts a stream of bytes into lines; a progress bar's carriage return ends one too."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes, without line ends; an overlong line is cut."""
        *whole, self._rest = re.split(rb"\r\n|\n|\r", self._rest + data)
        while len(self._rest) > LONGEST_LINE_BYTES:
            whole.append(self._rest[:LONGEST_LINE_BYTES])
            self._rest = self._rest[LONGEST_LINE_BYTES:]
        return [line.decode("utf-8", "replace") for line in whole if line.strip()]

    def end(self) -> list[str]:
        """What is left when the stream has ended."""
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", "replace")] if rest.strip() else []


_PERCENT = r"[^|]*?(\d+)%"
_STAGES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"Starting to load model", "loading the weights"),
        (r"Prefetching checkpoint files: (\d+)%", "reading the weights from disk, {} %"),
        (rf"Loading \S+ checkpoint shards:{_PERCENT}", "loading the weights, {} %"),
        (r"Loading weights took", "the weights are loaded"),
        (r"Model loading took", "the weights are loaded"),
        (r"Dynamo bytecode transform time", "compiling; the first time this takes minutes"),
        (r"Compiling a graph for compile range", "compiling; the first time this takes minutes"),
        (r"Available KV cache memory", "measuring the memory for sessions"),
        (r"GPU KV cache size", "making room for sessions"),
        (rf"Capturing CUDA graphs \([^)]*\):{_PERCENT}", "recording CUDA graphs, {} %"),
        (r"Graph capturing finished", "the CUDA graphs are recorded"),
        (r"init engine \(profile, create kv cache, warmup model\)", "starting to listen"),
        (r"Application startup complete", "listening"),
    )
)
"""Text of a line -> its meaning; {} is the percentage in it. In the order of a start."""


def progress(line: str) -> str | None:
    """The progress of the start, if `line` shows it."""
    for pattern, text in _STAGES:
        if found := pattern.search(line):
            return text.format(*(int(group) for group in found.groups()))
    return None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why vLLM ended."""

    cause: str
    """What happened: a sentence without its full stop."""
    remedy: str
    """What to do about it."""
    is_lasting: bool = False
    """Whether every further start would fail in the same way."""
    last_words: tuple[str, ...] = ()
    """The last lines of the output, if no known cause was found."""

    def __str__(self) -> str:
        words = "".join(f"\n      | {line}" for line in self.last_words)
        return f"{self.cause}{words}\n    what to do: {self.remedy}"


SETUP = "run bash setup.sh again"
LOG = "see logs/vllm.log, which has it all"
_SMALLER = "lower --max-model-len or --max-num-seqs in vllm.arguments, or take a smaller profile"

_CAUSES: tuple[tuple[re.Pattern[str], Diagnosis], ...] = tuple(
    (re.compile(pattern), diagnosis)
    for pattern, diagnosis in (
        (
            r"NVIDIA driver on your system is too old|CUDA driver version is insufficient"
            r"|provided PTX was compiled with an unsupported toolchain",
            Diagnosis(
                "the NVIDIA driver is too old for this vLLM",
                "install driver 580 or newer, then restart the machine",
                is_lasting=True,
            ),
        ),
        (
            r"Driver/library version mismatch",
            Diagnosis(
                "the NVIDIA driver was updated while in use", "restart the machine", is_lasting=True
            ),
        ),
        (
            r"No CUDA GPUs are available|no CUDA-capable device|Found no NVIDIA driver"
            r"|Failed to infer device type",
            Diagnosis(
                "vLLM finds no NVIDIA GPU",
                "see nvidia-smi; without a GPU use --engine embedded",
                is_lasting=True,
            ),
        ),
        (
            r"Free memory on device .* less than (desired GPU memory|the engine's budget)",
            Diagnosis(
                "other programs hold too much of the GPU's memory",
                "close them (nvidia-smi lists them), or restart lanscribe: it then asks only for"
                " what is free, unless vllm.arguments or a profile of your own sets the share",
            ),
        ),
        (
            r"Error in memory profiling",
            Diagnosis(
                "another program released GPU memory while vLLM measured it",
                "nothing, if the next start succeeds",
            ),
        ),
        (
            r"No available memory for the cache blocks|larger than the available KV cache memory",
            Diagnosis(
                "vLLM's share of the GPU's memory has no room for a session beside the weights",
                f"raise --gpu-memory-utilization, or {_SMALLER}",
                is_lasting=True,
            ),
        ),
        (
            r"CUDA out of memory|OutOfMemoryError|not enough GPU memory|CUDA error: out of memory",
            Diagnosis(
                "the GPU ran out of memory",
                f"close other programs that use it (nvidia-smi lists them), or {_SMALLER}",
            ),
        ),
        (
            r"[Aa]ddress already in use|error while attempting to bind on address",
            Diagnosis(
                "the port for vLLM is taken by another program",
                "end the other program, or choose another port with vllm.port",
            ),
        ),
        (
            r"Unknown quantization method|Load format `?\S+`? is not supported"
            r"|ModuleNotFoundError: No module named '?(bitsandbytes|vllm_bnb_plugin)",
            Diagnosis(
                "vLLM lacks the plugin for INT4 weights, or does not load it",
                SETUP,
                is_lasting=True,
            ),
        ),
        (
            r"ModuleNotFoundError: No module named '?(?P<module>[\w.]+)",
            Diagnosis(
                "the Python environment .venv-vllm is incomplete: {module} is missing",
                SETUP,
                is_lasting=True,
            ),
        ),
        (
            r"No space left on device",
            Diagnosis("the disk is full", "free some space", is_lasting=True),
        ),
        (
            r"FileNotFoundError: .*No such file or directory: ['\"]?(?P<path>[^'\"]+)",
            Diagnosis("a file is missing: {path}", SETUP, is_lasting=True),
        ),
        (
            r"Cannot find any model weights|Invalid repository ID or local directory"
            r"|is not a valid model identifier|Repo id must be in the form",
            Diagnosis(
                "the model is not in vllm.model_dir",
                SETUP,
                is_lasting=True,
            ),
        ),
        (
            r"SafetensorError|Error while deserializing header|incomplete metadata",
            Diagnosis("the weights are damaged", SETUP, is_lasting=True),
        ),
        (
            r"unrecognized arguments: (?P<flags>.+)|error: argument (?P<flag>\S+):",
            Diagnosis(
                "vLLM does not accept its flags: {flags}{flag}",
                "correct vllm.arguments or the profile in config/vllm",
                is_lasting=True,
            ),
        ),
        (
            r"UVA is not available",
            Diagnosis(
                "memory cannot be shared with the GPU; this happens under WSL2",
                "set VLLM_WSL2_ENABLE_PIN_MEMORY=1 in the environment, then start again",
                is_lasting=True,
            ),
        ),
        (
            r"illegal memory access|device-side assert|unspecified launch failure"
            r"|GPU has fallen off the bus|uncorrectable ECC",
            Diagnosis(
                "the GPU failed in the middle of its work",
                "restart the machine; if it happens again, look for Xid lines in sudo dmesg",
            ),
        ),
    )
)
"""Text in vLLM's output -> why it ended; the first entry that matches any line counts. A pattern
includes the name of the error if vLLM also logs the same text for something optional."""


def diagnose(lines: Sequence[str], status: int | None) -> Diagnosis:
    """Why vLLM ended, from the last lines of its output and its exit status.

    The status is that of a child (negative for a signal) or of a shell (128 and more); None if
    vLLM was ended because it did not answer.
    """
    for pattern, diagnosis in _CAUSES:
        for line in lines:
            if found := pattern.search(line):
                return _filled_in(diagnosis, found)
    if status in _KILLED or _lost_its_core(lines):
        return Diagnosis(
            "vLLM was killed from outside, by the system if memory ran short",
            "look for Out of memory in sudo dmesg; close other programs or add swap",
        )
    how = "did not answer" if status is None else f"ended with status {status}"
    return Diagnosis(f"vLLM {how}", LOG, last_words=tuple(lines[-_LAST_LINES:]))


def _lost_its_core(lines: Sequence[str]) -> bool:
    """Whether vLLM's core, its largest process, ended without logging a reason."""
    text = "\n".join(lines)
    return _CORE_IS_GONE in text and _CORE_SAYS_WHY not in text


def _filled_in(diagnosis: Diagnosis, found: re.Match[str]) -> Diagnosis:
    words = {name: (value or "").strip() for name, value in found.groupdict().items()}
    return replace(diagnosis, cause=diagnosis.cause.format(**words))
