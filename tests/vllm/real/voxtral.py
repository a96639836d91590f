"""What a checkpoint of Voxtral-Mini-4B-Realtime-2602 is made of: shapes, names, settings.

The names, the shapes and the settings are those of the published model repository; what is
smaller in TINY is smaller by itself, with the same structure. Standard library only.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

STREAMS = "mm_streams_embeddings.embedding_module"
ENCODER = f"{STREAMS}.whisper_encoder"
AUDIO_TOKENS = {
    24: "[AUDIO]",
    25: "[BEGIN_AUDIO]",
    32: "[STREAMING_PAD]",
    33: "[STREAMING_WORD]",
}
"""The special tokens that streaming knows by name, besides those of Mistral's text models."""
Shape = tuple[str, tuple[int, ...]]
"""A parameter's name and its shape."""
SPECIAL_TOKEN_COUNT = 1000
DOWNSAMPLE_FACTOR = 4
"""Encoder frames (20 ms each) in one decoder token."""


@dataclass(frozen=True, slots=True)
class Tower:
    """One of the two transformers."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden_dim: int
    sliding_window: int


@dataclass(frozen=True, slots=True)
class Voxtral:
    """The sizes of a whole model."""

    decoder: Tower
    encoder: Tower
    vocab_size: int
    mel_bins: int = 128
    time_dim: int = 32
    """The inner width of the ada_rms_norm_t_cond layers, which see the delay."""


REAL = Voxtral(
    decoder=Tower(3072, 26, 32, 8, 128, 9216, 8192),
    encoder=Tower(1280, 32, 32, 32, 64, 5120, 750),
    vocab_size=131_072,
)
TINY = Voxtral(
    decoder=Tower(256, 2, 4, 2, 64, 512, 8192),
    encoder=Tower(128, 2, 4, 4, 64, 256, 750),
    vocab_size=4096,
)
"""Heads times head_dim differs from dim in the encoder, and queries outnumber keys: as in REAL."""


def parameter_shapes(model: Voxtral) -> Iterator[Shape]:
    """Name and shape of every tensor of consolidated.safetensors."""
    yield f"{STREAMS}.tok_embeddings.weight", (model.vocab_size, model.decoder.dim)
    yield from _encoder_shapes(model)
    joined = model.encoder.dim * DOWNSAMPLE_FACTOR
    yield f"{STREAMS}.audio_language_projection.0.weight", (model.decoder.dim, joined)
    yield f"{STREAMS}.audio_language_projection.2.weight", (model.decoder.dim,) * 2
    yield from _decoder_shapes(model)


def _encoder_shapes(model: Voxtral) -> Iterator[Shape]:
    tower = model.encoder
    for number, inputs in enumerate((model.mel_bins, tower.dim)):
        yield f"{ENCODER}.conv_layers.{number}.conv.weight", (tower.dim, inputs, 3)
        yield f"{ENCODER}.conv_layers.{number}.conv.bias", (tower.dim,)
    for number in range(tower.layers):
        layer = f"{ENCODER}.transformer.layers.{number}"
        yield from _layer_shapes(layer, tower)
        for name, size in (
            ("q", tower.heads * tower.head_dim),
            ("v", tower.heads * tower.head_dim),
        ):
            yield f"{layer}.attention.w{name}.bias", (size,)
        yield f"{layer}.attention.wo.bias", (tower.dim,)
        yield f"{layer}.feed_forward.w2.bias", (tower.dim,)
    yield f"{ENCODER}.transformer.norm.weight", (tower.dim,)


def _decoder_shapes(model: Voxtral) -> Iterator[Shape]:
    tower = model.decoder
    for number in range(tower.layers):
        layer = f"layers.{number}"
        yield from _layer_shapes(layer, tower)
        yield f"{layer}.ada_rms_norm_t_cond.0.weight", (model.time_dim, tower.dim)
        yield f"{layer}.ada_rms_norm_t_cond.2.weight", (tower.dim, model.time_dim)
    yield "norm.weight", (tower.dim,)


def _layer_shapes(layer: str, tower: Tower) -> Iterator[Shape]:
    queries, keys = tower.heads * tower.head_dim, tower.kv_heads * tower.head_dim
    yield f"{layer}.attention_norm.weight", (tower.dim,)
    yield f"{layer}.attention.wq.weight", (queries, tower.dim)
    yield f"{layer}.attention.wk.weight", (keys, tower.dim)
    yield f"{layer}.attention.wv.weight", (keys, tower.dim)
    yield f"{layer}.attention.wo.weight", (tower.dim, queries)
    yield f"{layer}.ffn_norm.weight", (tower.dim,)
    yield f"{layer}.feed_forward.w1.weight", (tower.hidden_dim, tower.dim)
    yield f"{layer}.feed_forward.w2.weight", (tower.dim, tower.hidden_dim)
    yield f"{layer}.feed_forward.w3.weight", (tower.hidden_dim, tower.dim)


def parameter_count(model: Voxtral) -> int:
    """Numbers in the whole checkpoint: 4.43 thousand million for REAL."""
    return sum(math.prod(shape) for _, shape in parameter_shapes(model))


def params(model: Voxtral) -> dict[str, Any]:
    """What params.json says."""
    return {
        **_tower_params(model.decoder, biases=False),
        "vocab_size": model.vocab_size,
        "model_parallel": 1,
        "tied_embeddings": True,
        "model_max_length": 131_072,
        "multimodal": {
            "whisper_model_args": {
                "encoder_args": _encoder_params(model),
                "downsample_args": {"downsample_factor": DOWNSAMPLE_FACTOR},
            }
        },
        "ada_rms_norm_t_cond": True,
        "ada_rms_norm_t_cond_dim": model.time_dim,
    }


def _encoder_params(model: Voxtral) -> dict[str, Any]:
    return {
        **_tower_params(model.encoder, biases=True),
        "audio_encoding_args": {
            "sampling_rate": 16_000,
            "frame_rate": 12.5,
            "num_mel_bins": model.mel_bins,
            "hop_length": 160,
            "window_size": 400,
            "chunk_length_s": None,
            "global_log_mel_max": 1.5,
            "transcription_format": "streaming",
        },
        "vocab_size": model.vocab_size,
        "use_cache": False,
        "pos_embed": "rope",
        "max_source_positions": None,
        "ffn_type": "swiglu",
        "norm_type": "rms_norm",
    }


def _tower_params(tower: Tower, *, biases: bool) -> dict[str, Any]:
    return {
        "dim": tower.dim,
        "n_layers": tower.layers,
        "head_dim": tower.head_dim,
        "hidden_dim": tower.hidden_dim,
        "n_heads": tower.heads,
        "n_kv_heads": tower.kv_heads,
        "use_biases": biases,
        "causal": True,
        "rope_theta": 1_000_000.0,
        "norm_eps": 1e-5,
        "sliding_window": tower.sliding_window,
    }


def audio_settings(model: Voxtral) -> dict[str, Any]:
    """The `audio` part of tekken.json."""
    return {
        "sampling_rate": 16_000,
        "frame_rate": 12.5,
        "audio_encoding_config": {
            "num_mel_bins": model.mel_bins,
            "hop_length": 160,
            "window_size": 400,
        },
        "chunk_length_s": None,
        "transcription_format": "streaming",
        "transcription_delay_ms": 480,
        "streaming_look_ahead_ms": 2.5,
        "streaming_look_back_ms": 52.5,
        "streaming_n_left_pad_tokens": 32,
    }


def transformers_config(model: Voxtral) -> dict[str, Any]:
    """What vLLM looks up in config.json, which params.json does not have."""
    return {
        "model_type": "voxtral_realtime",
        "text_config": {"max_position_embeddings": 131_072, "vocab_size": model.vocab_size},
    }
