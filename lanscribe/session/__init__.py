"""One client: its utterances, and the socket that it may lose and find again."""
