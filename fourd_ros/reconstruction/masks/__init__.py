"""Masks of objects: their files, and finding them."""
