"""What lanscribe adds inside vLLM: Voxtral Realtime in 4 bits, and an end with its parent."""
