"""vLLM's protocol against real servers: the fake engine shows every frame, speech every word."""

import asyncio
import signal

import jiwer
import numpy as np
import pytest
import soundfile
from websockets.exceptions import InvalidStatus

from lanscribe import PROJECT_DIR
from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import Samples, samples_to_pcm16
from tests.servers import ServeHere, Server, StartServer
from tests.support import Refused, client, counting, get_json, text_of, words

MODEL = "fake-numbers"
SPEECH = PROJECT_DIR / "models/samples/beckett.wav"
SAID = "ever tried ever failed no matter try again fail again fail better"


@pytest.fixture(scope="module")
def speech() -> Samples:
    samples, rate_hz = soundfile.read(SPEECH, dtype="float32")
    assert rate_hz == 16_000
    return np.asarray(samples, dtype=np.float32)


def test_vllms_own_order_of_events(fake_server: Server) -> None:
    """As vLLM's example client does: update, commit, appends, final commit."""

    async def converse() -> None:
        async with client(fake_server.url, MODEL) as one:
            await one.commit()
            await one.append(spoken([1, 2, 3]))
            await one.append(spoken([0, 4]))
            await one.commit(final=True)
            events = await one.until("transcription.done")
        assert text_of(events) == events[-1]["text"] == "1 2 3 4"
        assert [event["end_s"] for event in events[:-1]] == [0.08, 0.16, 0.24, 0.32, 0.4]
        assert events[-1]["usage"] == {
            "prompt_tokens": 5,
            "completion_tokens": 4,
            "total_tokens": 9,
        }

    asyncio.run(converse())


def test_segments_come_to_who_asks_for_them_and_only_then(fake_server: Server) -> None:
    """As the change 50783 of vLLM does it: the last segment comes with the end alone."""

    async def converse() -> None:
        async with client(fake_server.url) as one:
            for wish in ({"timestamp_granularities": ["segment"]}, {}):
                await one.send(type="session.update", model="", **wish)
                if wish:
                    assert await one.receive() == {
                        "type": "session.updated",
                        "model": MODEL,
                        **wish,
                        "seq": 2,
                    }
                await one.commit()
                await one.append(spoken([1, 0, 2, 3]))
                await one.commit(final=True)
                *deltas, done = await one.until("transcription.done")
                if not wish:
                    assert not any("segments" in event for event in [*deltas, done])
                    continue
                ends = [{"text": "1", "end": 0.08}, {"text": " 2", "end": 0.24}]
                last = {"text": " 3", "end": 0.32}
                assert [one for delta in deltas for one in delta["segments"]] == ends
                assert done["segments"] == [*ends, last]
                assert "".join(one["text"] for one in done["segments"]) == done["text"]
            await one.send(type="session.update", model="", timestamp_granularities=["word"])
            assert (await one.receive())["timestamp_granularities"] == ["word"]

    asyncio.run(converse())


def test_guidellms_order_of_events(fake_server: Server) -> None:
    """All appends first, then both commits."""

    async def converse() -> None:
        async with client(fake_server.url, MODEL) as one:
            for number in range(1, 200):
                await one.append(spoken([number]))
            await one.commit(final=False)
            await one.commit(final=True)
            done = (await one.until("transcription.done"))[-1]
        assert done["text"] == counting(range(1, 200))

    asyncio.run(converse())


def test_audio_before_the_model_is_kept(fake_server: Server) -> None:
    async def converse() -> None:
        async with client(fake_server.url) as one:
            await one.append(spoken([1, 2]))
            await one.select(MODEL)
            await one.commit(final=False)
            await one.commit(final=True)
            assert (await one.until("transcription.done"))[-1]["text"] == "1 2"

    asyncio.run(converse())


def test_utterances_may_be_sent_ahead(fake_server: Server) -> None:
    """Nothing that arrives while an utterance ends is lost, unlike with vLLM."""

    async def converse() -> None:
        async with client(fake_server.url, MODEL) as one:
            for start in (1, 101, 201):
                await one.commit()
                await one.append(spoken(range(start, start + 50)))
                await one.commit(final=True)
            texts = [(await one.until("transcription.done"))[-1]["text"] for _ in range(3)]
        assert texts == [counting(range(start, start + 50)) for start in (1, 101, 201)]

    asyncio.run(converse())


def test_a_commit_while_one_runs_is_ignored(fake_server: Server) -> None:
    async def converse() -> None:
        async with client(fake_server.url, MODEL) as one:
            for number in range(1, 20):
                await one.commit(final=False)
                await one.append(spoken([number]))
            await one.commit(final=True)
            events = await one.until("transcription.done")
        assert events[-1]["text"] == counting(range(1, 20))
        assert all(event["type"] == "transcription.delta" for event in events[:-1])

    asyncio.run(converse())


def test_a_commit_without_audio_is_done_and_empty(fake_server: Server) -> None:
    async def converse() -> None:
        async with client(fake_server.url, MODEL) as one:
            for _ in range(3):
                await one.commit(final=False)
                await one.commit(final=True)
                (done,) = await one.until("transcription.done")
                assert done["text"] == ""
            assert (await one.transcribe(spoken([7])))["text"] == "7"

    asyncio.run(converse())


def test_a_final_commit_alone_transcribes_what_is_there(fake_server: Server) -> None:
    async def converse() -> None:
        async with client(fake_server.url, MODEL) as one:
            await one.append(spoken([5, 6]))
            await one.commit(final=True)
            assert (await one.until("transcription.done"))[-1]["text"] == "5 6"

    asyncio.run(converse())


def test_binary_frames_are_raw_pcm(fake_server: Server) -> None:
    async def converse() -> None:
        async with client(fake_server.url, MODEL) as one:
            await one.commit()
            await one.connection.send(samples_to_pcm16(spoken([1, 2])))
            await one.append(spoken([3]))
            await one.connection.send(samples_to_pcm16(spoken([4])))
            await one.commit(final=True)
            assert (await one.until("transcription.done"))[-1]["text"] == "1 2 3 4"

    asyncio.run(converse())


def test_an_unknown_model_and_a_commit_without_update(fake_server: Server) -> None:
    async def converse() -> None:
        async with client(fake_server.url) as one:
            await one.commit()
            assert (await one.receive())["code"] == "model_not_validated"
            await one.select("no-such-model")
            refusal = await one.receive()
            assert refusal["code"] == "model_not_found"
            assert MODEL in refusal["error"]
            await one.append(spoken([1]))  # is kept, and gets no error
            await one.select(MODEL)
            assert (await one.transcribe(spoken([2])))["text"] == "1 2"

    asyncio.run(converse())


def test_text_comes_while_audio_is_still_being_sent(fake_server: Server) -> None:
    async def converse() -> None:
        async with client(fake_server.url, MODEL) as one:
            await one.commit()
            for number in range(1, 10):
                await one.append(spoken([number]))
                assert (await one.receive())["delta"].strip() == str(number)

    asyncio.run(converse())


def test_real_speech(embedded_server: Server, speech: Samples) -> None:
    async def converse() -> None:
        async with client(embedded_server.url, "moonshine-base-en") as one:
            await one.commit()
            for start in range(0, len(speech), 1600):
                await one.append(speech[start : start + 1600])
            await one.commit(final=True)
            events = await one.until("transcription.done")
        text = events[-1]["text"]
        assert text_of(events) == text
        assert jiwer.wer(SAID, " ".join(words(text))) <= 0.1
        ends = [event["end_s"] for event in events[:-1] if event["delta"]]
        assert ends == sorted(ends)
        assert events[-1]["duration_s"] == pytest.approx(len(speech) / 16_000, abs=0.01)

    asyncio.run(converse())


def test_real_speech_of_several_sessions_at_once(embedded_server: Server, speech: Samples) -> None:
    async def one_client() -> str:
        async with client(embedded_server.url, "moonshine-base-en") as one:
            return str((await one.transcribe(speech))["text"])

    async def converse() -> list[str]:
        return await asyncio.gather(*(one_client() for _ in range(3)))

    texts = asyncio.run(converse())
    assert len(set(texts)) == 1
    assert jiwer.wer(SAID, " ".join(words(texts[0]))) <= 0.1


def test_silence_has_no_words(embedded_server: Server) -> None:
    async def converse() -> None:
        async with client(embedded_server.url, "moonshine-base-en") as one:
            done = await one.transcribe(np.zeros(16_000 * 8, dtype=np.float32))
        assert done["text"] == ""

    asyncio.run(converse())


def test_health_and_models(fake_server: Server) -> None:
    status, health = get_json(f"{fake_server.http_url}/health")
    assert status == 200
    assert health["status"] == "ok"
    assert health["engine"] == "fake"
    status, models = get_json(f"{fake_server.http_url}/v1/models")
    assert status == 200
    assert [model["id"] for model in models["data"]] == [MODEL]


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"}],
    ids=["host", "origin"],
)
def test_a_web_page_from_elsewhere_may_not_come_in(
    fake_server: Server, headers: dict[str, str]
) -> None:
    status, body = get_json(f"{fake_server.http_url}/health", **headers)
    assert (status, body["error"]["code"]) == (403, "not_allowed")

    async def converse() -> None:
        with pytest.raises(InvalidStatus) as caught:
            async with client(fake_server.url, additional_headers=headers):
                pass
        assert caught.value.response.status_code == 403

    if "Origin" in headers:  # the client library sets Host itself
        asyncio.run(converse())


def test_one_session_more_than_the_machine_holds_is_told_busy(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 2})

    async def converse() -> None:
        async with client(server.url, MODEL) as first, client(server.url, MODEL):
            with pytest.raises(Refused) as caught:
                async with client(server.url):
                    pass
            assert caught.value.args == ("server_busy", 1013)
            assert (await first.transcribe(spoken([1])))["text"] == "1"
        async with client(server.url, MODEL) as fourth:
            assert (await fourth.transcribe(spoken([2])))["text"] == "2"

    asyncio.run(converse())


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_stopping_gives_running_sessions_their_last_words(
    start_server: StartServer, with_signal: signal.Signals
) -> None:
    server = start_server()

    async def converse() -> None:
        async with client(server.url, MODEL) as one, client(server.url):
            await one.commit()
            await one.append(spoken([1, 2, 3]))
            await one.receive()
            stopping = asyncio.create_task(asyncio.to_thread(server.stop, with_signal))
            events = await one.until("error")
            assert events[-2]["text"] == "1 2 3"
            assert events[-1]["code"] == "server_stopping"
            assert await one.close_code() == 1001
            assert await stopping == 0

    asyncio.run(converse())
    assert "Traceback" not in server.log


def test_the_log_has_no_transcript(start_server: StartServer) -> None:
    server = start_server("fake", "--log-level", "debug")

    async def converse() -> None:
        async with client(server.url + "?api_key=secret", MODEL) as one:
            assert (await one.transcribe(spoken([12345] * 3)))["text"]

    asyncio.run(converse())
    server.stop()
    assert "open (1 of" in server.log
    assert "12345" not in server.log
    assert "secret" not in server.log
