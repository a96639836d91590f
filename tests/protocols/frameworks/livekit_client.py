"""LiveKit's speech-to-text plugins; runs in the environment of requirements/clients.txt.

python -m tests.protocols.frameworks.livekit_client KIND HOST:PORT FILE.wav WORDS: says the file and
prints the text of each turn as a line of JSON, until so many words have come.
"""

import asyncio
import json
import sys

from livekit import rtc
from livekit.agents import inference, stt, utils
from livekit.plugins import mistralai, openai
from mistralai.client import Mistral

from tests.protocols.frameworks.clip import DEADLINE_S, PIECE_SAMPLES, RATE_HZ, pieces


def plugin(kind: str, address: str) -> stt.STT:
    """Set up as LiveKit's documents have it, with the address of the server."""
    if kind == "mistral-own":
        client = Mistral(api_key="none", server_url=f"http://{address}")
        model = "voxtral-mini-transcribe-realtime-2602"
        return mistralai.STT(client=client, model=model, vad=inference.VAD(model="silero"))
    model = "gpt-realtime-whisper" if kind == "openai-own" else "gpt-4o-mini-transcribe"
    base_url = f"http://{address}/v1"
    return openai.STT(model=model, base_url=base_url, api_key="none", use_realtime=True)


async def listen(stream: stt.RecognizeStream, wanted_words: int) -> None:
    """Print the final texts until so many words have come."""
    words = 0
    async for event in stream:
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            text = event.alternatives[0].text
            print(json.dumps(text), flush=True)  # noqa: T201
            words += len(text.split())
        if words >= wanted_words:
            return


async def main(kind: str, address: str, path: str, wanted_words: str) -> None:
    """One session."""
    async with utils.http_context.open(), asyncio.timeout(DEADLINE_S):
        one = plugin(kind, address)
        stream = one.stream()
        listening = asyncio.create_task(listen(stream, int(wanted_words)))
        async for piece in pieces(path):
            stream.push_frame(rtc.AudioFrame(piece, RATE_HZ, 1, PIECE_SAMPLES))
        await listening
        await stream.aclose()
        await one.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
