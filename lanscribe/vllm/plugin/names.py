"""Maps parameters of the published checkpoint to vLLM's model. Standard library only.

Sources: `MistralForCausalLM.mistral_mapping` and `VoxtralEncoderModel.mistral_remapping` in vLLM
0.32 and 0.33, and `packed_modules_mapping` of `VoxtralForConditionalGeneration`.
"""

import re
from dataclasses import dataclass

ARCHITECTURE = "VoxtralRealtimeGeneration"
STREAMS = "mm_streams_embeddings.embedding_module"
"""The checkpoint's prefix for all parameters outside the decoder's layers."""
DECODER_LAYER = re.compile(r"layers\.(\d+)\.(attention|feed_forward)\.(w\w)\.weight")
ENCODER_LAYER = re.compile(
    re.escape(STREAMS)
    + r"\.whisper_encoder\.transformer\.layers\.(\d+)\.(attention|feed_forward)\.(w\w)\.weight"
)
DECODER_MODULES = {
    "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj",
    "w1": "mlp.gate_proj",
    "w2": "mlp.down_proj",
    "w3": "mlp.up_proj",
}
ENCODER_MODULES = DECODER_MODULES | {"wo": "self_attn.out_proj"}
ENCODER_ALIASES = {"w1": "mlp.fc1", "w2": "mlp.fc2", "w3": "mlp.fc3"}
"""Names that the encoder's `load_weight` expects for the layers it loads into gate_up and down."""


@dataclass(frozen=True, slots=True)
class LinearWeight:
    """The weight of a linear layer that the loader quantizes."""

    is_decoder: bool
    part: str
    """Mistral's short name: wq wk wv wo w1 w2 w3."""
    loading_name: str
    """The name that the model's `load_weights` expects."""
    parameter_name: str
    """The model's parameter; a part of a fused parameter keeps the name of the part."""


def linear_weight(name: str) -> LinearWeight | None:
    """The linear layer of either tower whose weight is called `name`; None for all others."""
    if match := DECODER_LAYER.fullmatch(name):
        layer, _, part = match.groups()
        parameter = f"model.layers.{layer}.{DECODER_MODULES[part]}.weight"
        return LinearWeight(True, part, parameter, f"language_model.{parameter}")
    if match := ENCODER_LAYER.fullmatch(name):
        layer, _, part = match.groups()
        inner = f"whisper_encoder.layers.{layer}"
        alias = ENCODER_ALIASES.get(part, ENCODER_MODULES[part])
        return LinearWeight(
            is_decoder=False,
            part=part,
            loading_name=f"{STREAMS}.{inner}.{alias}.weight",
            parameter_name=f"whisper_encoder.{inner}.{ENCODER_MODULES[part]}.weight",
        )
    return None
