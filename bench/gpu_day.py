"""What only a card shows: vLLM with this project's profiles, its memory, its steps, its words.

Each stage starts vLLM as serve.sh does, with a profile of config/vllm, and prints each figure
as one JSON object as soon as it has it, so that a run cut short keeps what it had:

    VLLM_PYTHON -m bench.gpu_day card
    VLLM_PYTHON -m bench.gpu_day words FORM --model WORD_MODEL --clips CLIPS
    VLLM_PYTHON -m bench.gpu_day checkpoint --model FOLDER
    VLLM_PYTHON -m bench.gpu_day real FORM --model FOLDER [--card-gib 12] [--minutes 4.5]
    VLLM_PYTHON -m bench.gpu_day live FORM --model FOLDER [--gateway GATEWAY_PYTHON]

card: the card, the versions, and the bandwidth of a copy within the card's memory. words: the
words that a small model gets wrong, of FLAC files with a JSON list of their words beside each.
checkpoint: writes seeded random weights of the real sizes, 8.9 GB. real: the time and the
memory to load them, what vLLM reports, what nvidia-smi shows, and the time of a step for some
sessions at once, by the minute. live: the gateway in front of it with sessions at the speed of
speech, and how late they are.

FORM is int4, fp8 or bf16. A larger card stands for one of --card-gib by vLLM's share. The first
start of a form compiles for minutes. bench.gpu_pack brings vLLM to a machine without a network.
"""

import argparse
import asyncio
import base64
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jiwer
import numpy as np
import pynvml
import soundfile
import torch
from websockets.asyncio.client import ClientConnection, connect

from bench.card_vllm import (
    FORMS,
    MIB,
    profile_flags,
    resident_bytes,
    tell,
    vllm_serving,
    wait_for,
)
from lanscribe.speech.audio import Samples, samples_to_pcm16
from lanscribe.voxtral.plan import PROFILES
from tests.vllm.real import checkpoint
from tests.vllm.real.voxtral import REAL, parameter_shapes, params, transformers_config

RATE_HZ, STEP_S = 16_000, 0.08
MS = 1e-3
SERVED = "voxtral-mini-4b-realtime"
"""The name in every profile."""
SILENCE_TIMEOUT_S = 120.0
CHUNK_S = 1.0
LIVE_CHUNK_S = 0.1
COPY_BYTES = 4 << 30


async def session_steps(samples: Samples, port: int) -> tuple[list[float], str]:
    """When each delta of one session came, with all its audio sent at once; and its text."""
    async with connect(f"ws://127.0.0.1:{port}/v1/realtime", max_size=None) as socket:
        await opened(socket)
        step = round(CHUNK_S * RATE_HZ)
        sending = asyncio.create_task(send(socket, samples, step, is_live=False))
        times: list[float] = []
        while True:
            event = json.loads(await asyncio.wait_for(socket.recv(), SILENCE_TIMEOUT_S))
            if event["type"] == "error":
                raise RuntimeError(event)
            if event["type"] == "transcription.done":
                await sending
                return times, event["text"]
            times.append(time.perf_counter())


async def opened(socket: ClientConnection) -> None:
    """Begin a session and its first utterance."""
    await socket.recv()
    await socket.send(json.dumps({"type": "session.update", "model": SERVED}))
    await socket.send(json.dumps({"type": "input_audio_buffer.commit", "final": False}))


async def send(socket: ClientConnection, samples: Samples, step: int, *, is_live: bool) -> None:
    """Send audio in chunks of `step` samples, at the speed of speech or at once, and end it."""
    pcm, started_s = samples_to_pcm16(samples), time.monotonic()
    for number, first in enumerate(range(0, len(pcm), 2 * step), 1):
        if is_live:
            await asyncio.sleep(started_s + number * step / RATE_HZ - time.monotonic())
        audio = base64.b64encode(pcm[first : first + 2 * step]).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    await socket.send(json.dumps({"type": "input_audio_buffer.commit", "final": True}))


def noise(seconds: float, seed: int) -> Samples:
    """Sound of changing colour and level, shape (n,), 16 kHz."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(round(seconds * RATE_HZ)).astype(np.float32)
    level = 0.05 + 0.05 * np.sin(np.arange(len(white), dtype=np.float32) / RATE_HZ * (1 + seed))
    return np.asarray(level * np.convolve(white, np.ones(8, np.float32) / 8, "same"), np.float32)


def step_figures(stage: str, port: int, sessions: int, minutes: float) -> None:
    """Tell the time of a step with so many sessions at once, minute by minute of their audio."""

    async def all_of_them() -> list[tuple[list[float], str]]:
        sounds = (noise(60 * minutes, seed) for seed in range(sessions))
        return await asyncio.gather(*(session_steps(one, port) for one in sounds))

    started_s = time.perf_counter()
    taken = [times for times, _ in asyncio.run(all_of_them())]
    wall_s = time.perf_counter() - started_s
    per_minute = round(60 / STEP_S)
    table: dict[int, list[float]] = {}
    for times in taken:
        gaps = np.diff(times) / MS
        for minute in range(math.ceil(len(gaps) / per_minute)):
            part = gaps[minute * per_minute : (minute + 1) * per_minute]
            table.setdefault(minute, []).extend(part.tolist())
    tell(
        stage,
        sessions=sessions,
        minutes=minutes,
        steps=[len(times) for times in taken],
        wall_s=round(wall_s, 1),
        step_ms_mean=round(statistics.fmean(gap for row in table.values() for gap in row), 2),
        step_ms_median=[round(statistics.median(row), 2) for row in table.values()],
        step_ms_p95=[round(float(np.percentile(row, 95)), 2) for row in table.values()],
    )


def real_checkpoint(folder: Path) -> None:
    """A checkpoint of the real sizes out of seeded random numbers, made on the card."""
    folder.mkdir(parents=True, exist_ok=True)
    tekken = checkpoint.make_tekken(REAL)
    for name, content in (
        ("tekken.json", tekken),
        ("params.json", params(REAL)),
        ("config.json", transformers_config(REAL)),
    ):
        (folder / name).write_text(json.dumps(content))
    tensors = checkpoint.random_tensors(REAL, 0, checkpoint.silent_tokens(tekken), "cuda")
    path = folder / "consolidated.safetensors"
    checkpoint.write_safetensors(path, parameter_shapes(REAL), tensors)


def card(_: argparse.Namespace) -> None:
    """Tell the card, the versions and the bandwidth."""
    properties = torch.cuda.get_device_properties(0)
    pynvml.nvmlInit()
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    taken_ms = []
    for _round in range(12):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        taken_ms.append(begin.elapsed_time(end))
    tell(
        "card",
        name=properties.name,
        total_mib=properties.total_memory // MIB,
        driver=pynvml.nvmlSystemGetDriverVersion(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        python=sys.version.split()[0],
        copy_gb_per_s=round(2 * COPY_BYTES / 1e6 / statistics.median(taken_ms[2:]), 0),
    )


def words(options: argparse.Namespace) -> None:
    """Tell the words that the small model gets wrong in each clip."""
    form, stage = FORMS[options.form], f"words {options.form}"
    flags = profile_flags(form, options.card_gib)
    with vllm_serving(stage, options, flags):
        wrong = total = 0
        for clip in sorted(options.clips.glob("*.flac")):
            samples, _ = soundfile.read(clip, dtype="float32")
            listed = json.loads(clip.with_suffix(".json").read_text(encoding="utf-8"))
            said = " ".join(word["word"] for word in listed)
            times, text = asyncio.run(session_steps(np.asarray(samples), options.port))
            heard = " ".join(text.split())
            measures = jiwer.process_words(said, heard or "-")
            errors = measures.substitutions + measures.deletions + measures.insertions
            wrong, total = wrong + errors, total + len(said.split())
            tell(stage, clip=clip.stem, words=len(said.split()), wrong=errors, steps=len(times))
        tell(stage, words=total, wrong=wrong)


def real(options: argparse.Namespace) -> None:
    """Tell what the real sizes take."""
    form, stage = FORMS[options.form], f"real {options.form}"
    plan = next(one for one in PROFILES if one.name == form.profile)
    tell(stage, profile=form.profile, sizes=dict(plan.sizes))
    flags = profile_flags(form, options.card_gib)
    with vllm_serving(stage, options, flags):
        for sessions in options.sessions:
            step_figures(stage, options.port, sessions, options.minutes)


def live(options: argparse.Namespace) -> None:
    """Tell how late the text is with the gateway and sessions at the speed of speech."""
    form, stage = FORMS[options.form], f"live {options.form}"
    sessions = max(options.sessions)
    flags = profile_flags(form, options.card_gib)
    with (
        vllm_serving(stage, options, flags) as peaks,
        gateway_serving(options) as gateway,
    ):
        sounds = list(live_sounds(options, sessions))
        lags = asyncio.run(live_sessions(sounds, options.port + 1))
        every = sorted(lag for row in lags for lag in row)
        tell(
            stage,
            sessions=sessions,
            minutes=options.minutes,
            events=[len(row) for row in lags],
            lag_s_median=round(statistics.median(every), 3),
            lag_s_p95=round(float(np.percentile(every, 95)), 3),
            lag_s_max=round(every[-1], 3),
            gateway_mib=resident_bytes(gateway.pid) // MIB,
            card_peak_mib=(peaks.card_peak_bytes - peaks.before_bytes) // MIB,
        )


def live_sounds(options: argparse.Namespace, sessions: int) -> Iterable[Samples]:
    """What each session says: the clips one after the other if there are any, else noise."""
    clips = sorted(options.clips.glob("*.flac")) if options.clips else []
    for number in range(sessions):
        if not clips:
            yield noise(60 * options.minutes, number)
            continue
        length = round(60 * options.minutes * RATE_HZ)
        said = np.concatenate([soundfile.read(clip, dtype="float32")[0] for clip in clips])
        yield np.resize(np.roll(said, -number * len(said) // sessions), length)


@contextmanager
def gateway_serving(options: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway in front of the vLLM that runs."""
    variables = {
        **os.environ,
        "LANSCRIBE_VLLM_URL": f"http://127.0.0.1:{options.port}",
        "LANSCRIBE_WYOMING_PORT": "0",
        "LANSCRIBE_DISCOVERY_ENABLED": "false",
    }
    log_path, port = options.logs / "gateway.log", options.port + 1
    command = [
        options.gateway,
        "-m",
        "lanscribe",
        "serve",
        "--engine",
        "vllm",
        "--host",
        "127.0.0.1",
    ]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=variables)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log_path)
        yield process
    finally:
        process.terminate()
        process.wait(20)
        tell("gateway", log=log_path.read_text(errors="replace")[-1500:])


async def live_sessions(sounds: Sequence[Samples], port: int) -> list[list[float]]:
    """How late each session was at each of its deltas, in seconds behind the audio sent."""
    return await asyncio.gather(*(live_session(one, port) for one in sounds))


async def live_session(samples: Samples, port: int) -> list[float]:
    """The lags of one session: the audio sent so far, less the audio that was listened to."""
    async with connect(f"ws://127.0.0.1:{port}/v1/realtime", max_size=None) as socket:
        await opened(socket)
        began_s = time.monotonic()
        step = round(LIVE_CHUNK_S * RATE_HZ)
        sending = asyncio.create_task(send(socket, samples, step, is_live=True))
        length_s, lags = len(samples) / RATE_HZ, []
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "error":
                raise RuntimeError(event)
            if event["type"] == "transcription.done":
                break
            sent_s = min(time.monotonic() - began_s, length_s)
            if "end_s" in event:
                lags.append(sent_s - event["end_s"])
        await sending
        return lags


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(prog="bench.gpu_day", description=__doc__)
    parser.add_argument("stage", choices=["card", "checkpoint", "words", "real", "live"])
    parser.add_argument("form", nargs="?", choices=sorted(FORMS), default="int4")
    parser.add_argument("--model", type=Path, help="the folder of the model")
    parser.add_argument("--clips", type=Path, help="FLAC files with a list of words beside each")
    parser.add_argument("--card-gib", type=float, default=12.0, help="stand for such a card")
    parser.add_argument("--minutes", type=float, default=4.5)
    parser.add_argument("--port", type=int, default=8001, help="of vLLM; the gateway's is the next")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()), help="a folder")
    parser.add_argument("--sessions", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--gateway", default=sys.executable, help="the Python of the gateway")
    parser.add_argument("--flag", action="append", default=[], help="one more for vLLM")
    options = parser.parse_args()
    if options.stage == "checkpoint":
        real_checkpoint(options.model)
        return
    {"card": card, "words": words, "real": real, "live": live}[options.stage](options)


if __name__ == "__main__":
    main()
