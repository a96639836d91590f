"""Silero VAD on ONNX Runtime: how likely each block of 32 ms is speech."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lanscribe.config import EngineSettings
from lanscribe.engines.embedded import model_store
from lanscribe.engines.embedded.moonshine import open_graph
from lanscribe.errors import EngineUnavailable
from lanscribe.speech.audio import Samples
from lanscribe.speech.detection import (
    BLOCK_S,
    BLOCK_SAMPLES,
    Likelihood,
    SpeechDetector,
    SpeechStream,
)
from lanscribe.speech.level import FLOOR_WINDOW_S, Floor, levels

_CONTEXT_SAMPLES = 64
_STATE_SIZE = 128
_BOOSTED_FLOOR = 1e-3
"""The boost raises the quietest block of the last 20 s to -60 dBFS (RMS)."""
_MOST_BOOST = 100.0
"""The boost is at most 40 dB."""
_UNKNOWN_FLOOR = 10 ** (-75 / 20)
"""The assumed floor while it is not known, unless it is lower."""
_UNKNOWN_BLOCKS = round(2.0 / BLOCK_S)
_LOUDEST = 10 ** (-30 / 20)
"""A block that the boost makes louder than -30 dBFS is turned down to it."""


class VoiceDetector(SpeechDetector):
    """The loaded network, for any number of threads and streams."""

    def __init__(self, folder: Path) -> None:
        """Load vad.onnx. Raises what ONNX Runtime raises."""
        self._graph = open_graph(folder / "vad.onnx")

    def stream(self) -> "TwoLooks":
        """A stream that has heard nothing yet."""
        return TwoLooks(VoiceStream(self), VoiceStream(self))

    def plain_stream(self) -> "VoiceStream":
        """A stream that does not look at quiet speech a second time."""
        return VoiceStream(self)

    def run(
        self, blocks: npt.NDArray[np.float32], state: tuple[npt.NDArray[np.float32], ...]
    ) -> tuple[npt.NDArray[np.float32], tuple[npt.NDArray[np.float32], ...]]:
        """Blocks (n, 576), each led by the 64 samples before it -> probabilities (n,), state."""
        inputs = {"input": blocks, "h": state[0], "c": state[1]}
        probabilities, h, c = self._graph.run(None, inputs)
        return probabilities, (h, c)


def load_detector(
    settings: EngineSettings, models_dir: Path = model_store.MODELS_DIR
) -> VoiceDetector:
    """The network beside the embedded engine's model. Raises EngineUnavailable."""
    if fault := model_store.problem(settings.model, models_dir):
        raise EngineUnavailable(f"{fault}; run: bash setup.sh --model {settings.model}")
    return VoiceDetector(model_store.model_dir(settings.model, models_dir))


class VoiceStream:
    """The state of one stream: (1, 1, 128) twice, the last 64 samples, and an unfinished block."""

    def __init__(self, detector: VoiceDetector) -> None:
        self._detector = detector
        zeros = np.zeros((1, 1, _STATE_SIZE), dtype=np.float32)
        self._state: tuple[npt.NDArray[np.float32], ...] = (zeros, zeros)
        self._unused: Samples = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)

    def probabilities(self, samples: Samples) -> list[float]:
        """One probability for each block that `samples`, shape (n,), completes."""
        sound = np.concatenate([self._unused, samples])
        count = (len(sound) - _CONTEXT_SAMPLES) // BLOCK_SAMPLES
        self._unused = sound[count * BLOCK_SAMPLES :]
        if not count:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(sound, _CONTEXT_SAMPLES + BLOCK_SAMPLES)
        blocks = np.ascontiguousarray(windows[: count * BLOCK_SAMPLES : BLOCK_SAMPLES])
        probabilities, self._state = self._detector.run(blocks, self._state)
        return [float(one) for one in probabilities]


class TwoLooks(SpeechStream):
    """Looks at each block twice: as it is, and amplified enough to hear quiet speech.

    The amplification follows the quietest block of the last 20 s, not the loudest: after a loud
    sound or a near speaker, a far one is still found.
    """

    def __init__(self, plain: VoiceStream, boosted: VoiceStream) -> None:
        self._plain = plain
        self._boosted = boosted
        self._rest: Samples = np.empty(0, dtype=np.float32)
        self._floor = Floor(round(FLOOR_WINDOW_S / BLOCK_S))
        self._count = 0

    def add(self, samples: Samples) -> list[Likelihood]:
        """Judge the blocks that these samples, shape (n,), complete."""
        sound = np.concatenate([self._rest, samples])
        whole = len(sound) // BLOCK_SAMPLES * BLOCK_SAMPLES
        self._rest = sound[whole:]
        if not whole:
            return []
        blocks = sound[:whole].reshape(-1, BLOCK_SAMPLES)
        gains = np.fromiter(self._gains(levels(blocks)), dtype=np.float32, count=len(blocks))
        louder = (blocks * gains[:, None]).reshape(-1)
        plain = self._plain.probabilities(sound[:whole])
        return list(map(Likelihood, plain, self._boosted.probabilities(louder)))

    def _gains(self, block_levels: Iterable[float]) -> Iterable[float]:
        """The factor for each block."""
        for level in block_levels:
            floor = self._floor.after(level)
            self._count += 1
            if self._count <= _UNKNOWN_BLOCKS:
                floor = min(floor, _UNKNOWN_FLOOR)
            gain = min(max(_BOOSTED_FLOOR / max(floor, 1e-9), 1.0), _MOST_BOOST)
            yield min(gain, _LOUDEST / level) if level * gain > _LOUDEST else gain
