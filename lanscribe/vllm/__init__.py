"""Runs vLLM as a separate process."""

RUST_FRONTEND = "VLLM_USE_RUST_FRONTEND"
"""The variable that selects vLLM's frontend in Rust, which has no /v1/realtime."""
