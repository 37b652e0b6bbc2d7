"""How parts of an object move when they are dragged: images and drags -> Gaussians of the moved object.

PartRM, CVPR 2025 (arXiv 2503.19913), on LGM. Written from a specification; equal to the original network
(``fourd verify partrm``).
"""
