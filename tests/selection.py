"""Which tests are slow, and which of them share a process: decided by folder and fixture.

A single slow test of a quick file has the marker slow.
"""

from functools import cache
from pathlib import PurePath

SLOW_PLACES = (
    "admin/test_control.py",
    "admin/test_control_sequences.py",
    "admin/test_restart.py",
    "admin/test_serve_sh.py",
    "admin/test_setup.py",
    "bench",
    "browser",
    "clients",
    "endless/test_hours.py",
    "endless/test_idle.py",
    "engines/embedded/test_endless_speech.py",
    "engines/embedded/test_model_store.py",
    "fuzz",
    "media/test_lengths.py",
    "media/test_process.py",
    "media/test_recordings.py",
    "media/test_matrix.py",
    "media/test_matrix_flawed.py",
    "page/test_page_modules.py",
    "protocols/test_wyoming_commands.py",
    "server/test_file_times.py",
    "server/test_floods.py",
    "server/test_lobby.py",
    "server/test_rest_missing.py",
    "server/test_rest_told.py",
    "session/test_resume.py",
    "test_clients_doc.py",
    "test_going_on.py",
    "test_installation.py",
    "vllm/real",
    "vllm/test_card.py",
    "vllm/test_process.py",
    "vllm/test_serve.py",
    "vllm/test_setup.py",
    "voxtral/test_files.py",
)
"""Below tests/: programs and set-ups in processes, hours of sound, files, waits in real time."""
SLOW_FIXTURES = {
    *("embedded_server", "embedded_engine", "moonshine", "detector", "model_folder"),
    *("start_server", "start_client", "start_microphone", "sound_card"),
    *("asyncapi_schema", "node", "client_python", "locked_server"),
}
"""A real model, a process, the network."""
REAL_VLLM = "vllm/real"
TOGETHER = (REAL_VLLM, "browser")
"""Folders whose tests run in one process, one after the other.

Two of real vLLM at once on two cores take longer than in turn; browsers are started once.
"""
LONGEST_FIRST = (
    *(REAL_VLLM, "admin/test_setup.py", "vllm/test_setup.py", "clients", "browser", "admin"),
    "vllm",
    "protocols/test_frameworks.py",
    *("endless", "engines", "server"),
)
"""What is begun early, so that no process is left alone with it at the end."""


def place_of(nodeid: str) -> str:
    """Where the file of a test is, below tests/."""
    return nodeid.partition("::")[0].removeprefix("tests/")


def is_slow(place: str, fixtures: set[str]) -> bool:
    """Whether a test is none for the quick run. place: of its file below tests/."""
    return lies_in(place, SLOW_PLACES) or bool(fixtures & SLOW_FIXTURES)


@cache
def lies_in(place: str, places: tuple[str, ...]) -> bool:
    """Whether a file is, or is below, one of these."""
    return any(PurePath(place).is_relative_to(one) for one in places)


@cache
def rank(place: str) -> int:
    """When its file is begun: the lowest first."""
    ranks = (at for at, one in enumerate(LONGEST_FIRST) if lies_in(place, (one,)))
    return next(ranks, len(LONGEST_FIRST))


def scope(place: str) -> str:
    """Tests of one scope run in one process, one after the other."""
    return next((one for one in TOGETHER if lies_in(place, (one,))), place)
