"""The facts that a bug report needs, as JSON: `serve.sh report`. Standard library only.

The report contains no key and no transcript; the log is left out.
"""

import argparse
import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lanscribe import __version__
from lanscribe.admin.doctor import CHECKS, Examination
from lanscribe.installation import say

UNSHOWN = {"LANSCRIBE_VLLM_ARGUMENTS", "LANSCRIBE_VLLM_URL"}
"""Settings that may contain a password."""


def add_flags(_parser: argparse.ArgumentParser) -> None:
    """`report` has no flags."""


def main(_options: argparse.Namespace) -> int:
    """Print the report."""
    text = json.dumps(facts(Examination()), indent=2).replace(str(Path.home()), "~")
    sys.stdout.write(f"{text}\n")
    say("report", "it contains names of devices and addresses: read it before you share it")
    return 0


def facts(examination: Examination) -> dict[str, Any]:
    """The versions, the settings in force, and what the doctor finds."""
    return {
        "lanscribe": __version__,
        "system": platform.platform(),
        "settings": {
            name: "(not shown)" if name in UNSHOWN and value else value
            for name, value in examination.values.items()
            if not name.startswith("#")
        },
        "checks": [asdict(judge(examination)) for judge in CHECKS.values()],
    }
