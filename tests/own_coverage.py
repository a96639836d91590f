"""Whether each module of decisions is covered by its own test file alone, branches included.

python -m tests.own_coverage [MODULE]..., such as session/lag.py; without one, all of them. A line
for each; the exit status is 1 when one is below FLOOR. What other tests happen to run on their
way does not count: whoever changes a decision finds its examples in one place.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lanscribe import PROJECT_DIR
from tests.test_architecture import MODULES, is_pure

FLOOR = 100
"""Percent."""
VALUES = {
    *("dialects/__init__.py", "dialects/base.py", "dialects/events.py"),
    *("errors.py", "speech/__init__.py"),
}
"""Modules that name things and decide nothing."""
OWN = {
    "session/state.py": "session/test_state*.py",
}
"""The test file of a module, where it is not that of its name; a star stands for several."""


def own_tests(module: str) -> list[str]:
    """The test files of a module; none when they are missing."""
    path = Path(module)
    pattern = OWN.get(module, str(path.with_name(f"test_{path.stem}.py")))
    return sorted(str(file) for file in (PROJECT_DIR / "tests").glob(pattern))


def covered_percent(module: str) -> float:
    """How much of a module its own test file runs. Raises CalledProcessError when that fails."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COVERAGE_FILE": f"{folder}/data"}
        coverage = [sys.executable, "-m", "coverage"]
        run = ["run", "--branch", f"--include=lanscribe/{module}", "-m", "pytest", "--quiet"]
        for command in (
            [*coverage, *run, "-m", "not slow and not long", *own_tests(module)],
            [*coverage, "json", "--quiet", "--fail-under=0", "-o", f"{folder}/report.json"],
        ):
            subprocess.run(
                command, cwd=PROJECT_DIR, env=environment, check=True, capture_output=True
            )
        report = json.loads(Path(f"{folder}/report.json").read_text(encoding="utf-8"))
    return float(report["totals"]["percent_covered"])


def decisions() -> list[str]:
    """The modules that are held to it."""
    return [str(module) for module in MODULES if is_pure(module) and str(module) not in VALUES]


def main(modules: list[str]) -> int:
    """Look at each; 1 when one is below FLOOR."""
    is_fine = True
    for module in modules or decisions():
        percent = covered_percent(module) if own_tests(module) else 0.0
        is_fine &= percent >= FLOOR
        sys.stdout.write(f"{percent:5.1f} %  {module}\n")
        sys.stdout.flush()
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
