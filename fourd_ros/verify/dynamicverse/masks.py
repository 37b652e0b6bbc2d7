"""Maps of instances from masks, and their colours."""

import re

import numpy as np

from fourd_ros.reconstruction.masks.instance_map import instance_map, numbers_of, overlay, paint, palette
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import EXACT, SYSTEM, Computed, compare_all
from fourd_ros.verify.vectors import Tensors, VectorFolder

FILE = "masks.npz"
_OBJECT = re.compile(r"obj(\d+)")


def objects_of(vectors: Tensors) -> list[str]:
    """Names of the tensors with the masks of objects, in the order of the objects."""
    return sorted(filter(_OBJECT.fullmatch, vectors), key=lambda name: int(name.removeprefix("obj")))


@check(SYSTEM, FILE)
def masks(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """With the numbers of the original, which shift where a mask ends early, and back from its colours."""
    names, frames = objects_of(vectors), vectors["frames"]
    numbers, _owners = instance_map([vectors[name] for name in names], frames=len(frames), official_compat=True)
    colours = palette(len(names), official_compat=True)
    computed: Computed = {
        "instance": (numbers, EXACT),
        "colour_png": (paint(numbers, colours), EXACT),
        "overlay": (overlay(frames, numbers, colours), EXACT),
        "palette": (palette(len(vectors["palette"])), EXACT),
    }
    compare_all(vectors, compare, computed, inputs=" ".join([*names, "frames"]))
    if len(np.unique(colours, axis=0)) == len(names):
        compare("instance, read back", numbers_of(vectors["colour_png"]), expected=vectors["instance"], tolerance=EXACT)
