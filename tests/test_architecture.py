"""The rules of the house that a reader of docs/architecture.md relies on."""

import ast
from pathlib import Path

import pytest

from tests.conftest import PROJECT_DIR

PACKAGE = PROJECT_DIR / "lanscribe"
PURE = [
    "audio.py",
    "crowd.py",
    "errors.py",
    "events.py",
    "framing.py",
    "json_text.py",
    "gpu_verdict.py",
    "guesses.py",
    "lag.py",
    "level.py",
    "limits.py",
    "pcm.py",
    "plan.py",
    "restarts.py",
    "reasons.py",
    "resume.py",
    "rollover.py",
    "session.py",
    "silence.py",
    "spans.py",
    "speech.py",
    "stitch.py",
    "timeline.py",
    "transcript.py",
    "turns.py",
    "utterance.py",
    "vllm_log.py",
    "voxtral_memory.py",
    "dialects/base.py",
    "dialects/fields.py",
    "dialects/mistral.py",
    "dialects/negotiation.py",
    "dialects/openai.py",
    "dialects/openai_settings.py",
    "dialects/vllm.py",
    "dialects/voxmlx.py",
    "dialects/wyoming.py",
    "dialects/yap.py",
    "engines/alignment.py",
    "engines/deadlines.py",
    "engines/streaming.py",
]
"""Modules of decisions: no clock, no socket, no thread, no event loop."""
IMPURE = {"asyncio", "socket", "threading", "time", "websockets", "starlette", "uvicorn"}

LEVELS = [
    {"__main__"},
    {"wyoming_server"},
    {"server", "transport", "doctor"},
    {"doorkeeper", "rest", "http_protocol", "websocket_protocol"},
    {"rest_form", "openapi"},
    {"exchange"},
    {"http_errors"},
    {"vllm_service"},
    {"control", "vllm_command", "vllm_setup"},
    {"machine", "gpu"},
    {"gpu_verdict", "plan_report", "voxtral_files"},
    {"plan"},
    {"tls"},
    {"keys"},
    {"hub_download", "installation"},
    {"channel", "connection", "discovery", "intake", "logs", "network", "vllm_process"},
    {"session", "endless", "media", "crowd", "guesses", "uploads"},
    {"dialects", "limits", "resume", "utterance"},
    {"events"},
    {"timeline", "transcript", "rollover", "stitch", "turns", "silence"},
    {"engines", "vllm_plugin"},
    {"speech"},
    {"level"},
    {
        "config",
        "audio",
        "changes",
        "json_text",
        "lag",
        "orders",
        "reasons",
        "records",
        "pcm",
        "tasks",
        "delay",
        "guard",
        "restarts",
        "spans",
        "vllm_log",
        "voxtral_memory",
    },
    {"errors", "digests", "framing", "__init__"},
]
"""From the top of the house down; a module imports from its own level or lower ones."""


def imports(path: Path) -> set[str]:
    """The modules that a file imports, in full."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "lanscribe":
            names |= {f"lanscribe.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def level(room: str) -> int:
    (number,) = [index for index, rooms in enumerate(LEVELS) if room in rooms]
    return number


@pytest.mark.parametrize("name", PURE)
def test_decisions_know_no_clock_and_no_wire(name: str) -> None:
    roots = {module.partition(".")[0] for module in imports(PACKAGE / name)}
    assert not roots & IMPURE


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "lanscribe" and len(parts) > 1 and parts[1] != "__version__":
            assert level(parts[1]) >= level(room), f"{path.name} imports {module}"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400
