"""Whether Voxtral fits into a GPU's memory, and vLLM's options for it: pure.

The arithmetic is in lanscribe.voxtral.memory, the ready-made results are config/vllm/*.yaml, and
`serve.sh plan` (lanscribe.voxtral.plan_report) prints a plan for any card.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lanscribe.voxtral import memory
from lanscribe.voxtral.delay import DEFAULT_DELAY_MS
from lanscribe.voxtral.memory import GIB, MIB, QUANTIZATIONS, Quantization
from lanscribe.voxtral.steps import STEP_MS

TOKENS_PER_MINUTE = 60_000 // STEP_MS
LEFT_PAD_TOKENS = 32
TOKENS_BESIDES_AUDIO = LEFT_PAD_TOKENS + 43
"""The most per request: padding before the audio; the longest delay (30), BOS and 10 for a long
word after it; and one, because vLLM stops when max-model-len is reached (voxtral_realtime.py)."""
LONGEST_REQUEST_TOKENS = 131_072
BATCH_STEP_TOKENS = 64

VISIBLE_SHARE = 0.97
"""The share of a card's nominal memory that CUDA programs see. vLLM's own logs show 11.63 and 23.55
GiB on cards of 12 and 24 GiB: 0.969 and 0.981."""
OTHER_PROGRAMS_BYTES = 768 * MIB
"""Reserved for a desktop and a browser if the free memory is unknown."""
FREE_LEEWAY_BYTES = 128 * MIB
"""How much the free memory may shrink between the check and the start."""
LEAST_SPARE_BYTES = GIB // 2
"""Reserve for errors of the estimates; a plan with less is refused."""
WANTED_SPARE_BYTES = GIB
"""The reserve if the card has enough. More is useless: sessions and their lengths are bounded."""
PERCENT = 100

BASE_STEP_MS = 24
MS_PER_SESSION_MINUTE = 3
"""A step took 23.8 ms plus 2.99 ms for each minute of its request on an RTX 3090 in bf16
(vllm-project/vllm issue 58324). The sum over sessions is derived from the source, not measured."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a card should serve."""

    gpu_gib: float
    """The card's memory, nominal and as nvidia-smi reports it."""
    sessions: int
    """At once; all may start at the same moment."""
    quantization: Quantization = "nf4"
    minutes: float = 5.0
    """The longest engine request; then the gateway makes a new one."""
    free_gib: float | None = None
    """How much of the card is free, if known."""
    delay_ms: int = DEFAULT_DELAY_MS
    model_len: int = 0
    """max-model-len, if that is given in place of minutes."""

    def __str__(self) -> str:
        sessions = f"{self.sessions} session{'s' if self.sessions > 1 else ''}"
        free = "" if self.free_gib is None else f" with {self.free_gib:g} GiB free"
        return (
            f"{sessions} of up to {self.minutes:g} min, {self.quantization},"
            f" on a card of {self.gpu_gib:g} GiB{free}"
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One item of the budget."""

    name: str
    size_bytes: int
    note: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A wish, worked out."""

    wish: Wish
    max_num_batched_tokens: int
    max_model_len: int

    @property
    def inside(self) -> tuple[Line, ...]:
        """The items within gpu-memory-utilization."""
        wish, batch = self.wish, self.max_num_batched_tokens
        graphs = memory.cuda_graphs(wish.sessions)
        activations = memory.activation_bytes(wish.quantization, batch, wish.sessions)
        return (
            Line("weights", memory.weight_bytes(wish.quantization), wish.quantization),
            Line("rotary tables", memory.rotary_bytes(), "for 131072 positions, always"),
            Line("CUDA libraries", memory.LIBRARIES_BYTES, "estimated"),
            Line("activations", activations, f"for batches of {batch} tokens; partly estimated"),
            Line("CUDA graphs", graphs * memory.BYTES_PER_GRAPH, f"{graphs} sizes; estimated"),
            Line("KV cache", self.kv_bytes, self._kv_note()),
        )

    @property
    def outside(self) -> tuple[Line, ...]:
        """The items that gpu-memory-utilization must leave room for."""
        free_gib = self.wish.free_gib
        others = OTHER_PROGRAMS_BYTES
        note = "assumed; --free says what is free"
        if free_gib is not None:
            others = max(self.visible_bytes - int(free_gib * GIB), 0) + FREE_LEEWAY_BYTES
            note = "in use now, and a little more"
        return (*self._own_outside, Line("other programs", others, note))

    @property
    def _own_outside(self) -> tuple[Line, ...]:
        """The part of that which vLLM itself takes."""
        embeddings = memory.encoder_cache_bytes(self.max_num_batched_tokens, self.max_model_len)
        return (
            Line("encoder cache", embeddings, "fills up over time"),
            Line("CUDA context", memory.CONTEXT_BYTES, "estimated"),
        )

    @property
    def session_bytes(self) -> int:
        """The KV cache of a session at its longest."""
        return memory.session_blocks(self.max_model_len) * memory.BLOCK_BYTES

    @property
    def reserved_bytes(self) -> int:
        """The KV cache that vLLM needs to start."""
        blocks = memory.reserved_blocks(self.max_num_batched_tokens, self.max_model_len)
        return blocks * memory.BLOCK_BYTES

    @property
    def kv_bytes(self) -> int:
        """The necessary KV cache; one block is never used (vLLM's null block)."""
        sessions_bytes = self.wish.sessions * self.session_bytes
        return max(sessions_bytes, self.reserved_bytes) + memory.BLOCK_BYTES

    @property
    def visible_bytes(self) -> int:
        """The card's memory as CUDA sees it."""
        return int(self.wish.gpu_gib * GIB * VISIBLE_SHARE)

    @property
    def needed_bytes(self) -> int:
        """The sum of the items inside."""
        return sum(line.size_bytes for line in self.inside)

    @property
    def fits(self) -> bool:
        """Whether vLLM's share has room for all items and the reserve."""
        return self._percent_for(LEAST_SPARE_BYTES) <= self._most_percent

    @property
    def least_free_bytes(self) -> int:
        """The free memory that it needs: the least sufficient share, and vLLM's part outside it."""
        share_bytes = self._percent_for(LEAST_SPARE_BYTES) * self.visible_bytes // PERCENT
        return share_bytes + sum(line.size_bytes for line in self._own_outside) + FREE_LEEWAY_BYTES

    @property
    def percent(self) -> int:
        """vLLM's share: gpu-memory-utilization in hundredths."""
        return min(self._percent_for(WANTED_SPARE_BYTES), self._most_percent)

    @property
    def percents(self) -> tuple[int, int]:
        """The least and the most that may be given as vLLM's share; without a reserve."""
        return self._percent_for(0), self._most_percent

    @property
    def spare_bytes(self) -> int:
        """The rest of the share, which vLLM uses as KV cache. Negative if the plan does not fit."""
        return self.percent * self.visible_bytes // PERCENT - self.needed_bytes

    @property
    def _most_percent(self) -> int:
        left = self.visible_bytes - sum(line.size_bytes for line in self.outside)
        return math.floor(PERCENT * left / self.visible_bytes)

    def _percent_for(self, spare_bytes: int) -> int:
        return math.ceil(PERCENT * (self.needed_bytes + spare_bytes) / self.visible_bytes)

    def _kv_note(self) -> str:
        session, reserved = self.session_bytes // MIB, self.reserved_bytes // MIB
        return f"{session} MiB a session; vLLM wants {reserved} MiB to start"

    @property
    def step_ms(self) -> int:
        """How long a step takes when all sessions are at their longest, on an RTX 3090."""
        grown_ms = MS_PER_SESSION_MINUTE * self.wish.sessions * self.wish.minutes
        return BASE_STEP_MS + math.ceil(grown_ms)

    @property
    def options(self) -> dict[str, Any]:
        """The options for vLLM, named as in its --config file."""
        return {
            "max-num-seqs": self.wish.sessions,
            "max-num-batched-tokens": self.max_num_batched_tokens,
            "max-model-len": self.max_model_len,
            "gpu-memory-utilization": self.percent / PERCENT,
        }


def prompt_tokens(delay_ms: int = DEFAULT_DELAY_MS) -> int:
    """The tokens of a session's first step: BOS, padding, the delay."""
    return 1 + LEFT_PAD_TOKENS + delay_ms // STEP_MS


def work_out(wish: Wish) -> Plan:
    """The budget and the options for a wish, whether it fits or not."""
    batch = _round_up(prompt_tokens(wish.delay_ms) * wish.sessions, BATCH_STEP_TOKENS)
    tokens = math.ceil(wish.minutes * TOKENS_PER_MINUTE) + TOKENS_BESIDES_AUDIO
    length = min(_round_up(tokens, memory.DECODER_BLOCK_TOKENS), LONGEST_REQUEST_TOKENS)
    return Plan(wish, batch, wish.model_len or length)


def most_sessions(wish: Wish) -> int:
    """How many sessions fit, whatever number the wish has; 0 if none fits."""
    sessions = 0
    while work_out(replace(wish, sessions=sessions + 1)).fits:
        sessions += 1
    return sessions


def alternatives(wish: Wish) -> list[Wish]:
    """Wishes that fit in place of one that does not: the nearest first, at least one."""
    near = [found for find in _WAYS_OUT if (found := find(wish)) is not None]
    if near:
        return near
    smallest = replace(wish, sessions=1, quantization="nf4", minutes=1.0)
    if work_out(smallest).fits:
        return [smallest]
    larger = _larger_card(wish) or _larger_card(smallest)
    assert larger is not None, "one session fits a card of 80 GiB"
    return [larger]


def _less_used(wish: Wish) -> Wish | None:
    """With other programs closed."""
    return _first(replace(wish, free_gib=gib) for gib in _frees(wish))


def _frees(wish: Wish) -> Iterator[float]:
    if wish.free_gib is None:
        return
    gib = math.floor(wish.free_gib * 2 + 1) / 2
    while gib <= wish.gpu_gib * VISIBLE_SHARE:
        yield gib
        gib += 0.5


def _fewer_sessions(wish: Wish) -> Wish | None:
    sessions = min(most_sessions(wish), wish.sessions - 1)
    return replace(wish, sessions=sessions) if sessions else None


def _smaller_weights(wish: Wish) -> Wish | None:
    """With as many of the sessions as fit; if equal, with the nearest quantization."""
    smaller = reversed(QUANTIZATIONS[: QUANTIZATIONS.index(wish.quantization)])
    wishes = [replace(wish, quantization=name) for name in smaller]
    most = [replace(one, sessions=min(most_sessions(one), one.sessions)) for one in wishes]
    return max((one for one in most if one.sessions), key=lambda one: one.sessions, default=None)


def _shorter_requests(wish: Wish) -> Wish | None:
    lengths = (minutes for minutes in (60, 30, 20, 10, 5, 4, 3, 2, 1) if minutes < wish.minutes)
    return _first(replace(wish, minutes=float(minutes)) for minutes in lengths)


def _larger_card(wish: Wish) -> Wish | None:
    sizes = (gib for gib in (6, 8, 10, 12, 16, 24, 32, 48, 80) if gib > wish.gpu_gib)
    return _first(replace(wish, gpu_gib=float(gib), free_gib=None) for gib in sizes)


_WAYS_OUT: tuple[Callable[[Wish], Wish | None], ...] = (
    _less_used,
    _fewer_sessions,
    _smaller_weights,
    _shorter_requests,
)


def _first(wishes: Iterator[Wish]) -> Wish | None:
    return next((wish for wish in wishes if work_out(wish).fits), None)


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


SERVED_MODEL_NAME = "voxtral-mini-4b-realtime"
_COMMON: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 8001,
    "served-model-name": SERVED_MODEL_NAME,
    "tokenizer-mode": "mistral",
    "config-format": "mistral",
    "dtype": "bfloat16",
    "compilation-config": {"cudagraph_mode": "PIECEWISE"},
    "enable-prefix-caching": False,
    "mm-processor-cache-gb": 0,
}
_LOADING: dict[Quantization, dict[str, Any]] = {
    "nf4": {"load-format": "bitsandbytes", "quantization": "bitsandbytes"},
    "fp8": {"load-format": "mistral", "quantization": "fp8_per_tensor"},
    "bf16": {"load-format": "mistral"},
}


@dataclass(frozen=True, slots=True)
class Profile:
    """A file of config/vllm, and the wish that it was computed for."""

    name: str
    wish: Wish
    """For the smallest card of this profile."""
    is_default: bool = True
    """Whether profile_for may choose it; the others are for experts."""

    @property
    def sizes(self) -> dict[str, Any]:
        """The lines of the file that the planner computes."""
        return work_out(self.wish).options

    @property
    def options(self) -> dict[str, Any]:
        """Every line of the file."""
        return {**_COMMON, **_LOADING[self.wish.quantization], **self.sizes}

    def on(self, total_gib: float, free_gib: float | None = None, model_len: int = 0) -> Plan:
        """The plan for one card: the same sessions, with only the share that they need.

        serve.sh starts vLLM with that share, not with the share in the file. model_len: a
        max-model-len in place of the file's, unless 0.
        """
        wish = replace(self.wish, gpu_gib=total_gib, free_gib=free_gib, model_len=model_len)
        return work_out(wish)


PROFILES = (
    Profile("8gb", Wish(7.9, sessions=2)),
    Profile("rtx3060-12gb", Wish(9.9, sessions=4)),
    Profile("16gb", Wish(15.5, sessions=6, minutes=3.0)),
    Profile("24gb", Wish(19.5, sessions=8, minutes=2.0)),
    Profile("fp8-12gb", Wish(11.5, sessions=4, quantization="fp8"), is_default=False),
    Profile("fp8-16gb", Wish(15.5, sessions=4, quantization="fp8"), is_default=False),
    Profile("bf16-24gb", Wish(19.5, sessions=4, quantization="bf16"), is_default=False),
)
"""From small to large. More sessions get shorter requests, because steps grow with both."""
LEAST_CAPABILITY = (8, 0)
"""Below it, vLLM has neither bfloat16 nor FLASH_ATTN."""


def profile_for(total_gib: float, compute_capability: tuple[int, int]) -> str | None:
    """The profile for a card: the largest that does not exceed its memory.

    None if Voxtral cannot run on it.
    """
    if compute_capability < LEAST_CAPABILITY:
        return None
    names = [one.name for one in PROFILES if one.is_default and one.wish.gpu_gib <= total_gib]
    return names[-1] if names else None
