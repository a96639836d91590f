"""No form is anything but answered: with text, or an error that says what is wrong with it."""

import encodings.aliases
import random
from collections.abc import Iterator

import httpx
import pytest

from lanscribe.engines.fake import spoken
from tests.servers import Server
from tests.sounds import by_libsndfile
from tests.support import DEADLINE_S

SOUND = by_libsndfile(spoken([1, 2]), "WAV")
CODECS = sorted({*encodings.aliases.aliases.values(), "punycode", "idna", "utf-7", "undefined"})
PIECES = [b"\x00", b"\xff", b"\xed\xa0\x80", b"+2AA-", b"\\ud800", b"-", b'"', b";", b"\r\n", b"="]
PIECES += [b"json", b"true", b"word", b"0.5", "é".encode(), b"%ED%A0%80"]
FIELDS = ["response_format", "language", "stream", "temperature", "prompt", "model"]
FIELDS += ["timestamp_granularities[]", "file"]


@pytest.fixture(scope="module")
def server(fake_server: Server) -> Iterator[Server]:
    """The shared server, which must not have logged a defect at the end."""
    yield fake_server
    assert "Traceback" not in fake_server.log


def nasty(random_: random.Random) -> bytes:
    return b"".join(random_.choices(PIECES, k=random_.randint(0, 5)))


def form(random_: random.Random, boundary: bytes) -> bytes:
    """A form with sound, mostly, and fields that hold anything."""
    parts = [b'name="file"; filename="a%s"\r\n\r\n%s' % (nasty(random_), SOUND)]
    for name in random_.sample(FIELDS, 2):
        extra = nasty(random_) if random_.random() < 0.2 else b""
        parts.append(b'name="%s%s"\r\n\r\n%s' % (name.encode(), extra, nasty(random_)))
    random_.shuffle(parts)
    head = b"--" + boundary + b"\r\nContent-Disposition: form-data; "
    return b"".join(head + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


def test_whatever_a_form_holds_it_is_answered(server: Server) -> None:
    statuses = set()
    with httpx.Client(timeout=DEADLINE_S) as client:
        for seed in range(120):
            random_ = random.Random(seed)
            boundary = random_.choice([b"x", b"a b", b"--", b"'()+_,./:=?"])
            charset = random_.choice([*CODECS, "x", '"', "utf-8"])
            kind = b'multipart/form-data; boundary="%s"; charset=%s' % (boundary, charset.encode())
            answer = client.post(
                f"{server.http_url}/v1/audio/transcriptions",
                content=form(random_, boundary),
                headers={"Content-Type": kind.decode()},
            )
            assert answer.status_code in (200, 400), f"seed {seed}: {charset}: {answer.text}"
            statuses.add(answer.status_code)
    assert statuses == {200, 400}


@pytest.mark.parametrize("path", ["/v1/models/{}", "/{}", "/v1/realtime?model={}&api_key={}"])
def test_whatever_a_path_holds_it_is_answered(server: Server, path: str) -> None:
    with httpx.Client(timeout=DEADLINE_S) as client:
        for seed in range(30):
            random_ = random.Random(seed)
            url = server.http_url + path.replace("{}", "%" + nasty(random_).hex("%", 1))
            answer = client.get(url.rstrip("%"))
            assert answer.status_code in (200, 404), f"seed {seed}: {answer.text}"
