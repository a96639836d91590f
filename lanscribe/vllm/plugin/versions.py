"""Which vLLM and which vllm-bnb-plugin the loader was proved with. Standard library only."""

VLLM_SERIES = ("0.32", "0.33")
"""Their realtime, Voxtral and Whisper sources are the same, byte for byte."""
PLUGIN_VERSIONS = ("0.0.3",)
"""Exactly: the loader overrides methods that this plugin keeps to itself."""


def version_fault(vllm: str, plugin: str) -> str:
    """Why the two versions installed will not do, for a person; empty when they will.

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
