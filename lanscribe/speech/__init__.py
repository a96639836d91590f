"""Pure arithmetic on speech: samples and positions, speech detection, and text with times."""
