"""What REST tells of a file beside its text: what was not heard of it, and why nothing was."""

import json
import time
from typing import Any

import httpx
import numpy as np
import pytest
from openai import OpenAI

from lanscribe.engines.fake import spoken
from lanscribe.server.rest_stream import PROGRESS_EVERY_S
from tests.servers import Server
from tests.sounds import KINDS, by_libsndfile, endless, with_holes
from tests.support import DEADLINE_S, counting

HOLEY = with_holes(spoken(range(1, 21)), [(0.8, 5 * 3600.0)])
ZEROS = by_libsndfile(np.zeros(32_000, dtype=np.float32), "WAV")
FAINT = np.random.default_rng(0).normal(0, 1e-7, 32_000).astype(np.float32)
NOISE = by_libsndfile(FAINT, "WAV", subtype="FLOAT")
LOST = {"start": 0.8, "end": 18_000.8}


def ask(server: Server, data: bytes, **fields: str) -> httpx.Response:
    url = f"{server.http_url}/v1/audio/transcriptions"
    return httpx.post(url, files={"file": ("a", data)}, data=fields, timeout=DEADLINE_S)


def last_event(response: httpx.Response) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(response.text.strip().rpartition("data: ")[2])
    return event


@pytest.mark.parametrize("wanted", ["json", "verbose_json"])
def test_a_hole_of_hours_is_told_and_the_words_after_it_keep_their_time(
    fake_server: Server, wanted: str
) -> None:
    asked = {"response_format": wanted, "timestamp_granularities[]": "word"}
    answer = ask(fake_server, HOLEY, **asked).json()
    assert answer["text"] == counting(range(1, 21))
    assert answer["lost"] == [LOST]
    assert answer["usage"]["seconds"] == 18_001.6
    if wanted == "verbose_json":
        assert answer["words"][9] == {"word": "10", "start": 0.72, "end": 0.8}
        assert answer["words"][10]["end"] == pytest.approx(18_000.88, abs=0.1)


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt"])
def test_where_there_is_no_field_there_is_a_header(fake_server: Server, wanted: str) -> None:
    answer = ask(fake_server, HOLEY, response_format=wanted)
    assert answer.headers["Lanscribe-Lost"] == "0.800-18000.800"
    assert "Lanscribe-No-Speech" not in answer.headers
    answer = ask(fake_server, ZEROS, response_format=wanted)
    assert answer.headers["Lanscribe-No-Speech"] == "zeros"
    answer = ask(fake_server, NOISE, response_format=wanted)
    assert answer.headers["Lanscribe-No-Speech"] == "quiet; level_dbfs=-140.0"
    answer = ask(fake_server, KINDS["wav"](spoken([1])), response_format=wanted)
    assert not [name for name in answer.headers if name.startswith("lanscribe")]


def test_a_stream_tells_it_at_its_end(fake_server: Server) -> None:
    assert last_event(ask(fake_server, HOLEY, stream="true"))["lost"] == [LOST]
    assert last_event(ask(fake_server, ZEROS, stream="true"))["no_speech"] == {"code": "zeros"}


def test_why_nothing_was_heard_is_told_to_openais_client_too(fake_server: Server) -> None:
    url = f"{fake_server.http_url}/v1"
    with OpenAI(api_key="none", base_url=url, max_retries=0, timeout=DEADLINE_S) as one:
        answer = one.audio.transcriptions.create(file=("a.wav", NOISE), model="whisper-1")
    assert answer.text == ""
    assert answer.to_dict()["no_speech"] == {"code": "quiet", "level_dbfs": -140.0}


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_bomb_ends_with_its_reason_and_frees_its_slot(fake_server: Server, stream: str) -> None:
    answer = ask(fake_server, endless(7 / 32_767, 2 * 3600), stream=stream)
    assert answer.status_code == 200
    told = last_event(answer) if stream == "true" else answer.json()
    assert told["text"].startswith("7 7 7 7")
    (part,) = told["missing"]
    assert (part["code"], part["end"]) == ("too_long", None)
    assert len(told["text"].split()) == pytest.approx(part["start"] / 0.08, abs=5)
    deadline_s = time.monotonic() + DEADLINE_S
    while httpx.get(f"{fake_server.http_url}/health").json()["sessions"]:
        assert time.monotonic() < deadline_s


def test_a_damaged_file_gives_the_text_up_to_the_damage(fake_server: Server) -> None:
    whole = KINDS["flac"](spoken([n % 3000 + 1 for n in range(3000)]))
    answer = ask(fake_server, whole[: len(whole) // 2])
    assert answer.status_code == 200
    words = answer.json()["text"].split()
    assert words[:3] == ["1", "2", "3"]
    assert len(words) > 1000
    (part,) = answer.json()["missing"]
    assert part["start"] == pytest.approx(0.08 * len(words), abs=1.0)


def events_of(server: Server, data: bytes, **fields: str) -> list[dict[str, Any]]:
    answer = ask(server, data, stream="true", **fields)
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n")[:-1]]


def test_each_delta_has_its_place_in_the_file(fake_server: Server) -> None:
    deltas = [one for one in events_of(fake_server, HOLEY) if one.get("delta")]
    words = ask(
        fake_server,
        HOLEY,
        **{"response_format": "verbose_json", "timestamp_granularities[]": "word"},
    ).json()["words"]
    assert [(one["delta"].strip(), one["start"], one["end"]) for one in deltas] == [
        (word["word"], word["start"], word["end"]) for word in words
    ]
    assert deltas[10]["start"] > 18_000


def test_progress_is_told_only_if_it_is_asked_for_and_not_too_often(fake_server: Server) -> None:
    data = KINDS["flac"](spoken(range(1, 2000)))
    types = {one["type"] for one in events_of(fake_server, data)}
    assert types == {"transcript.text.delta", "transcript.text.done"}
    started_s = time.monotonic()
    told = events_of(fake_server, data, progress="true")
    took_s = time.monotonic() - started_s
    progress = [one for one in told if one["type"] == "transcript.progress"]
    assert 2 <= len(progress) <= 2 + took_s / PROGRESS_EVERY_S
    assert {one["duration"] for one in progress} == {159.92}
    heard = [one["heard"] for one in progress]
    assert heard == sorted(heard)
    assert {one["choices"][0]["delta"]["content"] for one in progress} == {""}
    assert [one for one in told if one not in progress] == events_of(fake_server, data)


def test_a_length_that_nobody_knows_is_not_told(fake_server: Server) -> None:
    told = events_of(fake_server, KINDS["ogg"](spoken(range(1, 50))), progress="1")
    progress = [one for one in told if one["type"] == "transcript.progress"]
    *others, last = progress
    assert {"duration" in one for one in others} == {False}
    assert last["heard"] == last["duration"] == pytest.approx(3.9, abs=0.1)


@pytest.mark.parametrize("value", ["maybe", "2"])
def test_progress_is_true_or_false(fake_server: Server, value: str) -> None:
    answer = ask(fake_server, ZEROS, progress=value)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "progress"


def test_openais_client_reads_the_new_fields_and_passes_over_progress(fake_server: Server) -> None:
    url = f"{fake_server.http_url}/v1"
    file = ("a.flac", KINDS["flac"](spoken(range(1, 50))))
    with OpenAI(api_key="none", base_url=url, max_retries=0, timeout=DEADLINE_S) as one:
        events = list(
            one.audio.transcriptions.create(
                file=file, model="any", stream=True, extra_body={"progress": "true"}
            )
        )
    deltas = [event for event in events if event.type == "transcript.text.delta" and event.delta]
    assert "".join(event.delta for event in deltas) == counting(range(1, 50))
    assert events[-1].type == "transcript.text.done"
    assert deltas[1].to_dict()["end"] == 0.16
    assert "transcript.progress" in {event.type for event in events}
