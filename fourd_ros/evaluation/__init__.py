"""Judges imagined futures against what happened. NumPy only, records in, records out."""
