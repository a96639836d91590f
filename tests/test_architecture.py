"""The rules of the house that a reader of docs/architecture.md relies on."""

import ast
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR

PACKAGE = PROJECT_DIR / "lanscribe"
FOLDERS = [
    "admin",
    "server",
    "identity",
    "session",
    "endless",
    "dialects",
    "vllm",
    "engines",
    "voxtral",
    "media",
    "speech",
]
"""The rooms from the top of the house down; a module imports from its own room or lower ones."""
BASEMENT = {"__init__", "backoff", "config", "errors", "installation", "manifest", "tasks"}
"""Modules below every room; `__main__` is above them all."""
PURE_FOLDERS = {"dialects", "speech"}
PURE = {
    "backoff.py",
    "endless/rollover.py",
    "endless/stitch.py",
    "endless/waiting.py",
    "engines/embedded/alignment.py",
    "engines/embedded/deadlines.py",
    "engines/embedded/repeats.py",
    "engines/embedded/streaming.py",
    "engines/embedded/tentative.py",
    "errors.py",
    "identity/local_name.py",
    "identity/names.py",
    "identity/terms.py",
    "media/frames.py",
    "media/headers.py",
    "media/kinds.py",
    "media/levels.py",
    "server/access.py",
    "server/cors.py",
    "server/crowd.py",
    "server/ephemeral.py",
    "server/framing.py",
    "server/guesses.py",
    "server/origins.py",
    "server/passes.py",
    "media/missing.py",
    "media/mixed.py",
    "media/times.py",
    "media/tracks.py",
    "server/paths.py",
    "server/slots.py",
    "server/tls_records.py",
    "server/uploads.py",
    "session/lag.py",
    "session/outbox.py",
    "session/pace.py",
    "session/state.py",
    "session/utterance.py",
    "vllm/log.py",
    "vllm/restarts.py",
    "voxtral/asked.py",
    "voxtral/memory.py",
    "voxtral/plan.py",
    "voxtral/steps.py",
    "voxtral/verdict.py",
}
"""Modules of decisions: no clock, no socket, no thread, no event loop."""
IMPURE = {"asyncio", "socket", "threading", "time", "websockets", "starlette", "uvicorn"}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imports(module: Path) -> set[str]:
    """What a file imports, in full; of a package, the modules that are taken out of it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {_imported(node.module or "", alias.name) for alias in node.names}
    return names


def _imported(source: str, name: str) -> str:
    path = PACKAGE.parent / source.replace(".", "/") / name
    return f"{source}.{name}" if path.is_dir() or path.with_suffix(".py").exists() else source


def floor(parts: tuple[str, ...]) -> int:
    """How far below the top a module is, by its path in the package or its dotted name."""
    room = parts[0].removesuffix(".py")
    if room in FOLDERS:
        return FOLDERS.index(room)
    return len(FOLDERS) if room in BASEMENT else {"__main__": -1}[room]


def own_imports(module: Path) -> set[tuple[str, ...]]:
    """The modules of the package that a module imports, as the parts of their names."""
    names = [name.split(".") for name in imports(module)]
    return {tuple(parts[1:]) or ("__init__",) for parts in names if parts[0] == "lanscribe"}


def is_pure(module: Path) -> bool:
    return module.parts[0] in PURE_FOLDERS or module.as_posix() in PURE


@pytest.mark.parametrize("module", [module for module in MODULES if is_pure(module)], ids=str)
def test_decisions_know_no_clock_and_no_wire(module: Path) -> None:
    assert not {name.partition(".")[0] for name in imports(module)} & IMPURE


def test_the_modules_of_decisions_are_there() -> None:
    assert set(map(Path, PURE)) <= set(MODULES)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_down(module: Path) -> None:
    for parts in own_imports(module):
        assert floor(parts) >= floor(module.parts), f"{module} imports {'.'.join(parts)}"


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {_name(module): own_imports(module) for module in MODULES}
    for start, imported in graph.items():
        reached, todo = set(), set(imported)
        while todo:
            reached.add(other := todo.pop())
            todo |= graph.get(other, set()) - reached
        assert start not in reached, f"{'.'.join(start)} imports what imports it"


def _name(module: Path) -> tuple[str, ...]:
    parts = module.with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_files_stay_readable(module: Path) -> None:
    assert len((PACKAGE / module).read_text(encoding="utf-8").splitlines()) < 400
