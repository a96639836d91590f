"""Turns Moonshine's shipped graphs into those the embedded engine runs. Needs `onnx`."""

from pathlib import Path

import onnx

from lanscribe.engines.embedded.model_graphs import encoder_graph, front_graph, step_graph
from lanscribe.engines.embedded.model_weights import ShippedGraph


def convert(source_dir: Path, target_dir: Path, *, signed: bool) -> None:
    """Read encoder_model.ort and decoder_model_merged.ort, write front, encoder and step.onnx.

    signed: whether the weights become signed bytes, see `has_exact_signed_products`.
    """
    encoder = ShippedGraph(source_dir / "encoder_model.ort")
    decoder = ShippedGraph(source_dir / "decoder_model_merged.ort")
    onnx.save(front_graph(encoder), str(target_dir / "front.onnx"))
    onnx.save(encoder_graph(encoder, decoder, signed=signed), str(target_dir / "encoder.onnx"))
    onnx.save(step_graph(decoder, signed=signed), str(target_dir / "step.onnx"))
