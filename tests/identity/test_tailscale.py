"""The machine's name in its tailnet, from a program that a test puts in Tailscale's place."""

import threading
from pathlib import Path

import pytest

from lanscribe.identity import tailscale
from lanscribe.identity.tailscale import TailnetName, ask
from tests.support import DEADLINE_S


def program(folder: Path, body: str) -> str:
    """A program that does what the shell is told; its path."""
    path = folder / "tailscale"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_name_is_that_of_the_status(tmp_path: Path) -> None:
    command = program(
        tmp_path,
        '[ "$*" = "status --json --peers=false" ] || exit 1\n'
        """echo '{"Self": {"DNSName": "NAS-1.tail1234.ts.net."}}'""",
    )
    assert ask(command) == ["nas-1.tail1234.ts.net", "nas-1"]


@pytest.mark.parametrize(
    "body",
    [
        "exit 1",
        "echo not JSON",
        "echo '[]'",
        "echo '{}'",
        """echo '{"Self": null}'""",
        """echo '{"Self": {"DNSName": 5}}'""",
        """echo '{"Self": {"DNSName": ""}}'""",
        """echo '{"Self": {"DNSName": "nas"}}'""",
        """echo '{"Self": {"DNSName": "a b.ts.net"}}'""",
    ],
)
def test_without_a_name_there_is_none(tmp_path: Path, body: str) -> None:
    assert ask(program(tmp_path, body)) == []


def test_a_program_that_is_gone_or_hangs_gives_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(str(tmp_path / "none")) == []
    monkeypatch.setattr(tailscale, "_LONGEST_S", 0.05)
    assert ask(program(tmp_path, "exec sleep 60")) == []


def test_nobody_waits_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer, now_s, asked = threading.Event(), [0.0], list[str]()

    def answer(command: str) -> list[str]:
        asked.append(command)
        may_answer.wait(DEADLINE_S)
        return [f"nas-{len(asked)}.ts.net"]

    monkeypatch.setattr(tailscale, "ask", answer)
    name = TailnetName(lambda: "tailscale", lambda: now_s[0])
    assert name.names() == []
    now_s[0] = 1000.0
    assert name.names() == [], "it is asked once at a time"
    may_answer.set()
    name.wait(DEADLINE_S)
    assert name.names() == ["nas-1.ts.net"]
    name.wait(DEADLINE_S)
    assert name.names() == ["nas-2.ts.net"], "the old one counts until the new one is here"
    now_s[0] += 59
    assert name.names() == ["nas-2.ts.net"]
    assert len(asked) == 2


def test_without_the_program_there_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailscale, "PROGRAMS", ("no-such-program", "/no/such/program"))
    assert TailnetName().names() == []
