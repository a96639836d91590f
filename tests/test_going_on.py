"""The table of going on, by the clients of Python; tests/page/going_on.test.mjs is the page's."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from clients.going_on import Session
from clients.story import Story
from tests.going_on import KINDS, NOWHERE, event, rows_of, take
from tests.protocols.persistent import Lanscribe, SpeechLog

OF_ALL = pytest.mark.parametrize("kind", KINDS)


def asked_of(address: str) -> dict[str, Any]:
    """What an address says of the session that it resumes."""
    query = parse_qs(urlsplit(address).query)
    resume, seen = query.get("resume", [None])[0], query.get("seen", [None])[0]
    return {"resume": resume, "seen": seen if seen is None else int(seen)}


@OF_ALL
def test_the_terminal_clients_go_on(kind: str) -> None:
    for row in rows_of(kind):
        session, story, said = Session(NOWHERE), Story(), ""
        for connection in row["connections"]:
            assert asked_of(session.address) == connection["asks"], row["name"]
            if not session.greet(event(connection["greeting"]), story, story.safe):
                continue
            assert story.sent == connection["from"], row["name"]
            story.sent, story.is_committed = connection["recorded"], connection["ended"]
            for one in connection["says"]:
                said += take(session, story, one["message"], one["at_s"])
        assert said.split() == row["text"].split(), row["name"]
        assert story.is_whole, row["name"]


class Silence(SpeechLog):
    """A recording of which only the length matters."""

    def read(self, _: int, count: int) -> bytes:
        return bytes(2 * count)


class Documented(Lanscribe):
    """The client of docs/clients.md without a network."""

    def __init__(self) -> None:
        self.log, self.said, self.at_s, self.begun_at = Silence(2), "", 0.0, 0
        super().__init__(lambda: NOWHERE.url, log=self.log, tell=self._hear)

    def _hear(self, told: dict[str, Any]) -> None:
        self.said += {"delta": told.get("text", ""), "done": " "}.get(told["type"], "")

    def _now_s(self) -> float:
        return self.at_s

    def _send_from(self, position: int, utterance: int) -> None:
        self.begun_at = position
        super()._send_from(position, utterance)

    def connect(self, recorded: int, *, ended: bool) -> None:
        """The socket is new, and so much was recorded by now."""
        channel: Any = object()
        self._channel, self._unsent, self._is_greeted = channel, asyncio.Queue(), False
        self.log.end = recorded
        if ended:
            self.log.ends.append(recorded)

    def take(self, message: dict[str, Any], at_s: float) -> None:
        """A message of the server at this time of day."""
        self.at_s = at_s
        self._receive(message)


@OF_ALL
def test_the_client_of_the_document_goes_on(kind: str) -> None:
    for row in rows_of(kind):
        client = Documented()
        for connection in row["connections"]:
            assert asked_of(client._address()) == connection["asks"], row["name"]
            client.connect(connection["recorded"], ended=connection["ended"])
            client.take(connection["greeting"], 0.0)
            if connection["greeting"]["type"] != "error":
                assert client.begun_at == connection["from"], row["name"]
            for one in connection["says"]:
                client.take(one["message"], one["at_s"])
        said, text = client.said.split(), row["text"].split()
        is_same = said == text if len(text) > 1 else "".join(said) == row["text"]
        assert is_same, f"{row['name']}: {client.said}"
