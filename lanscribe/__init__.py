"""lanscribe: live speech to text for the home network."""

import os

__version__ = "0.1.0"

# ONNX Runtime from 1.31 on tells Microsoft of every machine, and keeps a number for it in the
# home directory, unless this is set when it is loaded (Privacy.md in its package).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
