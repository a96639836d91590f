"""Fuzzes every codec with its session, guided by which code is reached (libFuzzer, by atheris).

    pip install -r requirements/fuzz.in
    python -m tests.fuzz.codecs --seconds 600 [--corpus FOLDER]

Ends with 0 when no input raised anything; otherwise the input is in the folder.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lanscribe"]):
    from tests.fuzz.talk import talk


def main() -> None:
    """Fuzz for so many seconds; atheris ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="a folder that outlives the run")
    options = parser.parse_args()
    folder = options.corpus or Path(tempfile.mkdtemp(prefix="lanscribe-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    flags = [f"-max_total_time={options.seconds}", "-max_len=2000", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *flags, str(folder)], talk)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
