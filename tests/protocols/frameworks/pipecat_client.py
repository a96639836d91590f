"""Pipecat's speech-to-text services; runs in the environment of requirements/clients.txt.

python -m tests.protocols.frameworks.pipecat_client KIND HOST:PORT FILE.wav WORDS: says the file and
prints each final text as a line of JSON, until so many words have come.
"""

import asyncio
import json
import sys

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import Frame, InputAudioRawFrame, TranscriptionFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.mistral.stt import MistralSTTService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService
from pipecat.services.stt_service import STTService
from pipecat.workers.runner import WorkerRunner

from tests.protocols.frameworks.clip import DEADLINE_S, RATE_HZ, pieces


def service(kind: str, address: str) -> STTService:
    """Set up as Pipecat's documents have it, with the address of the server."""
    if kind == "mistral-own":
        return MistralSTTService(api_key="none", base_url=f"http://{address}")
    url = f"ws://{address}/v1/realtime"
    if kind == "openai-own":
        return OpenAIRealtimeSTTService(api_key="none", base_url=url)
    settings = OpenAIRealtimeSTTService.Settings(model="gpt-transcribe")
    turns = {"type": "server_vad"}
    return OpenAIRealtimeSTTService(
        api_key="none", base_url=url, turn_detection=turns, settings=settings
    )


class Printer(FrameProcessor):  # type: ignore[misc]
    """Prints final texts until so many words have come."""

    def __init__(self, wanted_words: int) -> None:
        super().__init__()
        self._missing_words = wanted_words
        self.is_done = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Read a frame and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            print(json.dumps(frame.text), flush=True)  # noqa: T201
            self._missing_words -= len(frame.text.split())
        if self._missing_words <= 0:
            self.is_done.set()
        await self.push_frame(frame, direction)


async def main(kind: str, address: str, path: str, wanted_words: str) -> None:
    """One session."""
    printer = Printer(int(wanted_words))
    own = [VADProcessor(vad_analyzer=SileroVADAnalyzer())] if kind.endswith("own") else []
    pipeline = Pipeline([*own, service(kind, address), printer])
    params = PipelineParams(audio_in_sample_rate=RATE_HZ)
    worker = PipelineWorker(pipeline, params=params, cancel_on_idle_timeout=False)
    has_started = asyncio.Event()
    worker.add_event_handler("on_pipeline_started", lambda *_: has_started.set())
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(DEADLINE_S):
        await has_started.wait()
        async for piece in pieces(path):
            await worker.queue_frame(InputAudioRawFrame(piece, RATE_HZ, 1))
        await printer.is_done.wait()
        await worker.cancel()
        await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
