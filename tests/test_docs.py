"""The documents tell of everything they promise to tell of."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.dialects.mistral import OWN_STATUS
from lanscribe.dialects.yap import YAPS_CODES
from lanscribe.errors import CODES, LanscribeError

PROTOCOL = (PROJECT_DIR / "docs/protocol.md").read_text(encoding="utf-8")
DOCUMENTS = [*PROJECT_DIR.glob("*.md"), *PROJECT_DIR.glob("docs/*.md")]


ON_THE_WIRE = sorted(CODES.keys() - {"config_invalid"})


@pytest.mark.parametrize("code", ON_THE_WIRE)
def test_the_protocol_lists_every_error_code_as_the_table_does(code: str) -> None:
    kind = CODES[code]
    passes = "yes" if kind.is_passing else "-"
    assert f"| `{code}` | {kind.close_code or '-'} | {passes} |" in PROTOCOL


def test_the_protocol_lists_no_other_error_code() -> None:
    rows = PROTOCOL.partition("| code | close code |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)) == ON_THE_WIRE


def test_the_protocol_tells_the_status_of_each_error_over_http() -> None:
    """Of a code that is not there the status is 400, and only a WebSocket tells it."""
    rows = PROTOCOL.partition("| status | codes |")[2].partition("\n\n")[0]
    told = {
        code: int(status)
        for status, codes in re.findall(r"^\| (\d{3})[^|]* \| (.*) \|$", rows, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    assert told == {code: CODES[code].http_status for code in told}
    only_websocket = {"out_of_order", "audio_buffer_full", "too_many_utterances", "client_too_slow"}
    assert {code for code in ON_THE_WIRE if CODES[code].http_status != 400} == (
        set(told) - {"invalid_request", "invalid_file"}
    ) | only_websocket


@pytest.mark.parametrize("client", ["stream_microphone.py", "test_file_transcribe.py"])
def test_the_clients_try_again_by_themselves_after_what_passes(client: str) -> None:
    (listed,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((PROJECT_DIR / client).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PASSING"
    )
    assert sorted(listed) == sorted(code for code, kind in CODES.items() if kind.is_passing)


def test_what_dialects_say_of_codes_otherwise_is_true_of_listed_codes() -> None:
    assert CODES.keys() >= YAPS_CODES.keys()
    differing = {code for code, status in OWN_STATUS.items() if status != CODES[code].http_status}
    assert differing == OWN_STATUS.keys()


def test_an_unlisted_code_is_a_defect() -> None:
    with pytest.raises(KeyError):
        LanscribeError("no_such_code", "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize(
    ("program", "document"),
    [
        (["-m", "lanscribe", "serve"], "docs/operations.md"),
        (["stream_microphone.py"], "docs/clients.md"),
        (["test_file_transcribe.py"], "docs/clients.md"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_the_documents_have_every_flag(program: list[str], document: str) -> None:
    text = (PROJECT_DIR / document).read_text(encoding="utf-8")
    command = [sys.executable, *program, "--help"]
    shown = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
    flags = set(re.findall(r"--[a-z_-]+", shown.stdout.partition("options:")[2]))
    assert flags > {"--help", "--model"}
    missing = {flag for flag in flags - {"--help", "--audio-path"} if f"`{flag}" not in text}
    assert not missing


STEP = re.compile(r"`(lanscribe/[a-z_/]+\.py):([A-Za-z_.]+)`")
ARCHITECTURE = (PROJECT_DIR / "docs/architecture.md").read_text(encoding="utf-8")


def names_in(path: Path) -> set[str]:
    """Functions, classes and methods as Class.method that a file defines."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            names |= {node.name}
            names |= {f"{node.name}.{own.name}" for own in node.body if isinstance(own, functions)}
    return names


def test_the_way_of_a_sound_leads_through_what_there_is() -> None:
    steps = STEP.findall(ARCHITECTURE)
    assert len(steps) > 15
    for path, name in steps:
        assert name in names_in(PROJECT_DIR / path), f"{path} has no {name}"


def test_the_page_names_every_room() -> None:
    rooms = {path.name for path in (PROJECT_DIR / "lanscribe").iterdir() if path.is_dir()}
    listed = {line.split("/`")[0].removeprefix("| `") for line in ARCHITECTURE.splitlines()}
    assert rooms - {"__pycache__"} <= listed
