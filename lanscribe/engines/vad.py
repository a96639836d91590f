"""Silero VAD on ONNX Runtime: how likely each block of 32 ms is speech."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lanscribe.audio import Samples
from lanscribe.engines.moonshine import open_graph

BLOCK_SAMPLES = 512
_CONTEXT_SAMPLES = 64
_STATE_SIZE = 128


class VoiceDetector:
    """The loaded network, for any number of threads and streams."""

    def __init__(self, folder: Path) -> None:
        """Load vad.onnx. Raises what ONNX Runtime raises."""
        self._graph = open_graph(folder / "vad.onnx")

    def stream(self) -> "VoiceStream":
        """A stream that has heard nothing yet."""
        return VoiceStream(self)

    def run(
        self, blocks: npt.NDArray[np.float32], state: tuple[npt.NDArray[np.float32], ...]
    ) -> tuple[npt.NDArray[np.float32], tuple[npt.NDArray[np.float32], ...]]:
        """Blocks (n, 576), each led by the 64 samples before it -> probabilities (n,), state."""
        inputs = {"input": blocks, "h": state[0], "c": state[1]}
        probabilities, h, c = self._graph.run(None, inputs)
        return probabilities, (h, c)


class VoiceStream:
    """The state of one stream: (1, 1, 128) twice, the last 64 samples, and an unfinished block."""

    def __init__(self, detector: VoiceDetector) -> None:
        self._detector = detector
        zeros = np.zeros((1, 1, _STATE_SIZE), dtype=np.float32)
        self._state: tuple[npt.NDArray[np.float32], ...] = (zeros, zeros)
        self._unused: Samples = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)

    def probabilities(self, samples: Samples) -> list[float]:
        """One for each block that `samples`, shape (n,), completes."""
        sound = np.concatenate([self._unused, samples])
        count = (len(sound) - _CONTEXT_SAMPLES) // BLOCK_SAMPLES
        self._unused = sound[count * BLOCK_SAMPLES :]
        if not count:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(sound, _CONTEXT_SAMPLES + BLOCK_SAMPLES)
        blocks = np.ascontiguousarray(windows[: count * BLOCK_SAMPLES : BLOCK_SAMPLES])
        probabilities, self._state = self._detector.run(blocks, self._state)
        return [float(one) for one in probabilities]
