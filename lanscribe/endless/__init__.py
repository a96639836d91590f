"""One endless engine session, made from limited ones."""
