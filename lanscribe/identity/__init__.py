"""Who this box is on its networks: its addresses, its names and its certificate."""
