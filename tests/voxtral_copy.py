"""Files like Voxtral's, of 3 MB."""

import json
import struct
from pathlib import Path

from lanscribe.voxtral.files import WEIGHTS

MIB = 1 << 20
PARAMS = {
    "dim": 3072,
    "n_layers": 26,
    "n_heads": 32,
    "vocab_size": 131_072,
    "multimodal": {"whisper_model_args": {}},
}


def safetensors(data: bytes) -> bytes:
    """A file in that format with one tensor."""
    entry = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": entry}).encode()
    return struct.pack("<Q", len(header)) + header + data


WEIGHTS_CONTENT = safetensors(bytes(range(256)) * (3 * MIB // 256))
CONTENT = {
    WEIGHTS: WEIGHTS_CONTENT,
    "config.json": b'{"architectures": ["VoxtralRealtimeForConditionalGeneration"]}',
    "params.json": json.dumps(PARAMS).encode(),
    "tekken.json": b'{"config": {}, "audio": {"sampling_rate": 16000}}',
}


def write_model(folder: Path) -> None:
    """Make a folder with the four files."""
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
