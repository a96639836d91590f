"""A file is the same by REST and by the file client: its text, what it lacks, why it is refused."""

import io
import json
from pathlib import Path

import httpx
import pytest

from lanscribe.media.missing import MissingParts, missing_field
from lanscribe.media.pieces import Unreadable
from tests.clients.test_file_client import run
from tests.media.melody import FORMATS, Format, heard
from tests.servers import Server
from tests.support import DEADLINE_S

_NAMES = (
    *("wav-pcm_s16le", "flac-flac", "mp3-mp3", "adts-aac", "mp4-aac", "webm-libopus"),
    *("amr-libopencore_amrnb", "WAV-ULAW-big"),
)
KINDS = {str(kind): kind for kind in FORMATS if str(kind) in _NAMES}
TREATMENTS = ("cut", "damaged", "joined")


def treated(kind: Format, treatment: str) -> bytes:
    data = kind.data
    middle = len(data) // 2
    match treatment:
        case "cut":
            return data[: middle + 7]
        case "damaged":
            return data[:middle] + bytes(600) + data[middle + 600 :]
        case "joined":
            return data + data
    return data


@pytest.mark.parametrize("treatment", TREATMENTS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_file_is_the_same_by_every_path(
    fake_server: Server, tmp_path: Path, kind: Format, treatment: str
) -> None:
    path = tmp_path / "recording"
    path.write_bytes(treated(kind, treatment))
    url = f"{fake_server.http_url}/v1/audio/transcriptions"
    files = {"file": ("recording", path.read_bytes())}
    answer = httpx.post(url, files=files, data={"response_format": "json"}, timeout=DEADLINE_S)
    ended = run("--audio_path", path, "--url", fake_server.url, "--json")
    try:
        got = heard(io.BytesIO(path.read_bytes()))
    except Unreadable as error:
        assert answer.status_code == 400
        assert str(error) in answer.json()["error"]["message"]
        assert ended.returncode == 1
        assert str(error)[:60] in ended.stderr
        return
    parts = MissingParts()
    for part in got.missing:
        parts.add(part)
    missing = missing_field(parts).get("missing", [])
    assert answer.json().get("missing", []) == missing
    assert ended.returncode == 0
    told = json.loads(ended.stdout)
    assert told["missing"] == missing
    assert told["text"] == answer.json()["text"] != ""
