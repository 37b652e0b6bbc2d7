"""Kinema4D: a video diffusion transformer that is shown a robot's motion and generates colour and geometry.

Kinema4D 2026, arXiv 2603.16669. Written from a specification; equal to the original network
(``fourd verify kinema4d``).
"""
