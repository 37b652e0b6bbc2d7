"""The checks of DynamicVerse, importable as one module: every kind of file has its own."""

from fourd_ros.verify.dynamicverse import (
    answers,
    bundle,
    cameras,
    depth,
    evaluation,
    flow,
    fusion,
    key_frames,
    masks,
    reference,
    scene,
    tracks,
)

__all__ = [
    "answers",
    "bundle",
    "cameras",
    "depth",
    "evaluation",
    "flow",
    "fusion",
    "key_frames",
    "masks",
    "reference",
    "scene",
    "tracks",
]
