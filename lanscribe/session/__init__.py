"""One client: its utterances, and its socket, which it may lose and replace."""
