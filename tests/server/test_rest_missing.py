"""The rule of REST: all that can be heard of a file is text, and what it lacks is told."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from lanscribe.engines.fake import spoken
from lanscribe.media import process
from tests.media.test_choice import film
from tests.servers import ServeHere, Server, forkers, workers
from tests.sounds import by_libsndfile
from tests.support import DEADLINE_S, counting

WAV = by_libsndfile(spoken([1, 2, 3]), "WAV")
MISSING: list[dict[str, Any]] = [
    {"start": 0.8, "end": 5.8, "code": "damaged", "why": "a packet cannot be decoded"},
    {"start": 8.2, "end": None, "code": "cut_off", "why": "the file ends here"},
]
TRACK: dict[str, Any] = {
    "number": 2,
    "count": 3,
    "language": "de",
    "title": "Café",
    "why": "track 1 is silent",
}
NO_TEXT: dict[str, Any] = {
    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]
}
TEXT = counting(range(1, 41))


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch, serve_here: ServeHere) -> Server:
    """A server whose recordings are all `tests.media.lacking`."""
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.lacking"))
    return serve_here()


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch, serve_here: ServeHere) -> Server:
    """A server whose decoders crash after a second."""
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", "crash", "after"))
    return serve_here()


def ask(server: Server, **fields: str) -> httpx.Response:
    return ask_of(server, WAV, fields)


def ask_of(server: Server, data: bytes, fields: dict[str, str]) -> httpx.Response:
    url = f"{server.http_url}/v1/audio/transcriptions"
    return httpx.post(url, files={"file": ("a", data)}, data=fields, timeout=DEADLINE_S)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n")[:-1]]


@pytest.mark.parametrize("wanted", ["json", "verbose_json"])
def test_what_is_missing_is_a_field(lacking: Server, wanted: str) -> None:
    answer = ask(lacking, response_format=wanted).json()
    assert answer["text"] == TEXT
    assert answer["missing"] == MISSING
    assert answer["track"] == TRACK
    assert answer["lost"] == [{"start": 0.8, "end": 5.8}]
    assert answer["usage"]["seconds"] == 8.2


def test_words_after_a_missing_part_keep_their_times(lacking: Server) -> None:
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    words = ask(lacking, **asked).json()["words"]
    assert words[9]["end"] == pytest.approx(0.8)
    assert words[10]["end"] == pytest.approx(5.88, abs=0.05)


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt"])
def test_where_there_is_no_field_there_is_a_header(lacking: Server, wanted: str) -> None:
    headers = ask(lacking, response_format=wanted).headers
    assert headers["Lanscribe-Missing"] == "0.800-5.800 damaged, 8.200- cut_off"
    assert headers["Lanscribe-Track"] == (
        "2; count=3; language=de; title=Caf%C3%A9; why=track%201%20is%20silent"
    )
    assert headers["Lanscribe-Lost"] == "0.800-5.800"


def test_a_stream_tells_each_part_where_it_is_in_the_text(lacking: Server) -> None:
    first, *told = events(ask(lacking, stream="true"))
    assert first == {"type": "transcript.track"} | TRACK | NO_TEXT
    order = [
        event["delta"].strip() if "delta" in event else event["type"].removeprefix("transcript.")
        for event in told
    ]
    numbers = [str(number) for number in range(1, 41)]
    assert order == [*numbers[:10], "missing", *numbers[10:], "missing", "", "text.done"]
    parts = [event for event in told if event["type"] == "transcript.missing"]
    assert parts == [{"type": "transcript.missing"} | part | NO_TEXT for part in MISSING]
    done = told[-1]
    assert (done["text"], done["missing"], done["track"]) == (TEXT, MISSING, TRACK)


def test_a_track_that_is_not_there_is_an_error_of_its_field(lacking: Server) -> None:
    answer = ask(lacking, track="9")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("track", "invalid_request")
    assert error["message"] == "track: the recording has 3 tracks"
    assert ask(lacking, track="2").json()["text"] == TEXT


@pytest.mark.parametrize("track", ["-1", "first track", "\0", "x" * 36, "é"])
def test_what_names_no_track_is_refused(fake_server: Server, track: str) -> None:
    answer = ask(fake_server, track=track)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "track"
    assert "a number from 1" in answer.json()["error"]["message"]


def test_the_text_before_a_crash_of_the_decoder_is_kept(crashing: Server) -> None:
    answer = ask(crashing).json()
    assert answer["text"] == counting(range(1, 14))
    why = "the decoder crashed (SIGSEGV)"
    missing: list[dict[str, Any]] = [
        {"start": 1.0, "end": None, "code": "damaged", "why": why},
    ]
    assert answer["missing"] == missing
    assert "lost" not in answer
    told = events(ask(crashing, stream="true"))
    assert told[-1]["missing"] == missing
    assert told[-3] == {"type": "transcript.missing"} | missing[0] | NO_TEXT


def test_a_decoder_that_crashes_before_any_sound_is_the_files_fault(
    monkeypatch: pytest.MonkeyPatch, serve_here: ServeHere
) -> None:
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", "crash", "before"))
    server = serve_here()
    for stream in ("false", "true"):
        answer = ask(server, stream=stream)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_file"
        assert answer.json()["error"]["message"] == "the decoder crashed (SIGSEGV)"


def test_a_defect_of_the_reader_is_the_servers_fault(
    monkeypatch: pytest.MonkeyPatch, serve_here: ServeHere
) -> None:
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", "defect", "before"))
    answer = ask(serve_here())
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"


def test_a_whole_file_has_nothing_to_tell(fake_server: Server) -> None:
    answer = ask(fake_server).json()
    assert set(answer) == {"text", "usage"}
    headers = ask(fake_server, response_format="text").headers
    assert not [name for name in headers if name.startswith("lanscribe")]


FILM = film(
    [0 * spoken(range(20)), spoken(range(100, 120)), spoken(range(500, 520))],
    languages=("en", "de", "fr"),
)


@pytest.mark.parametrize(
    ("wanted", "number", "numbers"),
    [
        ("", 2, range(100, 120)),
        ("2", 2, range(100, 120)),
        ("ger", 2, range(100, 120)),
        ("3", 3, range(500, 520)),
    ],
)
def test_a_track_of_a_film(fake_server: Server, wanted: str, number: int, numbers: range) -> None:
    answer = ask_of(fake_server, FILM, {"track": wanted}).json()
    assert answer["text"] == counting(numbers)
    assert (answer["track"]["number"], answer["track"]["count"]) == (number, 3)
    assert answer["track"]["why"]


def test_a_track_that_a_film_lacks_is_told_with_those_it_has(fake_server: Server) -> None:
    answer = ask_of(fake_server, FILM, {"track": "it"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "track"
    assert "3 (fr" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_wave_file_that_was_cut_off(fake_server: Server, stream: str) -> None:
    whole = by_libsndfile(spoken(range(1, 101)), "WAV")
    answer = ask_of(fake_server, whole[: 44 + 128_000], {"stream": stream})
    told = events(answer)[-1] if stream == "true" else answer.json()
    assert told["text"] == counting(range(1, 51))
    (part,) = told["missing"]
    assert (part["start"], part["code"]) == (4.0, "cut_off")
    assert part["end"] in (None, pytest.approx(8.0, abs=0.01))


def test_a_client_that_leaves_a_decoder_that_hangs_frees_its_slot(
    monkeypatch: pytest.MonkeyPatch, serve_here: ServeHere
) -> None:
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", "hang", "before"))
    server = serve_here()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.http_url}/v1/audio/transcriptions", files={"file": WAV}, timeout=0.5)
    deadline_s = time.monotonic() + DEADLINE_S
    while workers() or httpx.get(f"{server.http_url}/health").json()["sessions"]:
        assert time.monotonic() < deadline_s


def test_a_server_that_stops_ends_a_decoder_that_hangs(
    monkeypatch: pytest.MonkeyPatch, serve_here: ServeHere
) -> None:
    monkeypatch.setattr(process, "COMMAND", ("-P", "-m", "tests.media.faults", "hang", "before"))
    before = forkers()
    server = serve_here(limits={"stop_timeout_s": 0.1})
    with ThreadPoolExecutor() as pool:
        answering = pool.submit(ask, server)
        deadline_s = time.monotonic() + DEADLINE_S
        while not workers():
            assert time.monotonic() < deadline_s
        server.stop()
        assert not workers()
        assert forkers() == before
        assert answering.result().json()["error"]["code"] == "server_stopping"
