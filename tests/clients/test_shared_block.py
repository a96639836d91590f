"""What the two clients have in common, and what they need."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import stream_microphone
import test_file_transcribe
from clients.generate import COMMAND, FILE_CLIENT, MICROPHONE_CLIENT, SOURCES, generated
from clients.going_on import PASSING
from lanscribe import PROJECT_DIR
from lanscribe.errors import CODES
from lanscribe.speech import captions
from lanscribe.speech.captions import Word
from lanscribe.speech.transcript import Token, words_of

CLIENTS = tuple(SOURCES)
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


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_the_blocks_are_fresh(client: Path) -> None:
    text = client.read_text(encoding="utf-8")
    is_fresh = generated(text, SOURCES[client]) == text
    assert is_fresh, f"a block of {client.name} is not what its source says; run: {COMMAND}"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_an_edit_inside_a_block_is_overwritten(client: Path) -> None:
    text = client.read_text(encoding="utf-8")
    by_hand = text.replace("class Trouble(Exception):", "class Trouble(ValueError):")
    assert by_hand != text
    assert generated(by_hand, SOURCES[client]) == text


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_imports_follow_what_is_used(client: Path) -> None:
    text = client.read_text(encoding="utf-8")
    without = text.replace("import unicodedata\n", "", 1)
    unused = text.replace("import asyncio\n", "import asyncio\nimport zipfile\n", 1)
    assert text not in (without, unused)
    assert generated(without, SOURCES[client]) == text
    assert generated(unused, SOURCES[client]) == text


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_it_runs_alone_from_any_folder(client: Path, tmp_path: Path) -> None:
    alone = shutil.copy(client, tmp_path)
    command = [sys.executable, "-I", alone, "--help"]  # -I: nothing of this project is in its path
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"usage: {client.name}")


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.stem)
def test_a_block_that_is_gone_is_written_again(client: Path) -> None:
    text = client.read_text(encoding="utf-8")
    without = re.sub(r"# >>> clients/story.py.*# <<< clients/story.py\n", "", text, flags=re.DOTALL)
    assert "class Story" not in without
    assert generated(without, SOURCES[client]) == text


def test_a_client_without_a_marker_is_refused() -> None:
    text = FILE_CLIENT.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="expected a line `# >>> FILE: ` and later one"):
        generated(text.replace("# <<< ", "# "), SOURCES[FILE_CLIENT])


@pytest.mark.parametrize("is_late", [True, False])
def test_a_block_comes_after_those_that_it_uses(is_late: bool) -> None:
    text = FILE_CLIENT.read_text(encoding="utf-8")
    sources = [one for one in SOURCES[FILE_CLIENT] if one != "lanscribe/media/source.py"]
    with pytest.raises(ValueError, match=r"uses lanscribe/media/source\.py: add it to SOURCES"):
        generated(text, [*sources, "lanscribe/media/source.py"] if is_late else sources)


def test_a_name_is_defined_once() -> None:
    text = MICROPHONE_CLIENT.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="more than one part of a client: NO_WORD_S"):
        by_hand = text.replace("TICK_S = 0.05", "TICK_S, NO_WORD_S = 0.05, 1.0")
        generated(by_hand, SOURCES[MICROPHONE_CLIENT])


def test_the_server_knows_the_errors_that_pass() -> None:
    assert set(PASSING) <= set(CODES)


@pytest.mark.parametrize("client", [stream_microphone, test_file_transcribe])
def test_their_files_are_those_of_the_server(client: ModuleType) -> None:
    tokens = [Token("Mr.", 0.4, start_s=0.1), Token(" Beckett -", 1.0)]
    tokens += [Token("-> so.", 1.5, start_s=1.4)]
    tokens += [Token(" \u8a9e", 9.0, start_s=8.5), Token("\u3002", 9.2), Token(" <Fin> &", 99.0)]
    words: list[Word] = []
    for token in tokens:
        client.add_word(words, token.text, token.start_s, token.end_s)
    assert words == words_of(tokens)
    assert client.document(words, "srt", 1.0) == captions.caption_file(words, "srt")
    assert client.document(words, "vtt", 1.0) == captions.caption_file(words, "vtt")
    in_json = json.loads(client.document(words, "json", 1.2345))
    assert in_json == captions.verbose(words, 1.2345)
    assert client.document(words, "txt", 1.0) == "Mr. Beckett --> so. \u8a9e\u3002 <Fin> &\n"


@pytest.mark.parametrize("client", [stream_microphone, test_file_transcribe])
@pytest.mark.parametrize("pieces", [[], [" "]])
def test_nothing_said_is_a_document_too(client: ModuleType, pieces: list[str]) -> None:
    words: list[Word] = []
    for piece in pieces:
        client.add_word(words, piece, 0.0, 1.0)
    assert client.document(words, "srt", 1.0) == captions.caption_file([], "srt")
    assert client.document(words, "vtt", 1.0) == captions.caption_file([], "vtt")
    assert json.loads(client.document(words, "json", 1.0)) == captions.verbose([], 1.0)


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
