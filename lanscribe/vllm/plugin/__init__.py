"""The plugin for vLLM: Voxtral Realtime in 4 bits, and processes that end with their parent."""
