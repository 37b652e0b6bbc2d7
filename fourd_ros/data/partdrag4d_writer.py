"""Writing rendered objects in the layout of PartDrag-4D, each object whole or not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fourd_ros.data.articulated_shards import ObjectArrays, ObjectFacts
from fourd_ros.data.articulation import to_y_up, write_joint_table
from fourd_ros.data.partdrag4d_cameras import write_camera
from fourd_ros.data.partdrag4d_folder import PROCESSED, PartDrag4DFolder, StateName
from fourd_ros.data.point_ply import write_points
from fourd_ros.geometry.transforms import apply
from fourd_ros.whole_file import whole_folder

DEPTH_STEPS = 10_000
"""Of depth pictures to one unit of the world of the cameras; 0 is unknown."""


def is_written(folder: PartDrag4DFolder, category: str, name: str) -> bool:
    """Whether an object is there; its processed folder comes last."""
    return (folder.root / PROCESSED / category / name).is_dir()


def write_object(
    folder: PartDrag4DFolder,
    facts: ObjectFacts,
    arrays: ObjectArrays,
    *,
    files: Mapping[str, str] | None = None,
    complete: Callable[[Path], None] = lambda folder: None,
    pictures: Callable[[Path, str], None] | None = None,
) -> None:
    """Pictures and cameras of every state, then points, joint table and meshes.

    Args:
        folder: of the data set.
        facts: of the object.
        arrays: of the object.
        files: further texts of the processed folder by relative path.
        complete: puts further files into the processed folder.
        pictures: puts the pictures of a state (by its name) into a folder instead of those in `arrays`.
    """
    for index, state in enumerate(facts.states):
        with whole_folder(folder.render(StateName(f"{facts.name}_{state.name}"))) as render:
            for view, pose in zip(facts.views, arrays.poses, strict=True):
                write_camera(render / f"{view:03d}_camera.json", pose)
            if pictures is not None:
                pictures(render, state.name)
            else:
                _write_pictures(render, index, facts, arrays)
    with whole_folder(folder.root / PROCESSED / facts.category / facts.name) as processed:
        write_joint_table(processed / "motion.json", facts.joints)
        meshes = processed / "parts_ply"
        meshes.mkdir()
        np.savetxt(meshes / "all_pts.txt", to_y_up(arrays.points), fmt="%.6f")
        np.savetxt(meshes / "all_label.txt", arrays.labels, fmt="%d")
        for index, state in enumerate(facts.states):
            _write_points(processed / "motion", index, state.name, arrays)
        for relative, text in (files or {}).items():
            path = processed / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        complete(processed)


def _write_pictures(render: Path, index: int, facts: ObjectFacts, arrays: ObjectArrays) -> None:
    for place, view in enumerate(facts.views):
        Image.fromarray(arrays.rgba[index, place]).save(render / f"{view:03d}.png", compress_level=3)
        if arrays.depth is not None:
            save_depth(render / f"{view:03d}_depth.png", arrays.depth[index, place])


def save_depth(path: Path, depth: NDArray[np.float32]) -> None:
    """Depth [H, W], NaN where unknown, as a PNG of 16 bits in steps of 1 / `DEPTH_STEPS`."""
    steps = np.nan_to_num(depth, nan=0.0) * DEPTH_STEPS
    Image.fromarray(steps.round().clip(0, 2**16 - 1).astype(np.uint16)).save(path, compress_level=3)


def _write_points(folder: Path, index: int, state: str, arrays: ObjectArrays) -> None:
    placed = np.array(arrays.points)
    for label, motion in enumerate(arrays.motions[index]):
        mask = arrays.labels == label
        placed[mask] = apply(motion, placed[mask])
    write_points(folder / f"{state}.ply", placed)
    for ending in ("visible", "cam0_visible"):  # the first is what the original writes, the second what it reads
        np.save(folder / f"{state}_{ending}.npy", np.flatnonzero(arrays.visible[index]))
