"""Reads Moonshine's weights from the graphs that its makers ship. Needs the `onnx` package.

The shipped .ort files hold 8-bit weights in two encodings. base-en stores `w = q * scale + zero`
with a float zero and de-quantizes at every run, which makes it slow; tiny-en stores
`w = (q - zero) * scale` with an integer zero. This module returns both as `QuantizedMatrix`.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class QuantizedMatrix:
    """A matrix, shape (rows, columns), as w = (values - zeros) * scales, per column."""

    values: npt.NDArray[np.uint8]
    """Shape (rows, columns)."""
    scales: Floats
    """Shape (columns,)."""
    zeros: npt.NDArray[np.uint8]
    """Shape (columns,)."""


def side_by_side(matrices: list[QuantizedMatrix]) -> QuantizedMatrix:
    """One matrix with the columns of all, so one product serves them all."""
    return QuantizedMatrix(
        np.concatenate([matrix.values for matrix in matrices], axis=1),
        np.concatenate([matrix.scales for matrix in matrices]),
        np.concatenate([matrix.zeros for matrix in matrices]),
    )


class ShippedGraph:
    """The constants of one shipped graph, looked up by the node that uses them."""

    def __init__(self, path: Path) -> None:
        graph = _as_onnx(path).graph
        graphs = [graph, *_branches(graph)]
        self._nodes = {node.name: node for one in graphs for node in one.node if node.name}
        self._constants = {item.name: item for one in graphs for item in one.initializer}

    def has(self, node_name: str) -> bool:
        """Whether there is a matrix product of this name."""
        return self._product(node_name) is not None

    def vector(self, name: str) -> Floats:
        """The constant of this name, flat. Raises KeyError if there is none."""
        merged = f"{name}_merged_0"
        key = merged if merged in self._constants else name
        return np.asarray(self._array(key), dtype=np.float32).reshape(-1)

    def operand(self, node_name: str) -> Floats:
        """The constant, flat, that the elementwise node of this name applies."""
        return self.vector(self._nodes[node_name].input[1])

    def kernel(self, node_name: str) -> Floats:
        """The weights, shape (out, in, width), of a convolution."""
        name = self._nodes[node_name].input[1]
        if name in self._constants:
            return np.asarray(self._array(name), dtype=np.float32)
        quantized, scale, zero = self._encoded(name.removesuffix("_add_tensor"))
        return np.asarray(quantized.astype(np.float32) * scale + zero, dtype=np.float32)

    def matrix(self, node_name: str) -> QuantizedMatrix:
        """The weights, shape (in, out), of the matrix product of this name."""
        node = self._product(node_name)
        if node is None:
            raise KeyError(f"the shipped graph has no node {node_name}")
        base = node.input[1].removesuffix("_add_tensor").removesuffix("_quantized")
        return _quantized(*self._encoded(base))

    def embedding(self) -> QuantizedMatrix:
        """The transposed token embedding, shape (hidden, vocabulary)."""
        return _quantized(*self._encoded("model.decoder.embed_tokens.weight_merged_0"), turn=True)

    def _product(self, node_name: str) -> Any:
        return self._nodes.get(f"{node_name}_quant") or self._nodes.get(node_name)

    def _encoded(self, base: str) -> tuple[npt.NDArray[Any], Floats, npt.NDArray[Any]]:
        parts = [self._array(f"{base}_{part}") for part in ("quantized", "scale", "zero_point")]
        return parts[0], parts[1], parts[2]

    def _array(self, name: str) -> npt.NDArray[Any]:
        return numpy_helper.to_array(self._constants[name])


def _quantized(
    values: npt.NDArray[Any], scale: Floats, zero: npt.NDArray[Any], *, turn: bool = False
) -> QuantizedMatrix:
    """Convert either encoding to unsigned values with an integer zero per column."""
    if zero.dtype == np.float32:
        zero = np.rint(-zero / scale)
    shift = 128 if values.dtype == np.int8 else 0
    values = (values.astype(np.int16) + shift).astype(np.uint8)
    zero = zero.astype(np.int16) + shift
    if turn:
        values = np.ascontiguousarray(values.T)
    columns = values.shape[1]
    return QuantizedMatrix(
        values,
        np.broadcast_to(scale.reshape(-1), (columns,)).astype(np.float32),
        np.broadcast_to(zero.reshape(-1), (columns,)).astype(np.uint8),
    )


def _as_onnx(path: Path) -> Any:
    """Let ONNX Runtime write the .ort file as plain ONNX, without optimizing it."""
    with TemporaryDirectory(dir=path.parent) as folder:
        target = Path(folder) / "plain.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        options.add_session_config_entry("session.save_model_format", "ONNX")
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return onnx.load(str(target))


def _branches(graph: Any) -> list[Any]:
    return [
        attribute.g for node in graph.node if node.op_type == "If" for attribute in node.attribute
    ]
