"""Reconstruction of a stream of frames."""
