"""Code that the two terminal clients share; generate.py writes it into their scripts."""
