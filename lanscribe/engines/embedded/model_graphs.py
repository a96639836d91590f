"""Builds the three graphs that the embedded engine runs. Needs the `onnx` package.

Moonshine (arXiv 2410.15608) is a convolutional front end on raw sound, a transformer encoder,
and a transformer decoder with a gated feed-forward part. The shipped graphs spell each of its
layers in some 150 small operators; these use ONNX Runtime's fused ones, with products in 8 bits
whose weights are exactly the shipped ones. B = batch = 1; H = hidden, N = heads, D = H / N.

front:    sound -> features of the second convolution, before the normalisation over time.
          They depend on nearby sound only, so a growing segment is computed once, piecewise.
encoder:  features and the statistics of that normalisation -> keys and values for the decoder.
step:     tokens, their past, keys and values -> the likeliest next tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lanscribe.engines.embedded.model_weights import QuantizedMatrix, ShippedGraph, side_by_side

HEADS = 8
_ROTARY_DIMS = 32
_ROTARY_BASE = 10_000.0
_MAX_POSITIONS = 2048
_NORM_EPSILON = 1e-5
_OPSET = 17
_IR_VERSION = 8
_END = np.iinfo(np.int64).max
_DECODER = "/model/decoder/layers"
_ALIGNING_HEADS = {8: (6, (0, 1, 4)), 6: (3, (0, 2, 5, 6))}
"""By the number of decoder layers: the layer and its heads that look at the sound of the next
word. They were measured among all heads (docs/benchmarks.md)."""


@dataclass(frozen=True, slots=True)
class _Port:
    """An input or output of a graph."""

    name: str
    shape: tuple[int | str, ...]
    type: int = TensorProto.FLOAT

    def info(self) -> Any:
        return helper.make_tensor_value_info(self.name, self.type, self.shape)


class _Builder:
    """Collects operators; each method returns the name of its result."""

    def __init__(self, *, signed: bool = True) -> None:
        self._is_signed = signed
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, values: npt.NDArray[Any]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A standard operator: the name of its output, or the list of them."""
        return self._add(kind, "", inputs, outputs, attributes)

    def fused(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """One of ONNX Runtime's own operators."""
        return self._add(kind, "com.microsoft", inputs, outputs, attributes)

    def name(self, result: str, port: str) -> None:
        """Let the graph's output `port` be `result`."""
        self._nodes.append(helper.make_node("Identity", [result], [port]))

    def product(
        self, x: str, matrix: QuantizedMatrix, bias: npt.NDArray[np.float32] | None = None
    ) -> str:
        """x (B, n, rows) times the matrix (rows, columns), with x quantized as it comes."""
        operands = [self._eight_bits(matrix.values), matrix.scales]
        operands.append(self._eight_bits(matrix.zeros))
        names = [self.constant(operand) for operand in operands]
        result: str = self.fused("DynamicQuantizeMatMul", x, *names)
        return self.op("Add", result, self.constant(bias)) if bias is not None else result

    def model(self, inputs: Sequence[_Port], outputs: Sequence[_Port]) -> Any:
        graph = helper.make_graph(
            self._nodes,
            "moonshine",
            [port.info() for port in inputs],
            [port.info() for port in outputs],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _eight_bits(self, values: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The same values, reduced by 128 if the weights are to be signed."""
        return (values ^ np.uint8(0x80)).view(np.int8) if self._is_signed else values

    def _add(
        self, kind: str, domain: str, inputs: Sequence[str], outputs: int, attributes: Any
    ) -> Any:
        names = [f"n{len(self._nodes)}_{index}" for index in range(outputs)]
        node = helper.make_node(kind, list(inputs), names, domain=domain, **attributes)
        self._nodes.append(node)
        return names if outputs > 1 else names[0]


def front_graph(shipped: ShippedGraph) -> Any:
    """pcm (1, n) -> features (1, 2H, t2), and sums and squares (1, t1) over channels.

    t1 = (n - 127) // 64 + 1 frames of the first convolution, t2 = (t1 - 7) // 3 + 1.
    """
    build = _Builder()
    sound = build.op("Unsqueeze", "pcm", build.integers(1))  # (1, 1, n)
    first = build.constant(shipped.kernel("/conv1/Conv"))  # (H, 1, 127)
    waves = build.op("Tanh", build.op("Conv", sound, first, strides=[64]))  # (1, H, t1)
    build.name(build.op("ReduceSum", waves, build.integers(1), keepdims=0), "sums")
    build.name(build.op("ReduceSumSquare", waves, axes=[1], keepdims=0), "squares")
    gain = shipped.operand("/groupnorm/Mul")  # (H,), folded into the second convolution
    second = build.constant(shipped.kernel("/conv2/Conv") * gain[None, :, None])  # (2H, H, 7)
    build.name(build.op("Conv", waves, second, strides=[3]), "features")
    return build.model(
        [_Port("pcm", (1, "samples"))],
        [
            _Port("features", (1, 2 * len(gain), "features")),
            _Port("sums", (1, "waves")),
            _Port("squares", (1, "waves")),
        ],
    )


def encoder_graph(shipped: ShippedGraph, decoder: ShippedGraph, *, signed: bool) -> Any:
    """features (1, 2H, t2), mean (1,), deviation (1,) -> key_i and value_i (1, N, t, D)."""
    build = _Builder(signed=signed)
    x = _normalised_features(build, shipped)  # (1, t, H)
    frames = build.op("Slice", build.op("Shape", x), *(build.integers(i) for i in (1, 2)))
    positions = _positions(build, build.integers(0), frames)
    rotation = _rotation(build)
    hidden = shipped.vector("layer_norm.weight").size
    for layer in range(_layer_count(shipped, "/layers")):
        x = _encoder_layer(build, shipped, layer, x, (positions, *rotation))
    x = _norm(build, x, shipped.vector("layer_norm.weight"))
    outputs = _cross_keys_and_values(build, decoder, x, hidden)
    width = hidden * 2
    inputs = [_Port("features", (1, width, "features")), _Port("mean", (1,))]
    return build.model([*inputs, _Port("deviation", (1,))], outputs)


def step_graph(shipped: ShippedGraph, *, signed: bool) -> Any:
    """tokens (1, n) -> best and its probability (1, n - first), attention and the longer past.

    attention (1, n, t) shows where in the sound the decoder looked for each next token.
    past_key_i, past_value_i (1, N, p, D); key_i, value_i (1, N, t, D); `first` (1,) is the first
    of the n positions whose next token is wanted.
    """
    build = _Builder(signed=signed)
    embedding = shipped.embedding()  # (H, V)
    layers = _layer_count(shipped, _DECODER)
    hidden = embedding.values.shape[0]
    x = _embed(build, embedding)  # (1, n, H)
    start = build.op("Slice", build.op("Shape", "past_key_0"), *(build.integers(i) for i in (2, 3)))
    count = build.op("Slice", build.op("Shape", "tokens"), *(build.integers(i) for i in (1, 2)))
    positions = _positions(build, start, build.op("Add", start, count))
    rotation = _rotation(build)
    for layer in range(layers):
        x = _decoder_layer(build, shipped, layer, x, (positions, *rotation))
    x = build.op("Slice", x, "first", build.integers(_END), build.integers(1))
    x = _norm(build, x, shipped.vector("model.decoder.norm.weight"))
    logits = build.product(x, embedding)  # (1, n - first, V)
    build.name(build.op("ArgMax", logits, axis=-1, keepdims=0), "best")
    # Softmax is vectorized in ONNX Runtime; ReduceLogSumExp took 0.15 ms a position, thrice it
    probabilities = build.op("Softmax", logits, axis=-1)
    build.name(build.op("ReduceMax", probabilities, axes=[-1], keepdims=0), "probability")
    return build.model(*_step_ports(layers, hidden // HEADS))


def _step_ports(layers: int, width: int) -> tuple[list[_Port], list[_Port]]:
    inputs = [
        _Port("tokens", (1, "tokens"), TensorProto.INT64),
        _Port("first", (1,), TensorProto.INT64),
    ]
    outputs = [_Port("best", (1, "wanted"), TensorProto.INT64)]
    outputs.append(_Port("probability", (1, "wanted")))
    outputs.append(_Port("attention", (1, "tokens", "frames")))
    for layer in range(layers):
        for part in ("key", "value"):
            inputs.append(_Port(f"past_{part}_{layer}", (1, HEADS, "past", width)))
            inputs.append(_Port(f"{part}_{layer}", (1, HEADS, "frames", width)))
            outputs.append(_Port(f"present_{part}_{layer}", (1, HEADS, "present", width)))
    return inputs, outputs


def _normalised_features(build: _Builder, shipped: ShippedGraph) -> str:
    """Finish the normalisation that `front` left open: conv(gain * (x - mean) / deviation + shift).

    A convolution is linear, so the mean and the deviation of x may be applied to its result.
    """
    kernel = shipped.kernel("/conv2/Conv")  # (2H, H, 7)
    gain, shift = shipped.operand("/groupnorm/Mul"), shipped.operand("/groupnorm/Add")
    of_ones = np.einsum("oik,i->o", kernel, gain)[:, None]  # (2H, 1)
    of_shift = (np.einsum("oik,i->o", kernel, shift) + shipped.vector("conv2.bias"))[:, None]
    centred = build.op("Sub", "features", build.op("Mul", "mean", build.constant(of_ones)))
    x = build.op("Add", build.op("Div", centred, "deviation"), build.constant(of_shift))
    x = build.fused("Gelu", x)
    third = build.constant(shipped.kernel("/conv3/Conv"))  # (H, 2H, 3)
    bias = build.constant(shipped.vector("conv3.bias"))
    x = build.fused("Gelu", build.op("Conv", x, third, bias, strides=[2]))  # (1, H, t)
    result: str = build.op("Transpose", x, perm=[0, 2, 1])
    return result


def _encoder_layer(
    build: _Builder, shipped: ShippedGraph, layer: int, x: str, rotation: tuple[str, ...]
) -> str:
    """x (1, t, H) -> (1, t, H): attention in both directions, then the feed-forward part."""
    path, name = f"/layers.{layer}", f"layers.{layer}"
    normed = _norm(build, x, shipped.vector(f"{name}.input_layernorm.weight"))
    query, key, value = _query_key_value(build, shipped, f"{path}/self_attn", normed)
    query, key = (_rotate(build, one, rotation) for one in (query, key))
    heard = build.fused("MultiHeadAttention", query, key, value, num_heads=HEADS)
    x = build.op("Add", x, build.product(heard, _output_matrix(shipped, f"{path}/self_attn")))
    normed = _norm(build, x, shipped.vector(f"{name}.post_attention_layernorm.weight"))
    bias = shipped.vector(f"{name}.mlp.fc1.bias")
    wide = build.product(normed, shipped.matrix(f"{path}/mlp/fc1/MatMul"), bias)
    narrow = build.product(
        build.fused("Gelu", wide),
        shipped.matrix(f"{path}/mlp/fc2/MatMul"),
        shipped.vector(f"{name}.mlp.fc2.bias"),
    )
    result: str = build.op("Add", x, narrow)
    return result


def _decoder_layer(
    build: _Builder, shipped: ShippedGraph, layer: int, x: str, rotation: tuple[str, ...]
) -> str:
    """x (1, n, H) -> (1, n, H): attention to the past, to the sound, and a gated part."""
    path, name = f"{_DECODER}.{layer}", f"model.decoder.layers.{layer}"
    normed = _norm(build, x, shipped.vector(f"{name}.input_layernorm.weight"))
    heard = _attend_past(build, shipped, layer, normed, rotation)
    x = build.op("Add", x, build.product(heard, _output_matrix(shipped, f"{path}/self_attn")))
    normed = _norm(build, x, shipped.vector(f"{name}.post_attention_layernorm.weight"))
    query = build.product(normed, shipped.matrix(f"{path}/encoder_attn/q_proj/MatMul"))
    aligning_layer, heads = _ALIGNING_HEADS[_layer_count(shipped, _DECODER)]
    if layer == aligning_layer:
        build.name(_attention(build, query, f"key_{layer}", heads), "attention")
    heard = build.fused(
        "MultiHeadAttention", query, f"key_{layer}", f"value_{layer}", num_heads=HEADS
    )
    x = build.op("Add", x, build.product(heard, _output_matrix(shipped, f"{path}/encoder_attn")))
    normed = _norm(build, x, shipped.vector(f"{name}.final_layernorm.weight"))
    result: str = build.op("Add", x, _gated(build, shipped, layer, normed))
    return result


def _attention(build: _Builder, query: str, key: str, heads: tuple[int, ...]) -> str:
    """query (1, n, H), key (1, N, t, D) -> (1, n, t), the mean of the heads' attention."""
    chosen = build.integers(*heads)
    split = build.op("Reshape", query, build.integers(0, 0, HEADS, -1))  # (1, n, N, D)
    turned = build.op("Transpose", build.op("Gather", split, chosen, axis=2), perm=[0, 2, 1, 3])
    keys = build.op("Transpose", build.op("Gather", key, chosen, axis=1), perm=[0, 1, 3, 2])
    width = build.op("Slice", build.op("Shape", key), *(build.integers(i) for i in (3, 4)))
    root = build.op("Sqrt", build.op("Cast", width, to=TensorProto.FLOAT))
    weights = build.op("Softmax", build.op("Div", build.op("MatMul", turned, keys), root), axis=-1)
    result: str = build.op("ReduceMean", weights, axes=[1], keepdims=0)
    return result


def _attend_past(
    build: _Builder, shipped: ShippedGraph, layer: int, normed: str, rotation: tuple[str, ...]
) -> str:
    query, key, value = _query_key_value(build, shipped, f"{_DECODER}.{layer}/self_attn", normed)
    query, key = (_rotate(build, one, rotation) for one in (query, key))
    past = [f"past_key_{layer}", f"past_value_{layer}"]
    inputs = [query, key, value, "", "", "", *past]
    heard, present_key, present_value = build.fused(
        "MultiHeadAttention", *inputs, outputs=3, num_heads=HEADS, unidirectional=1
    )
    build.name(present_key, f"present_key_{layer}")
    build.name(present_value, f"present_value_{layer}")
    return str(heard)


def _gated(build: _Builder, shipped: ShippedGraph, layer: int, normed: str) -> str:
    """Half of the wide layer, gated by the other half: a * silu(b)."""
    path, name = f"{_DECODER}.{layer}/mlp", f"model.decoder.layers.{layer}.mlp"
    up, down = ("up_proj", "down_proj") if shipped.has(f"{path}/up_proj/MatMul") else ("fc1", "fc2")
    bias = shipped.vector(f"{name}.{up}.bias")
    wide = build.product(normed, shipped.matrix(f"{path}/{up}/MatMul"), bias)
    half = bias.size // 2
    value, gate = build.op("Split", wide, build.integers(half, half), outputs=2, axis=-1)
    mixed = build.op("Mul", value, build.fused("QuickGelu", gate, alpha=1.0))
    down_bias = shipped.vector(f"{name}.{down}.bias")
    return build.product(mixed, shipped.matrix(f"{path}/{down}/MatMul"), down_bias)


def _cross_keys_and_values(
    build: _Builder, decoder: ShippedGraph, x: str, hidden: int
) -> list[_Port]:
    """Keys and values of every decoder layer from one product: (1, t, H) -> (1, N, t, D) each."""
    layers = _layer_count(decoder, _DECODER)
    ports = [f"{part}_{layer}" for layer in range(layers) for part in ("key", "value")]
    matrices = [
        decoder.matrix(f"{_DECODER}.{layer}/encoder_attn/{part}_proj/MatMul")
        for layer in range(layers)
        for part in ("k", "v")
    ]
    all_heads = len(ports) * HEADS
    joined = build.product(x, side_by_side(matrices))  # (1, t, all_heads * D)
    split = build.op("Reshape", joined, build.integers(1, -1, all_heads, hidden // HEADS))
    turned = build.op("Transpose", split, perm=[0, 2, 1, 3])  # (1, all_heads, t, D)
    parts = build.op(
        "Split", turned, build.integers(*[HEADS] * len(ports)), outputs=len(ports), axis=1
    )
    for part, port in zip(parts, ports, strict=True):
        build.name(part, port)
    return [_Port(port, (1, HEADS, "frames", hidden // HEADS)) for port in ports]


def _query_key_value(
    build: _Builder, shipped: ShippedGraph, path: str, x: str
) -> tuple[str, str, str]:
    """(1, n, H) -> three of the same shape, from one product."""
    matrices = [shipped.matrix(f"{path}/{part}_proj/MatMul") for part in ("q", "k", "v")]
    hidden = matrices[0].values.shape[1]
    joined = build.product(x, side_by_side(matrices))
    parts = build.op("Split", joined, build.integers(*[hidden] * 3), outputs=3, axis=-1)
    return parts[0], parts[1], parts[2]


def _output_matrix(shipped: ShippedGraph, path: str) -> QuantizedMatrix:
    name = f"{path}/dense/MatMul"
    return shipped.matrix(name if shipped.has(name) else f"{path}/o_proj/MatMul")


def _norm(build: _Builder, x: str, gain: npt.NDArray[np.float32]) -> str:
    result: str = build.op(
        "LayerNormalization", x, build.constant(gain), axis=-1, epsilon=_NORM_EPSILON
    )
    return result


def _rotation(build: _Builder) -> tuple[str, str]:
    """Cosines and sines, (positions, 16) each, of the rotary position embedding."""
    exponents = np.arange(0, _ROTARY_DIMS, 2) / _ROTARY_DIMS
    angles = np.arange(_MAX_POSITIONS)[:, None] / _ROTARY_BASE**exponents
    return build.constant(np.cos(angles).astype(np.float32)), build.constant(
        np.sin(angles).astype(np.float32)
    )


def _rotate(build: _Builder, x: str, rotation: tuple[str, ...]) -> str:
    result: str = build.fused(
        "RotaryEmbedding",
        x,
        *rotation,
        num_heads=HEADS,
        rotary_embedding_dim=_ROTARY_DIMS,
        interleaved=1,
    )
    return result


def _positions(build: _Builder, start: str, stop: str) -> str:
    """start (1,), stop (1,) -> (1, stop - start)."""
    flat = build.integers(0)
    bounds = [build.op("Squeeze", bound, flat) for bound in (start, stop)]
    step = build.constant(np.array(1, dtype=np.int64))
    result: str = build.op("Unsqueeze", build.op("Range", *bounds, step), flat)
    return result


def _embed(build: _Builder, embedding: QuantizedMatrix) -> str:
    """tokens (1, n) -> (1, n, H)."""
    rows = build.constant(embedding.values.T)  # (V, H)
    scale, zero = (build.constant(one[0]) for one in (embedding.scales, embedding.zeros))
    result: str = build.op("DequantizeLinear", build.op("Gather", rows, "tokens"), scale, zero)
    return result


def _layer_count(shipped: ShippedGraph, path: str) -> int:
    count = 0
    while shipped.has(f"{path}.{count}/self_attn/q_proj/MatMul"):
        count += 1
    return count
