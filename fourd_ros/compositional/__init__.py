"""Compositional objects: complete meshes of the static and moving objects of a video (COM4D)."""
