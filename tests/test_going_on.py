"""The table of going on, by the clients of Python; tests/page/going_on.test.mjs is the page's."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from clients.going_on import Session
from clients.story import Story
from tests.going_on import NOWHERE, Row, cases, event, take

CASES = cases()
FAR_BACK = 24 * 16_000


def asked_of(address: str) -> dict[str, Any]:
    """What an address says of the session that it resumes."""
    query = parse_qs(urlsplit(address).query)
    resume, seen = query.get("resume", [None])[0], query.get("seen", [None])[0]
    return {"resume": resume, "seen": seen if seen is None else int(seen)}


def names(rows: list[Row]) -> list[str]:
    return [row["name"] for row in rows]


@pytest.mark.parametrize("row", CASES, ids=names(CASES))
def test_the_terminal_clients_go_on(row: Row) -> None:
    session, story, said = Session(NOWHERE), Story(), ""
    for connection in row["connections"]:
        assert asked_of(session.address) == connection["asks"]
        if not session.greet(event(connection["greeting"]), story, story.safe):
            continue
        assert story.sent == connection["from"]
        story.sent, story.is_committed = connection["recorded"], connection["ended"]
        for one in connection["says"]:
            said += take(session, story, one["message"], one["at_s"])
    assert said.split() == row["text"].split()
    assert story.is_whole
