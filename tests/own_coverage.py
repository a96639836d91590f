"""Whether each module of decisions is covered by its own test file alone, branches included.

What other tests happen to run on their way does not count: whoever changes a decision finds its
examples in one place. tests/cover.py measures it, in bash tests/run.sh and with --cover.
"""

import re
from io import StringIO
from pathlib import Path

from coverage import Coverage

from lanscribe import PROJECT_DIR
from tests.test_architecture import MODULES, is_pure

FLOOR = 100
"""Percent."""
VALUES = {
    *("dialects/__init__.py", "dialects/base.py", "dialects/events.py"),
    *("errors.py", "speech/__init__.py"),
}
"""Modules that name things and decide nothing."""
OWN = {"session/state.py": "session/test_state*.py"}
"""The test file of a module, where it is not that of its name; a star stands for several."""


def own_tests(module: str) -> list[str]:
    """The test files of a module, below tests/; none when they are missing."""
    path = Path(module)
    pattern = OWN.get(module, str(path.with_name(f"test_{path.stem}.py")))
    folder = PROJECT_DIR / "tests"
    return sorted(file.relative_to(folder).as_posix() for file in folder.glob(pattern))


def faults(measured: Coverage) -> list[str]:
    """A line for each module of decisions that its own test file leaves below FLOOR.

    measured: with the place of a test file as the context of what that file runs.
    """
    found = []
    for module in decisions():
        percent = _percent(measured, module)
        if percent < FLOOR:
            tests = " ".join(own_tests(module)) or "no test file"
            found.append(f"FAILED: {percent:.1f} % of {module} by {tests}; expected {FLOOR} %")
    return found


def _percent(measured: Coverage, module: str) -> float:
    tests = own_tests(module)
    contexts = [f"^{re.escape(place)}$" for place in ("", *tests)]  # "": while it is imported
    if not tests:
        return 0.0
    return measured.report(include=[f"lanscribe/{module}"], contexts=contexts, file=StringIO())


def decisions() -> list[str]:
    """The modules that are held to it."""
    return [str(module) for module in MODULES if is_pure(module) and str(module) not in VALUES]
