"""The commands of the owner: to serve, stop, restart and check, and all others."""
