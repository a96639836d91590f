"""Commands that the server ends for Home Assistant: when it ends them, and when the text is there.

    python -m bench.commands --audio FOLDER [--end-silence-s 0.7] [--longest-s 4]

Each recording is a command: sent in real time, followed by the noise of a quiet room and no
audio-stop. Speech ends where the network that finds speech says so.
"""

import argparse
import asyncio
import csv
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import soundfile
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart
from wyoming.client import AsyncTcpClient

from bench.words import plain_words
from lanscribe.config import EngineSettings
from lanscribe.engines.embedded.vad import load_detector
from lanscribe.speech.audio import Samples, samples_to_pcm16
from lanscribe.speech.detection import BLOCK_S, SpeechDetector
from lanscribe.speech.turns import NEUTRAL_THRESHOLD
from tests.servers import Server, start_process

_CHUNK_SAMPLES = 1024
"""As Home Assistant sends."""
_ROOM_S = 6.0
_ROOM_LEVEL = 0.0005


@dataclass(frozen=True)
class Command:
    """A recording, and what became of it."""

    name: str
    late_s: float
    """How long after the end of speech and the silence the text was there."""
    reference: str
    text: str


async def command(
    server: Server, path: Path, reference: str, detector: SpeechDetector, silence_s: float
) -> Command:
    """Send a recording in real time, until its text is there."""
    samples = soundfile.read(path, dtype="float32")[0]
    noise = _ROOM_LEVEL * np.random.default_rng(1).standard_normal(round(_ROOM_S * 16_000))
    speech_end_s = _speech_end_s(samples, detector)
    async with AsyncTcpClient(server.host, server.wyoming_port) as client:
        await client.write_event(Transcribe().event())
        await client.write_event(AudioStart(16_000, 2, 1).event())
        began = time.monotonic()
        sound = np.concatenate([samples, noise.astype(np.float32)])
        sending = asyncio.create_task(_send(client, sound, began))
        while (event := await client.read_event()) and event.type != "transcript":
            pass
        took_s = time.monotonic() - began
        sending.cancel()
    text = event.data["text"] if event else ""
    return Command(path.stem, took_s - speech_end_s - silence_s, reference, text)


async def _send(client: AsyncTcpClient, sound: Samples, began: float) -> None:
    for start in range(0, len(sound), _CHUNK_SAMPLES):
        chunk = sound[start : start + _CHUNK_SAMPLES]
        await asyncio.sleep(began + (start + len(chunk)) / 16_000 - time.monotonic())
        await client.write_event(AudioChunk(16_000, 2, 1, samples_to_pcm16(chunk)).event())


def _speech_end_s(samples: Samples, detector: SpeechDetector) -> float:
    padded = np.concatenate([samples, np.zeros(8_000, dtype=np.float32)])
    judged = detector.stream().add(padded)
    last = max(i for i, block in enumerate(judged) if block.best >= NEUTRAL_THRESHOLD)
    return (last + 1) * BLOCK_S


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m bench.commands")
    parser.add_argument("--audio", type=Path, required=True, help="a folder with a manifest.tsv")
    parser.add_argument("--end-silence-s", type=float, default=0.7)
    parser.add_argument("--longest-s", type=float, default=4.0, help="of a command")
    options = parser.parse_args()
    with (options.audio / "manifest.tsv").open(encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file, delimiter="\t")
            if row["group"] == "clean" and float(row["seconds"]) <= options.longest_s
        ]
    detector = load_detector(EngineSettings())
    with tempfile.TemporaryDirectory() as folder:
        silence = {"LANSCRIBE_WYOMING_END_SILENCE_S": str(options.end_silence_s)}
        server = start_process(Path(folder), "embedded", [], silence)
        try:
            done = [
                asyncio.run(
                    command(
                        server,
                        options.audio / row["file"],
                        row["reference"],
                        detector,
                        options.end_silence_s,
                    )
                )
                for row in rows
            ]
        finally:
            server.end()
    for one in done:
        print(f"{one.name:16} {one.late_s:6.2f} s  {one.text}")
    late = [one.late_s for one in done]
    wer = jiwer.wer(
        [" ".join(plain_words(one.reference)) for one in done],
        [" ".join(plain_words(one.text)) for one in done],
    )
    print(f"after the silence: median {statistics.median(late):.2f} s, longest {max(late):.2f} s")
    print(f"word errors {100 * wer:.1f} %")


if __name__ == "__main__":
    main()
