"""Ends a start that cannot succeed with a one-line message, before vLLM starts its processes."""

from typing import Any

from vllm.engine.arg_utils import EngineArgs

from lanscribe.vllm.plugin.names import ARCHITECTURE

QUANTIZATION = "bitsandbytes"


def refuse(fault: str, *, is_plugin_missing: bool) -> None:
    """Make vLLM exit with `fault` when it is asked for Voxtral Realtime in 4 bits.

    Without vllm-bnb-plugin no model can be quantized so; then any such request is refused.
    """
    create = EngineArgs.create_model_config

    def create_or_exit(arguments: Any, *rest: Any, **options: Any) -> Any:
        if is_plugin_missing and arguments.quantization == QUANTIZATION:
            raise SystemExit(f"lanscribe: {fault}")
        config = create(arguments, *rest, **options)
        if config.quantization == QUANTIZATION and ARCHITECTURE in config.architectures:
            raise SystemExit(f"lanscribe: {fault}")
        return config

    EngineArgs.create_model_config = create_or_exit
