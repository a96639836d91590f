"""The gain of 4 bits: memory and time of a decode step in bf16, fp8 and NF4, beside the floor.

vLLM loads a checkpoint of random numbers with the real layer sizes in each form. Then all its
linear layers run as in one step of 80 ms for one session: 4 frames through the encoder, 1 token
through the decoder and the output layer. Attention, norms and everything around the model are
excluded. The floor is the time to read the weights once at the bandwidth of a copy in the same run.
On a GPU the layers are those of the whole model, in a CUDA graph; on a CPU there are fewer, and the
table says so.

Runs in an environment of vLLM (tests/vllm/real/environment.sh prints the path of its Python):

    VLLM_PYTHON -m bench.vllm_int4 [--layers N] [--steps N] [--folder FOLDER]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from vllm.model_executor.layers.linear import LinearBase

from bench.vllm_loader_memory import size_of
from tests.vllm.real.checkpoint import make_checkpoint
from tests.vllm.real.voxtral import DOWNSAMPLE_FACTOR, REAL, Voxtral
from tests.vllm.real.weights import FOUR_BITS, MISTRAL, load

FORMS: dict[str, dict[str, Any]] = {
    "bf16": {"load_format": "mistral"},
    "fp8": {"load_format": "mistral", "quantization": "fp8_per_tensor"},
    "NF4": FOUR_BITS,
}
CPU_LAYERS = 4
COPY_BYTES = 1 << 30
WARM_UP_STEPS = 3
GB, MS = 1e9, 1e-3
Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Step:
    """One form of the model."""

    weight_bytes: int
    """All resident weights, which a step reads."""
    step_s: float
    """The median of all steps."""
    bandwidth: float
    """Bytes per second that a copy reads and writes."""

    @property
    def floor_s(self) -> float:
        """The least time to read the weights."""
        return self.weight_bytes / self.bandwidth


def main() -> None:
    """Measure each form in a process of its own and print the table."""
    options = _options()
    if options.measure:
        print(json.dumps(asdict(measured(options.folder, options.measure, options.steps))))
        return
    model = sizes(options.layers)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="voxtral-layers-"))
    make_checkpoint(folder, seed=0, dequantized=False, model=model)
    results = {form: in_own_process(folder, form, options.steps) for form in FORMS}
    shutil.rmtree(folder)
    report(model, results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, help=f"per tower; all on a GPU, {CPU_LAYERS} without")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where to put the temporary checkpoint")
    parser.add_argument("--measure", choices=FORMS, help=argparse.SUPPRESS)
    return parser.parse_args()


def sizes(layers: int | None) -> Voxtral:
    """The real widths, with `layers` in each tower."""
    if layers is None and torch.cuda.is_available():
        return REAL
    layers = layers or CPU_LAYERS
    decoder, encoder = (replace(tower, layers=layers) for tower in (REAL.decoder, REAL.encoder))
    return replace(REAL, decoder=decoder, encoder=encoder)


def in_own_process(folder: Path, form: str, steps: int) -> Step | None:
    """Run `measured` in a new process; None if vLLM does not support the form here."""
    command = [sys.executable, "-m", "bench.vllm_int4", "--measure", form]
    command += ["--folder", str(folder), "--steps", str(steps)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "Error" in line]
        print(f"{form}: {errors[-1] if errors else done.stderr}", file=sys.stderr)
        return None
    return Step(**json.loads(done.stdout.splitlines()[-1]))


def measured(folder: Path, form: str, steps: int) -> Step:
    """Load the checkpoint in one form and time its linear layers.

    On a CPU a first load counts the weights: once packed for its kernels, some are not tensors.
    """
    on_cpu = 0 if torch.cuda.is_available() else size_of(load(folder, **MISTRAL, **FORMS[form]))
    model = load(folder, packed=True, **MISTRAL, **FORMS[form])
    weight_bytes = on_cpu or torch.cuda.memory_allocated()
    calls = list(linear_calls(model))
    with torch.inference_mode():
        durations_s = timed(lambda: [call() for call in calls], steps)
        return Step(weight_bytes, statistics.median(durations_s), copy_bandwidth(steps))


def linear_calls(model: nn.Module) -> Iterator[Run]:
    """Each linear layer with the input of one step for one session."""
    for name, module in model.named_modules():
        rows = DOWNSAMPLE_FACTOR if name.startswith("whisper_encoder.") else 1
        if isinstance(module, LinearBase):
            yield _call(module, rows, module.input_size)
        elif isinstance(module, nn.Linear):
            yield _call(module, rows, module.in_features)
    table = model.language_model.model.embed_tokens.weight
    hidden = torch.randn(1, table.shape[1], dtype=table.dtype, device=table.device)
    yield lambda: functional.linear(hidden, table)


def _call(module: nn.Module, rows: int, width: int) -> Run:
    inputs = torch.randn(rows, width, dtype=torch.bfloat16, device=device())
    return lambda: module(inputs)


def device() -> str:
    """The device for everything."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def timed(run: Run, steps: int) -> list[float]:
    """Seconds of each of `steps` runs; on a GPU they are replays of a graph, as in vLLM."""
    for _ in range(WARM_UP_STEPS):
        run()
    if device() == "cuda":
        run = _as_graph(run)
    durations_s = []
    for _ in range(steps):
        start = time.perf_counter()
        run()
        if device() == "cuda":
            torch.cuda.synchronize()
        durations_s.append(time.perf_counter() - start)
    return durations_s


def _as_graph(run: Run) -> Run:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    replay: Run = graph.replay
    return replay


def copy_bandwidth(steps: int) -> float:
    """Bytes per second that a large copy reads and writes."""
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device())
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / statistics.median(timed(lambda: target.copy_(source), steps))


def report(model: Voxtral, results: dict[str, Step | None]) -> None:
    """Print the table."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    threads = "" if torch.cuda.is_available() else f", {torch.get_num_threads()} threads"
    counts = f"{model.encoder.layers} + {model.decoder.layers}"
    whole = f"{REAL.encoder.layers} + {REAL.decoder.layers}"
    print(f"{name}{threads}; {counts} layers of the real sizes (the model has {whole})\n")
    print("| weights | GB | step | floor | step / floor | GB/s of a copy |")
    print("| --- | --- | --- | --- | --- | --- |")
    for form, step in results.items():
        if step is None:
            print(f"| {form} | not on this device | | | | |")
            continue
        times = f"{step.step_s / MS:.1f} ms | {step.floor_s / MS:.1f} ms"
        ratio = f"{step.step_s / step.floor_s:.1f} | {step.bandwidth / GB:.1f}"
        print(f"| {form} | {step.weight_bytes / GB:.2f} | {times} | {ratio} |")


if __name__ == "__main__":
    main()
