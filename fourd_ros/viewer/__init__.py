"""Writes one self-contained page that shows what was imagined beside what happened."""
