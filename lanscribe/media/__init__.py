"""Reads recordings: files, streams and pipes of any kind that FFmpeg or libsndfile can decode."""
