"""Everything that listens, and who may come in."""
