"""Makes checkpoints of Voxtral-Mini-4B-Realtime's structure out of seeded random numbers.

Runs in an environment of vLLM, not in the project's own:

    python -m tests.vllm.real.checkpoint --out DIR [--seed N] [--dequantized] [--forgetful]

With --dequantized the weights are those of the same seed after a way through bitsandbytes' NF4
and back: what a right loader of 4-bit weights computes with, for a server that computes in bf16.

With --forgetful attention has no say and all tokens are plain words: for each step of 80 ms the
model says one word, by the sound of that step and of its convolutions' reach. So what it says of
a moment does not depend on where a session began, and words can be counted against the audio.
"""

import argparse
import base64
import importlib.resources
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from mistral_common.tokens.tokenizers.base import SpecialTokens
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from torch import Tensor

from tests.vllm.real.voxtral import (
    AUDIO_TOKENS,
    SPECIAL_TOKEN_COUNT,
    TINY,
    Shape,
    Voxtral,
    audio_settings,
    parameter_shapes,
    params,
    transformers_config,
)

GAINS = {
    "tok_embeddings.weight": 0.2,
    "conv.weight": 4.0,
    "wq.weight": 1.4,
    "wk.weight": 1.4,
}
"""What a layer of random weights multiplies a signal by, where that is not 1.

Found by trial, for sound to decide which token is said and the text before it to have a say:
embeddings (which are the output layer too) of the size of the audio's would repeat one token for
ever, even attention would blur the sound away, and sharper attention would turn the roundings of
bf16 into other tokens.
"""
CENTRED = ("conv.weight", "audio_language_projection.2.weight")
"""Rows of mean zero, or what all inputs have in common (GELU is never far below 0) outweighs the
sound."""
DECOY = "model.safetensors"
"""The published repository has the weights a second time, under other names: not to be read."""
FORGETFUL_GAINS = {"attention.wo.weight": 0.0, "audio_language_projection.2.weight": 30.0}
"""What a forgetful model's weights are multiplied by: nothing comes out of attention, and the
audio drowns the token before it."""
PLAIN_WORD = re.compile(" [a-z]{2,}")
BYTES_PER_NUMBER = 2
Named = tuple[str, Tensor]


def make_checkpoint(
    out: Path, seed: int, *, dequantized: bool, forgetful: bool = False, model: Voxtral = TINY
) -> None:
    """Write consolidated.safetensors, params.json and tekken.json into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    tekken = make_tekken(model)
    (out / "tekken.json").write_text(json.dumps(tekken))
    (out / "params.json").write_text(json.dumps(params(model), indent=2))
    (out / "config.json").write_text(json.dumps(transformers_config(model), indent=2))
    silent = silent_tokens(tekken, plain_words_only=forgetful)
    tensors: Iterable[Named] = random_tensors(model, seed, silent)
    if forgetful:
        tensors = ((name, tensor * _gain(name, FORGETFUL_GAINS)) for name, tensor in tensors)
    if dequantized:
        tensors = (through_nf4(model, name, tensor) for name, tensor in tensors)
    write_safetensors(out / "consolidated.safetensors", parameter_shapes(model), tensors)
    decoy = torch.full((1, 1), torch.nan, dtype=torch.bfloat16)
    write_safetensors(out / DECOY, [("decoy", (1, 1))], [("decoy", decoy)])


def make_tekken(model: Voxtral) -> dict[str, Any]:
    """mistral_common's own vocabulary, cut to the model's size, with the settings for streaming."""
    source = importlib.resources.files("mistral_common") / "data/tekken_240911.json"
    data = json.loads(source.read_text(encoding="utf-8"))
    words = model.vocab_size - SPECIAL_TOKEN_COUNT
    config = {"num_vocab_tokens": words, "default_vocab_size": model.vocab_size, "version": "v13"}
    return {
        "config": {**data["config"], **config, "default_num_special_tokens": SPECIAL_TOKEN_COUNT},
        "vocab": data["vocab"][:words],
        "special_tokens": _special_tokens(),
        "audio": audio_settings(model),
    }


def _special_tokens() -> list[dict[str, Any]]:
    """All that the tokenizer asks for by name; where an id is not known, any that is free."""
    names = {token["rank"]: token["token_str"] for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS}
    names |= AUDIO_TOKENS
    others = iter(sorted({token.value for token in SpecialTokens} - set(names.values())))
    for rank in sorted(set(range(SPECIAL_TOKEN_COUNT)) - set(names)):
        names[rank] = next(others, f"<SPECIAL_{rank}>")
    return [{"rank": rank, "token_str": names[rank], "is_control": True} for rank in sorted(names)]


def silent_tokens(tekken: dict[str, Any], *, plain_words_only: bool = False) -> list[int]:
    """Ids that say nothing by themselves: special tokens, and pieces that are not whole UTF-8.

    plain_words_only: also all that is not a space and small letters.
    """
    silent = list(range(SPECIAL_TOKEN_COUNT))
    for number, word in enumerate(tekken["vocab"]):
        try:
            text = base64.b64decode(word["token_bytes"]).decode()
        except UnicodeDecodeError:
            text = ""
        if not text or (plain_words_only and not PLAIN_WORD.fullmatch(text)):
            silent.append(SPECIAL_TOKEN_COUNT + number)
    return silent


def random_tensors(
    model: Voxtral, seed: int, silent: list[int], device: str = "cpu"
) -> Iterator[Named]:
    """Every parameter, bf16, one at a time, scaled so that signals keep their size.

    The embeddings are the output layer too, so a token whose row is zero has the logit zero: it
    loses to the best of thousands of random ones, and every token that is heard has a text.
    """
    generator = torch.Generator(device).manual_seed(seed)
    for name, shape in parameter_shapes(model):
        tensor = torch.randn(shape, generator=generator, device=device) * _scale(name, shape)
        if name.endswith(CENTRED):
            tensor -= tensor.mean(dim=tuple(range(1, tensor.dim())), keepdim=True)
        if name.endswith("norm.weight"):
            tensor += 1
        if name.endswith("tok_embeddings.weight"):
            tensor[silent] = 0
        yield name, tensor.to(torch.bfloat16).cpu()


def _scale(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith(("norm.weight", ".bias")):
        return 0.02
    return _gain(name, GAINS) / math.sqrt(math.prod(shape[1:]))


def _gain(name: str, gains: Mapping[str, float]) -> float:
    return next((gain for ending, gain in gains.items() if name.endswith(ending)), 1.0)


def through_nf4(model: Voxtral, name: str, tensor: Tensor) -> Named:
    """`tensor` as a 4-bit layer would use it, if this parameter belongs to one."""
    if not is_quantized(name):
        return name, tensor
    if name.startswith("layers.") and name.endswith((".wq.weight", ".wk.weight")):
        order = rotary_order(tensor.shape[0], model.decoder.head_dim)
        restored = torch.empty_like(tensor)
        restored[order] = nf4_and_back(tensor[order])
        return name, restored
    return name, nf4_and_back(tensor)


def is_quantized(name: str) -> bool:
    """Whether a parameter is the weight of an attention or feed-forward layer."""
    return name.endswith(".weight") and (".attention." in name or ".feed_forward." in name)


def rotary_order(rows: int, head_dim: int) -> Tensor:
    """Which row of a published wq or wk is where in vLLM's, [rows].

    Published heads alternate the two halves of a rotary pair, vLLM's have one half after the
    other: row 2i of a head goes to i, row 2i + 1 to head_dim / 2 + i.
    """
    within = [*range(0, head_dim, 2), *range(1, head_dim, 2)]
    return torch.tensor([start + row for start in range(0, rows, head_dim) for row in within])


def nf4_and_back(weight: Tensor) -> Tensor:
    """[out, in] bf16 -> the values that its NF4 form stands for, [out, in] bf16."""
    packed, state = quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
    restored: Tensor = dequantize_4bit(packed, state)
    return restored.to(torch.bfloat16)


def write_safetensors(path: Path, shapes: Iterable[Shape], tensors: Iterable[Named]) -> None:
    """Write bf16 tensors that come in the order of `shapes`, one in memory at a time."""
    header, end = {}, 0
    for name, shape in shapes:
        start, end = end, end + math.prod(shape) * BYTES_PER_NUMBER
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for _, tensor in tensors:
            file.write(tensor.contiguous().view(torch.uint8).numpy().data)


def main() -> None:
    """Make one checkpoint."""
    parser = argparse.ArgumentParser(prog="tests.vllm.real.checkpoint", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dequantized", action="store_true")
    parser.add_argument("--forgetful", action="store_true")
    options = parser.parse_args()
    make_checkpoint(
        options.out, options.seed, dequantized=options.dequantized, forgetful=options.forgetful
    )


if __name__ == "__main__":
    main()
