"""What a client's JSON brings in can be sent back, whatever letters it holds."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.dialects import WEBSOCKET_PATHS
from lanscribe.dialects.base import Dialect
from lanscribe.dialects.events import Failure, Message, Reply, SessionCreated, Utterance
from lanscribe.dialects.json_text import to_json
from lanscribe.dialects.wyoming import HANG_UP, WyomingDialect
from lanscribe.engines.base import EngineInfo
from lanscribe.errors import ClientError, LanscribeError, ProtocolError
from lanscribe.server.http_errors import error_response
from tests.fuzz.talk import WYOMING, channels, examples

SEEDS = range(40)
INFO = EngineInfo("fake", "m", ("en",), True, None, 8)
SENDERS = ["exchange.py", "http_errors.py", "rest.py", "rest_form.py"]
"""In lanscribe/server/."""
HALVES = ["\ud800", "\udfff", "\udc00", "\ud83d"]
PIECES = [*HALVES, "a", "\U0001f600", "\x00", "\u2028", '"', "\\", "é"]


def nasty(random_: random.Random) -> str:
    """Letters, halves of surrogate pairs in any order, and what JSON escapes."""
    return "".join(random_.choices(PIECES, k=random_.randint(1, 6)))


def places(value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every field of the objects inside that holds a string."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, str):
            yield value, name
        yield from places(inner)


def with_nasty_strings(content: dict[str, Any], random_: random.Random) -> dict[str, Any]:
    """The message with one or all of its strings replaced, and an identifier of its own."""
    content = {"event_id": "", "extra": ""} | copy.deepcopy(content)
    fields = list(places(content))
    for place, name in fields if random_.random() < 0.2 else random_.sample(fields, 2):
        place[name] = nasty(random_)
    return content


def answers(dialect: Dialect, message: Message) -> Iterator[Message]:
    """What goes out at once in answer to a message, and when its engine fails."""
    try:
        for event in dialect.decode(message):
            if isinstance(event, Reply):
                yield from event.messages
            if tag := getattr(event, "tag", None):
                error = ProtocolError("processing_error", f"got {tag}")
                yield from dialect.encode(Failure(error, of=Utterance(1, tag)))
    except ClientError as error:
        yield from (one for one in dialect.encode(Failure(error)) if one != HANG_UP)


def is_utf8(message: Message) -> bool:
    """Whether it can be a frame of text, or a line of Wyoming's."""
    try:
        return bool(message.encode() if isinstance(message, str) else message.decode())
    except UnicodeError:
        return False


def conversations() -> list[tuple[str, Any, list[dict[str, Any]]]]:
    """Every dialect, with the messages that its clients send."""
    over_websocket = [
        (path, make, [example for name in channels(path) for example in examples(name)])
        for path, make in WEBSOCKET_PATHS.items()
    ]
    return [*over_websocket, ("wyoming", lambda info, _query: WyomingDialect(info), WYOMING)]


@pytest.mark.parametrize(("name", "make", "shown"), conversations(), ids=lambda one: str(one)[:12])
@pytest.mark.parametrize("intent", [{}, {"intent": "transcription"}], ids=["", "intent"])
def test_no_string_of_a_client_makes_an_answer_that_cannot_be_sent(
    name: str, make: Any, shown: list[dict[str, Any]], intent: dict[str, str]
) -> None:
    for seed in SEEDS:
        random_ = random.Random(seed)
        dialect = make(INFO, intent)
        list(dialect.encode(SessionCreated("sess-00", 5)))
        for content in random_.sample(shown, len(shown)):
            message = json.dumps(with_nasty_strings(content, random_)) + "\n" * (name == "wyoming")
            for answer in answers(dialect, message):
                assert is_utf8(answer), f"seed {seed}: {message!r}"


def test_an_event_id_comes_back_as_it_was() -> None:
    for seed in SEEDS:
        event_id = nasty(random.Random(seed))
        dialect = WEBSOCKET_PATHS["/v1/realtime"](INFO, {"intent": "transcription"})
        (error,) = answers(dialect, json.dumps({"type": "no.such", "event_id": event_id}))
        assert isinstance(error, str)
        told = json.loads(error.encode())["error"]["event_id"]
        assert told == json.loads(json.dumps(event_id)), f"seed {seed}"


def test_every_value_of_json_comes_back_from_utf_8() -> None:
    for seed in SEEDS:
        random_ = random.Random(seed)
        value = {nasty(random_): [nasty(random_), 1.5, None, True, {"a": nasty(random_)}]}
        told = json.loads(to_json(value).encode())
        assert told == json.loads(json.dumps(value)), f"seed {seed}"
        response = error_response(LanscribeError("not_found", nasty(random_)))
        assert json.loads(bytes(response.body))["error"]["code"] == "not_found"


def test_what_json_has_not_is_a_defect_here_and_not_at_the_client() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"level": float("nan")})


def test_whoever_sends_json_makes_it_here() -> None:
    """One place to be right: json.dumps leaves half a surrogate pair, or NaN, as it is."""
    package = PROJECT_DIR / "lanscribe"
    codecs = set(package.glob("dialects/*.py")) - {package / "dialects/json_text.py"}
    for path in [*codecs, *(package / "server" / name for name in SENDERS)]:
        text = path.read_text(encoding="utf-8")
        assert "json.dumps" not in text, path
        assert "import JSONResponse" not in text, path
