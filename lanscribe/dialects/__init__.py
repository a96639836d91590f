"""One sans-IO codec per protocol."""
