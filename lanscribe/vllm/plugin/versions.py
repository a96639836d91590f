"""The versions of vLLM and vllm-bnb-plugin that the loader supports. Standard library only."""

VLLM_SERIES = ("0.32", "0.33")
"""Both have byte-identical realtime, Voxtral and Whisper sources."""
PLUGIN_VERSIONS = ("0.0.3",)
"""Exact versions, because the loader overrides private methods of this plugin."""


def version_fault(vllm: str, plugin: str) -> str:
    """Why the installed versions do not work, as a message for the user; empty if they do.

    `plugin` is empty when vllm-bnb-plugin is not installed.
    """
    series = ".".join(vllm.split(".")[:2])
    if series in VLLM_SERIES and plugin in PLUGIN_VERSIONS:
        return ""
    supported_vllm = " or ".join(f"{series}.x" for series in VLLM_SERIES)
    return (
        "cannot load Voxtral Realtime in 4 bits: "
        f"installed are vLLM {vllm} and vllm-bnb-plugin {plugin or '(none)'}; "
        f"needed are vLLM {supported_vllm} and vllm-bnb-plugin {' or '.join(PLUGIN_VERSIONS)}; "
        "install what requirements/vllm.txt pins"
    )
