"""The memory that the 4-bit loader takes in addition to the model, at Voxtral's real size.

Makes a checkpoint of random numbers with the real shapes (8.86 GB on the disk), loads it in a
new process as vLLM's worker does, and prints that process's peak beside the limit. On a machine
with a GPU the model would lie in its memory, and the host would need only the rest.

Runs in an environment of vLLM (tests/vllm/real/environment.sh prints the path of its Python):

    VLLM_PYTHON -m bench.vllm_loader_memory [--folder FOLDER] [--keep]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from tests.vllm.real.checkpoint import make_checkpoint
from tests.vllm.real.voxtral import REAL, parameter_count
from tests.vllm.real.weights import FOUR_BITS, MISTRAL, load

LIMIT_GB = 3.0
"""In addition to the model: the host of a 12 GB card may have only 8 GB."""
GB = 1e9


@dataclass(frozen=True, slots=True)
class Loading:
    """One load of a checkpoint; memory in bytes."""

    before: int
    """Resident before loading: Python, torch, vLLM."""
    peak: int
    after: int
    result: int
    """The model's parameters and their quantization states."""
    duration_s: float

    @property
    def extra(self) -> int:
        """The peak of the loading's own memory."""
        return self.peak - self.before - self.result


def main() -> int:
    """Make the checkpoint, load it in a new process, print; return 1 above the limit."""
    options = _options()
    if options.measure:
        print(json.dumps(asdict(measured(options.measure))))
        return 0
    folder = options.folder or Path(tempfile.mkdtemp(prefix="voxtral-shapes-"))
    if not (folder / "params.json").exists():
        print(f"writing {parameter_count(REAL) * 2 / GB:.2f} GB to {folder}", file=sys.stderr)
        make_checkpoint(folder, seed=0, dequantized=False, model=REAL)
    loading = in_own_process(folder)
    if not options.keep:
        shutil.rmtree(folder)
    report(loading)
    return 0 if loading.extra / GB < LIMIT_GB else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="folder of the checkpoint, old or new")
    parser.add_argument("--keep", action="store_true", help="do not delete the checkpoint")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def in_own_process(folder: Path) -> Loading:
    """Run `measured` in a new process."""
    command = [sys.executable, "-m", "bench.vllm_loader_memory", "--measure", str(folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    return Loading(**json.loads(output.splitlines()[-1]))


def measured(folder: Path) -> Loading:
    """Load the checkpoint and measure the memory of this process."""
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): forget the peak so far
    before, start = resident("VmRSS"), time.monotonic()
    model = load(folder, **MISTRAL, **FOUR_BITS)
    duration_s = time.monotonic() - start
    return Loading(before, resident("VmHWM"), resident("VmRSS"), size_of(model), duration_s)


def resident(field: str) -> int:
    """A figure of /proc/self/status in bytes; mapped file pages count too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    match = re.search(rf"{field}:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024


def size_of(model: nn.Module) -> int:
    """Bytes of all parameters, with the scales of those that have 4 bits."""
    total = 0
    for parameter in model.parameters():
        total += parameter.nbytes
        states = getattr(parameter, "bnb_quant_state", {}).values()
        total += sum(state.absmax.nbytes for state in states)
    return total


def report(loading: Loading) -> None:
    """Print the table."""
    verdict = "kept" if loading.extra / GB < LIMIT_GB else "BROKEN"
    print("| memory of the loading process | GB |\n| --- | --- |")
    print(f"| before (Python, torch, vLLM) | {loading.before / GB:.2f} |")
    print(f"| the model, in 4 bits | {loading.result / GB:.2f} |")
    print(f"| peak | {loading.peak / GB:.2f} |")
    print(f"| after | {loading.after / GB:.2f} |")
    print(f"| peak above before and model | {loading.extra / GB:.2f} |")
    print(f"\nlimit {LIMIT_GB} GB: {verdict}; loaded in {loading.duration_s:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
