"""Runs vLLM as a separate process."""
