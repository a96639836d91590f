"""The entry point `vllm.general_plugins`, which vLLM calls once in each of its processes."""

import importlib
from importlib import metadata

import vllm

from lanscribe.vllm.plugin.orphans import end_with_parent
from lanscribe.vllm.plugin.versions import version_fault


def register() -> None:
    """Take over `--quantization bitsandbytes` for Voxtral Realtime; leave no orphaned process.

    The loader is imported late: with an unknown version of the plugin, its imports would fail.
    """
    end_with_parent()
    plugin = installed_plugin()
    if fault := version_fault(vllm.__version__, plugin):
        refusal = importlib.import_module("lanscribe.vllm.plugin.refusal")
        refusal.refuse(fault, is_plugin_missing=not plugin)
    else:
        importlib.import_module("lanscribe.vllm.plugin.loader").take_over()


def installed_plugin() -> str:
    """The version of vllm-bnb-plugin; empty if it is not installed."""
    try:
        return metadata.version("vllm-bnb-plugin")
    except metadata.PackageNotFoundError:
        return ""
