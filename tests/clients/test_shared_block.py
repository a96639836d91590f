"""What the two clients have in common, and what they need."""

import ast
import json
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stream_microphone
import test_file_transcribe
from lanscribe.speech import transcript
from lanscribe.speech.transcript import Token
from tests.conftest import PROJECT_DIR

CLIENTS = [PROJECT_DIR / "stream_microphone.py", PROJECT_DIR / "test_file_transcribe.py"]
LONGEST = {"The terminal": 55, "The protocol": 66, "Going on": 295, "The captions": 90}
BLOCK = re.compile(r"^# >>> .*?^# <<< [^\n]*\n", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"^# /// script\n((?:#(?: [^\n]*)?\n)*?)# ///$", re.MULTILINE)


def header(client: Path) -> dict[str, object]:
    """The inline script metadata, as PEP 723 defines it."""
    (comment,) = HEADER.findall(client.read_text(encoding="utf-8"))
    return tomllib.loads("".join(line[2:] or "\n" for line in comment.splitlines(keepends=True)))


def imported(client: Path) -> set[str]:
    """The packages that a file imports anywhere, without those of Python."""
    names = set()
    for node in ast.walk(ast.parse(client.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names - sys.stdlib_module_names


def test_what_they_share_is_the_same_in_both_and_short() -> None:
    one, other = (BLOCK.findall(client.read_text(encoding="utf-8")) for client in CLIENTS)
    assert one == other
    assert [block.split(".")[0] for block in one] == [f"# >>> {name}" for name in LONGEST]
    for block, lines in zip(one, LONGEST.values(), strict=True):
        assert len(block.splitlines()) <= lines


def as_tokens(draw: st.DrawFn) -> list[Token]:
    """Pieces of text with times, as a server sends them."""
    at_s, tokens = draw(st.sampled_from([0.0, 359_990.0])), []
    texts = st.one_of(
        st.text(" ab.!?<>&-\n\u8a9e\u3002", min_size=1, max_size=8), st.just(" words")
    )
    for text in draw(st.lists(texts, max_size=40)):
        at_s += draw(st.floats(0, 2))
        start_s = draw(st.one_of(st.none(), st.floats(max(0.0, at_s - 3), at_s)))
        tokens.append(Token(text, at_s, start_s=start_s))
    return tokens


@given(st.composite(as_tokens)(), st.sampled_from([stream_microphone, test_file_transcribe]))
def test_their_files_are_those_of_the_server(tokens: list[Token], client: ModuleType) -> None:
    words: list[tuple[str, float, float]] = []
    for token in tokens:
        client.add_word(words, token.text, token.start_s, token.end_s)
    expected = transcript.words_of(tokens)
    if expected:
        assert words == [(word.text, word.start_s, word.end_s) for word in expected]
        assert client.document(words, "srt", 1.0) == transcript.srt(expected)
        assert client.document(words, "vtt", 1.0) == transcript.vtt(expected)
        in_json = json.loads(client.document(words, "json", 1.2345))
        assert in_json == transcript.verbose(expected, 1.2345)


@pytest.mark.parametrize("client", [stream_microphone, test_file_transcribe])
@pytest.mark.parametrize("pieces", [[], [" "]])
def test_nothing_said_is_a_document_too(client: ModuleType, pieces: list[str]) -> None:
    words: list[tuple[str, float, float]] = []
    for piece in pieces:
        client.add_word(words, piece, 0.0, 1.0)
    assert client.document(words, "srt", 1.0) == transcript.srt([])
    assert client.document(words, "vtt", 1.0) == transcript.vtt([])
    assert json.loads(client.document(words, "json", 1.0)) == transcript.verbose([], 1.0)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_the_header_names_what_is_imported_and_nothing_else(client: Path) -> None:
    dependencies = header(client)["dependencies"]
    assert isinstance(dependencies, list)
    assert {re.split(r"\W", name)[0] for name in dependencies} == imported(client)
    assert "lanscribe" not in imported(client)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_the_header_asks_for_the_python_of_the_project(client: Path) -> None:
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))
    assert header(client)["requires-python"] == project["project"]["requires-python"]
