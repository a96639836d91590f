"""The Voxtral model and the NVIDIA card that it needs."""
