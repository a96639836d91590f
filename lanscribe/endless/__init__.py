"""One endless engine session out of limited ones."""
