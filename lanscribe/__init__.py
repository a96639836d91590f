"""lanscribe: live speech to text for the home network."""

import os
from pathlib import Path

__version__ = "0.1.0"

PROJECT_DIR = Path(__file__).resolve().parent.parent
"""Where the project lies: setup.sh, config/ and this package."""

# ONNX Runtime from 1.31 on tells Microsoft of every machine, and keeps a number for it in the
# home directory, unless this is set when it is loaded (Privacy.md in its package).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
