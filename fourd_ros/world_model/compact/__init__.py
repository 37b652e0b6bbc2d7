"""Learned rungs of the ladder that run on two cores."""
