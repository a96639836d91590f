"""vLLM's own realtime validation, against the server with our loader: four scenarios.

After vllm/tests/entrypoints/openai/realtime/test_realtime_validation.py of 0.33.
"""

import asyncio

from tests.support import Client, client, text_of
from tests.vllm.real.server import VllmServer
from tests.vllm.real.sound import melody

CHUNK_SAMPLES = 1280


def test_several_chunks(int4_server: VllmServer) -> None:
    asyncio.run(_several_chunks(int4_server))


async def _several_chunks(server: VllmServer) -> None:
    sound = melody(4.0, seed=7)
    async with client(server.url, server.model, is_ours=False) as one:
        await one.commit(final=False)
        for start in range(0, len(sound), CHUNK_SAMPLES):
            await one.append(sound[start : start + CHUNK_SAMPLES])
        await one.commit(final=True)
        events = await one.until("transcription.done")
    assert text_of(events) == events[-1]["text"] != ""
    assert events[-1]["usage"]["completion_tokens"] == len(events) - 1 == 60


def test_an_empty_commit_does_no_harm(int4_server: VllmServer) -> None:
    asyncio.run(_empty_commit(int4_server))


async def _empty_commit(server: VllmServer) -> None:
    async with client(server.url, server.model, is_ours=False) as one:
        await one.commit(final=False)
        await one.commit(final=True)
        answer = await one.receive()
    assert answer["type"] == "transcription.done"
    async with client(server.url, server.model, is_ours=False) as another:
        assert (await another.transcribe(melody(1.0, seed=7)))["text"]


def test_a_wish_for_tentative_words_is_ignored(int4_server: VllmServer) -> None:
    assert asyncio.run(_wish_of_tentative(int4_server)) == set()


async def _wish_of_tentative(server: VllmServer) -> set[str]:
    """The fields that the wish adds to what vLLM tells, beside those of its own."""
    async with client(server.url, is_ours=False) as one:
        await one.send(type="session.update", model=server.model, resume=True, tentative=True)
        await one.commit(final=False)
        await one.append(melody(1.0, seed=7))
        await one.commit(final=True)
        events = await one.until("transcription.done")
    return {name for event in events for name in event} & {"tentative", "resume", "seq"}


def test_an_unknown_model(int4_server: VllmServer) -> None:
    assert asyncio.run(_error_of(int4_server, "some-other-model")) == "model_not_found"


def test_a_commit_without_a_model(int4_server: VllmServer) -> None:
    assert asyncio.run(_error_of(int4_server, None)) == "model_not_validated"


async def _error_of(server: VllmServer, model: str | None) -> str:
    """The code of the error that a commit brings after choosing `model`, or none."""
    async with client(server.url, is_ours=False) as one:
        if model:
            await one.select(model)
        else:
            await one.commit(final=False)
        return await _error_code(one)


async def _error_code(one: Client) -> str:
    event = await one.receive()
    assert event["type"] == "error", event
    return str(event["code"])
