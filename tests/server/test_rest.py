"""The REST interface with the clients people have: OpenAI's own, curl, and one made of its spec."""

import asyncio
import itertools
import json
import re
import resource
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jiwer
import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok

from lanscribe.engines.embedded.engine import read_wave
from lanscribe.engines.embedded.model_store import sample_path
from lanscribe.engines.fake import spoken
from lanscribe.speech.audio import Samples
from tests.protocols.record import Ran
from tests.servers import ServeHere, Server, StartServer
from tests.sounds import KINDS, by_libsndfile, film
from tests.support import DEADLINE_S, client, counting, get_json

SAID = "ever tried ever failed no matter try again fail again fail better"
NUMBERS = by_libsndfile(spoken([1, 2, 3]), "WAV")
HOUR_FRAMES = 45_000
PATH = "/v1/audio/transcriptions"
FORM = "multipart/form-data; boundary=x"
CUT_OFF = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + NUMBERS


@pytest.fixture(scope="module")
def speech() -> Samples:
    return read_wave(sample_path())


@pytest.fixture(scope="module")
def hour() -> bytes:
    """Long enough for a client to leave in the middle of it."""
    return by_libsndfile(spoken([0] * HOUR_FRAMES), "FLAC")


def dial(server: Server) -> OpenAI:
    url = f"{server.http_url}/v1"
    return OpenAI(api_key="none", base_url=url, max_retries=0, timeout=DEADLINE_S)


@pytest.fixture
def fake(fake_server: Server) -> Iterator[OpenAI]:
    with dial(fake_server) as one:
        yield one


def create(one: OpenAI, data: bytes, name: str = "sound.wav", **wanted: Any) -> Any:
    return one.audio.transcriptions.create(file=(name, data), model="whisper-1", **wanted)


def post(server: Server, **options: Any) -> httpx.Response:
    return httpx.post(server.http_url + PATH, timeout=DEADLINE_S, **options)


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z ]", " ", text.lower()).split())


def test_openais_client_gets_json(fake: OpenAI) -> None:
    transcript = create(fake, NUMBERS)
    assert transcript.text == "1 2 3"
    assert transcript.usage.type == "duration"
    assert transcript.usage.seconds == 0.24


def test_openais_client_gets_every_format(fake: OpenAI, ran: Ran) -> None:
    assert create(fake, NUMBERS, response_format="text") == "1 2 3\n"
    assert re.fullmatch(
        r"1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n1 2 3\n\n",
        create(fake, NUMBERS, response_format="srt"),
    )
    assert create(fake, NUMBERS, response_format="vtt").startswith("WEBVTT\n\n00:00:00.")
    ran("OpenAI REST", PATH, "openai", "every format")


def test_verbose_json_has_the_times_that_were_asked_for(fake: OpenAI) -> None:
    wanted = {"response_format": "verbose_json"}
    plainly = create(fake, NUMBERS, **wanted)
    assert (plainly.text, plainly.language, plainly.duration) == ("1 2 3", "en", 0.24)
    assert plainly.words is None
    assert [segment.text for segment in plainly.segments] == ["1 2 3"]
    assert plainly.segments[0].tokens == []
    words = create(fake, NUMBERS, timestamp_granularities=["word"], **wanted)
    assert words.segments is None
    assert [(word.word, word.end) for word in words.words] == [
        ("1", 0.08),
        ("2", 0.16),
        ("3", 0.24),
    ]
    both = create(fake, NUMBERS, timestamp_granularities=["word", "segment"], **wanted)
    assert len(both.words) == 3
    assert len(both.segments) == 1


def test_a_stream_brings_every_word_as_it_is_heard(fake: OpenAI, ran: Ran) -> None:
    numbers = range(1, 400)
    events = list(create(fake, by_libsndfile(spoken(numbers), "FLAC"), stream=True))
    deltas, done = events[:-1], events[-1]
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert "".join(event.delta for event in deltas) == done.text == counting(numbers)
    assert done.type == "transcript.text.done"
    assert (done.usage.input_tokens, done.usage.output_tokens) == (399, 399)
    ran("OpenAI REST", PATH, "openai", "a stream")


def test_a_stream_is_read_by_vllms_clients_too(fake_server: Server) -> None:
    """What its example client, `vllm bench serve --backend openai-audio` and guidellm read."""
    form = {"stream": "True", "stream_include_usage": "True", "max_completion_tokens": "100"}
    file = ("n.wav", by_libsndfile(spoken([1, 2, 3]), "WAV"))
    url = f"{fake_server.http_url}/v1/audio/transcriptions"
    answer = httpx.post(url, data=form, files={"file": file}, timeout=DEADLINE_S)
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n")[:-1]]
    *told, last = [event["choices"][0] for event in events[:-1]]
    assert "".join(one["delta"]["content"] for one in told) == "1 2 3"
    assert last == {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}
    assert events[-1]["usage"]["completion_tokens"] == 3


def test_openais_asynchronous_client(fake_server: Server, ran: Ran) -> None:
    async def converse() -> None:
        url = f"{fake_server.http_url}/v1"
        async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as one:
            files = [("n.wav", by_libsndfile(spoken([n, n + 1]), "WAV")) for n in range(1, 9)]
            asked = [one.audio.transcriptions.create(file=f, model="") for f in files]
            texts = [transcript.text for transcript in await asyncio.gather(*asked)]
            assert texts == [f"{n} {n + 1}" for n in range(1, 9)]
            stream = await one.audio.transcriptions.create(file=files[0], model="", stream=True)
            events = [event async for event in stream]
            assert [event.type for event in events][-1] == "transcript.text.done"

    asyncio.run(converse())
    ran("OpenAI REST", PATH, "openai", "eight files at once, asynchronously")


@pytest.mark.parametrize("kind", KINDS)
def test_real_speech_of_every_kind(embedded_server: Server, speech: Samples, kind: str) -> None:
    data = KINDS[kind](speech)
    wanted = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}
    with dial(embedded_server) as one:
        transcript = create(one, data, f"speech.{kind}", **wanted)
    assert jiwer.wer(SAID, plain(transcript.text)) <= 0.1
    assert " ".join(word.word for word in transcript.words) == transcript.text
    assert len(transcript.segments) == 6
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] < transcript.duration


@pytest.mark.slow
def test_curl(fake_server: Server, tmp_path: Path, ran: Ran) -> None:
    file = tmp_path / "sound.wav"
    file.write_bytes(by_libsndfile(spoken(range(1, 3000)), "WAV"))  # curl asks before it sends
    form = ["-F", f"file=@{file}", "-F", "model=any", "-F", "response_format=text"]
    form += ["-F", "language=en", "-F", "prompt=numbers", "-F", "temperature=0.5"]
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*", *form]
    done = subprocess.run(
        [*command, fake_server.http_url + PATH],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    assert done.stdout == counting(range(1, 3000)) + "\n"
    ran("OpenAI REST", PATH, "curl", "a form with every field")


@pytest.mark.parametrize(
    ("data", "wanted", "param", "part"),
    [
        (b"", {}, None, "the file is empty"),
        (b"Dear diary", {}, None, "a text that begins with 'Dear diary'"),
        (film(), {}, None, "its tracks: video"),
        (NUMBERS[:44], {}, None, "no sound follows"),
        (NUMBERS, {"response_format": "docx"}, "response_format", "'docx'; expected one of json"),
        (NUMBERS, {"response_format": "srt", "stream": True}, "response_format", "json, text"),
        (NUMBERS, {"temperature": 1.5}, "temperature", "'1.5'; expected a number from 0 to 1"),
        (NUMBERS, {"temperature": "nan"}, "temperature", "'nan'"),
        (NUMBERS, {"timestamp_granularities": ["line"]}, "timestamp_granularities[]", "'line'"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(
    fake: OpenAI, data: bytes, wanted: dict[str, Any], param: str | None, part: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        create(fake, data, **wanted)
    error = caught.value
    assert (error.status_code, error.type, error.param) == (400, "invalid_request_error", param)
    assert error.code == ("invalid_request" if param else "invalid_file")
    assert part in error.message
    assert create(fake, NUMBERS).text == "1 2 3"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"json": {"file": "x"}}, "got the Content-Type 'application/json'"),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data"}}, "boundary"),
        (
            {
                "content": b"nonsense",
                "headers": {"Content-Type": "multipart/form-data; boundary=x"},
            },
            "the form cannot be read",
        ),
        ({"content": CUT_OFF, "headers": {"Content-Type": FORM}}, "the upload is cut off"),
        ({"content": CUT_OFF[:60], "headers": {"Content-Type": FORM}}, "the upload is cut off"),
        (
            {"content": b"", "headers": {"Content-Type": FORM, "Content-Encoding": "gzip"}},
            "got the Content-Encoding 'gzip', which is not supported",
        ),
        ({"files": {"model": (None, "x")}}, "file: missing"),
        ({"files": {"file": (None, "not a file")}}, "file: missing"),
        ({"files": [("file", NUMBERS), ("file2", NUMBERS)]}, "Too many files"),
        ({"files": {"file": NUMBERS, "prompt": (None, "x" * 70_000)}}, "exceeded maximum size"),
        ({"files": [("file", NUMBERS), *[("a", (None, "b"))] * 99]}, "Too many fields"),
        ({"files": {"language": NUMBERS, "file": (None, "")}}, "file: missing"),
        ({"files": {"file": NUMBERS, "stream": (None, "maybe")}}, "stream: got 'maybe'"),
    ],
)
def test_a_bad_form_is_told_what_is_wrong(
    fake_server: Server, options: dict[str, Any], part: str
) -> None:
    response = post(fake_server, **options)
    assert response.status_code == 400
    assert part in response.json()["error"]["message"]


@pytest.mark.parametrize("length", [1, 3, 7, 1000])
def test_a_form_ends_wherever_its_bytes_are_split(fake_server: Server, length: int) -> None:
    form = CUT_OFF + b"\r\n--x--\r\n"

    def pieces() -> Iterator[bytes]:
        yield form[:-30]
        yield from (form[at : at + length] for at in range(len(form) - 30, len(form), length))

    response = post(fake_server, content=pieces(), headers={"Content-Type": FORM})
    assert response.json()["text"] == "1 2 3"


@pytest.mark.slow
def test_damage_that_shows_late_ends_a_stream_with_what_is_missing(fake: OpenAI) -> None:
    whole = KINDS["flac"](spoken([n % 3000 + 1 for n in range(9000)]))
    *_, done = create(fake, whole[: len(whole) // 2], stream=True)
    assert done.type == "transcript.text.done"
    assert len(done.text.split()) > 3000
    (part,) = done.to_dict()["missing"]
    assert part["start"] == pytest.approx(0.08 * len(done.text.split()), abs=1.0)


def test_an_upload_that_is_too_large(serve_here: ServeHere) -> None:
    """Known from its head, or noticed on the way; in both cases the client can read the answer."""
    server = serve_here(limits={"upload_bytes": 2_000_000})
    with dial(server) as one:
        with pytest.raises(openai.APIStatusError) as caught:
            create(one, bytes(50_000_000))
        assert caught.value.status_code == 413
        assert caught.value.code == "upload_too_large"
        assert "got 500" in caught.value.message
        assert "up to 2000000 (limits.upload_bytes)" in caught.value.message
        assert create(one, NUMBERS).text == "1 2 3"

    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(400):
            yield bytes(2**16)

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    response = post(server, content=endless(), headers=kind)
    assert response.status_code == 413
    assert "got more than 2000000 bytes" in response.json()["error"]["message"]


def test_a_full_disk_is_said(start_server: StartServer) -> None:
    server = start_server()
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    with dial(server) as one:
        with pytest.raises(openai.InternalServerError) as caught:
            create(one, bytes(8_000_000))
        assert caught.value.status_code == 507
        assert caught.value.code == "storage_full"
        assert create(one, NUMBERS).text == "1 2 3"
    assert "Traceback" not in server.log


def test_a_busy_server_says_when_to_come_again(serve_here: ServeHere) -> None:
    """A slot is a slot: a live session takes one, and so does a file."""
    server = serve_here(engine={"sessions": 1})

    async def converse() -> httpx.Response:
        async with client(server.url, "fake-numbers"):
            return await asyncio.to_thread(post, server, files={"file": NUMBERS})

    response = asyncio.run(converse())
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["error"]["code"] == "server_busy"
    assert response.json()["error"]["type"] == "server_error"
    assert post(server, files={"file": NUMBERS}).json()["text"] == "1 2 3"


def test_who_has_got_an_answer_finds_room_for_the_next_file(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 1})
    with dial(server) as one:
        assert {create(one, NUMBERS).text for _ in range(60)} == {"1 2 3"}


def sessions(server: Server) -> int:
    _, health = get_json(f"{server.http_url}/health")
    return int(health["sessions"])


def wait_for_log(server: Server, text: str, *, times: int = 1) -> None:
    with subprocess.Popen(
        ["tail", "--lines=+1", "--follow", str(server.log_path)], stdout=subprocess.PIPE, text=True
    ) as tail:
        assert tail.stdout is not None
        for line in tail.stdout:
            times -= text in line
            if not times:
                break
        tail.kill()


def test_a_client_that_leaves_takes_its_transcription_along(
    serve_here: ServeHere, hour: bytes
) -> None:
    server = serve_here(engine={"sessions": 1})
    request = httpx.Request("POST", server.http_url + PATH, files={"file": hour})
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: {request.headers['content-type']}\r\n"
    head += f"Content-Length: {request.headers['content-length']}\r\n\r\n"
    with socket.create_connection((server.host, server.port), DEADLINE_S) as one:
        one.sendall(head.encode() + request.read())
        while not sessions(server):
            pass
    wait_for_log(server, "a client left before it was answered")
    assert sessions(server) == 0
    with dial(server) as other:
        events = create(other, hour, stream=True)
        events.close()
    wait_for_log(server, "a client left before it was answered", times=2)
    assert sessions(server) == 0
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_a_client_that_does_not_read_is_given_up(serve_here: ServeHere) -> None:
    server = serve_here(engine={"sessions": 1}, limits={"send_timeout_s": 0.5})
    numbers = [n % 9000 + 1 for n in range(HOUR_FRAMES // 2)]
    form: Any = {
        "file": ("n.wav", by_libsndfile(spoken(numbers), "FLAC")),
        "stream": (None, "true"),
    }
    with httpx.stream("POST", server.http_url + PATH, files=form, timeout=DEADLINE_S) as response:
        assert response.status_code == 200
        wait_for_log(server, "a client left before it was answered")
        assert sessions(server) == 0


def test_a_server_that_stops_tells_who_waits(start_server: StartServer, hour: bytes) -> None:
    server = start_server("fake", LANSCRIBE_LIMITS_STOP_TIMEOUT_S="0.1")

    async def converse() -> httpx.Response:
        asked = asyncio.create_task(asyncio.to_thread(post, server, files={"file": hour}))
        while not await asyncio.to_thread(sessions, server):
            pass
        server.process.send_signal(2)
        return await asked

    response = asyncio.run(converse())
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "server_stopping"
    assert server.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("bound", "status", "code"),
    [("idle_timeout_s", 408, b"idle_timeout"), ("session_s", 413, b"session_too_long")],
)
def test_an_upload_that_stands_still_is_given_up(
    serve_here: ServeHere, bound: str, status: int, code: bytes
) -> None:
    server = serve_here(limits={bound: 0.2, "send_timeout_s": 1.0})
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x"
    with socket.create_connection((server.host, server.port), DEADLINE_S) as one:
        one.sendall(head.encode())
        answer = b"".join(iter(lambda: one.recv(4096), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert code in answer


def test_what_takes_too_long_is_told(serve_here: ServeHere, hour: bytes) -> None:
    server = serve_here(limits={"session_s": 0.3})
    with dial(server) as one:
        with pytest.raises(openai.APIStatusError) as refused:
            create(one, hour)
        assert (refused.value.status_code, refused.value.code) == (413, "session_too_long")
        with pytest.raises(openai.APIError, match="took longer than") as ended:
            list(create(one, hour, stream=True))
        assert ended.value.code == "session_too_long"
    assert sessions(server) == 0


def test_an_upload_keeps_to_the_rate(serve_here: ServeHere) -> None:
    """So much of it would take three seconds, and is allowed a fraction of one."""
    server = serve_here(limits={"bytes_per_s": 64_000, "message_bytes": 1024, "session_s": 0.5})
    response = post(server, files={"file": by_libsndfile(spoken([0] * 100), "WAV")})
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "session_too_long"


def test_models(fake: OpenAI, ran: Ran) -> None:
    (model,) = fake.models.list().data
    assert model.id == "fake-numbers"
    for name in ("fake-numbers", "whisper-1", "mistralai/Voxtral-Mini-4B-Realtime-2602"):
        assert fake.models.retrieve(name) == model
    with pytest.raises(openai.NotFoundError) as caught:
        fake.models.retrieve("mistralai/Voxtral")
    assert caught.value.code == "model_not_found"
    assert "this server has: fake-numbers." in caught.value.message
    ran("OpenAI REST", "/v1/models", "openai", "models, by list and by name")


def test_the_page_needs_nothing_from_elsewhere(fake_server: Server) -> None:
    response = httpx.get(fake_server.http_url + "/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    for part in ("/v1/audio/transcriptions", "timestamp_granularities[]", "text/event-stream"):
        assert part in response.text
    assert not re.search(r"""(src|href)=["'](?!/)|@import|url\(""", response.text)


@pytest.mark.slow
def test_every_way_to_use_it_keeps_to_its_description(fake_server: Server, ran: Ran) -> None:
    """Made-up requests of every sort: no answer is a server error, and none off its schema."""
    schemathesis.openapi.media_type("audio/wav", st.just(NUMBERS))
    schemathesis.openapi.format("track", st.sampled_from(["1", "default", "all"]))
    schema = schemathesis.openapi.from_url(fake_server.http_url + "/openapi.json")
    statuses: set[int] = set()
    for result, mode in itertools.product(schema.get_all_operations(), GenerationMode):
        assert isinstance(result, Ok)
        operation = result.ok()
        if mode.is_negative and operation.method != "post":
            continue  # there is nothing to get wrong

        @settings(
            max_examples=20,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            statuses.add(case.call_and_validate(timeout=DEADLINE_S).status_code)

        ask()
    assert statuses >= {200, 400, 404}
    ran("OpenAI REST", "/openapi.json", "schemathesis", "made-up requests of every sort")
