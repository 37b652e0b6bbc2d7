"""Items of the data set, articulation, visibility and augmentation."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.data.articulation import joint_of, point_states, vertex_states
from fourd_ros.data.partdrag4d import ItemOptions, PartDrag4DDataset, PartItem
from fourd_ros.data.partdrag4d_augmentation import Distortion, Jitter, distort, shake
from fourd_ros.data.partdrag4d_cameras import normalise_poses, project, read_camera
from fourd_ros.data.partdrag4d_drags import DragOptions
from fourd_ros.data.partdrag4d_folder import PartDrag4DFolder, StateName, training_pairs
from fourd_ros.data.partdrag4d_visibility import official_visible_points
from fourd_ros.data.point_ply import read_points
from fourd_ros.part_dynamics.gaussian_ply import read_ply
from fourd_ros.part_dynamics.rays import pluecker_rays
from fourd_ros.part_dynamics.splat_camera import OfficialMatrices
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.partrm.folder import SYSTEM
from fourd_ros.verify.vectors import Tensors, VectorFolder

CONFIG, TREE = "dataset/config.json", "dataset/tree"
JOINTS = "articulation/motion.json"


@check(SYSTEM, "dataset/cameras.safetensors")
def cameras(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Files of cameras, their normalisation, and pixels of points."""
    files, source = PartDrag4DFolder(folder.path(TREE)), _states(folder)[0]
    count = len(vectors["c2w_opencv_blender_world"])
    raw = np.stack([read_camera(files.camera(source, view)) for view in range(count)])
    points = np.array(vectors["points"])
    computed = {
        "c2w_opencv_blender_world": raw,
        "cam_poses_normalised": normalise_poses(raw, cam_radius=folder.load(CONFIG)["cam_radius"]),
        "points": points,
        "projected": np.stack([project(points, pose) for pose in raw[: len(vectors["projected"])]]),
    }
    for name in vectors:
        compare(name, computed[name])


@check(SYSTEM, "dataset/eval_item.safetensors")
def evaluation(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The item of an evaluation, with the drags of the original and those of the paper."""
    settings = folder.load(CONFIG)
    with _tree(folder) as place:
        official, fixed = (_evaluation_item(place, settings, official=official) for official in (True, False))
    rays = pluecker_rays(torch.from_numpy(official.input_poses), size=settings["input_size"], fovy=settings["fovy"])
    assert official.source_images is not None
    computed = {
        "input": np.concatenate([official.images, rays.numpy()], axis=1),
        "images_input": official.source_images,
        "images_output": official.target_images,
        "masks_output": official.target_masks,
        "drags_start": official.drags.start,
        "drags_end": official.drags.end,
        "drags_end_fixed": fixed.drags.end,
        **_matrices(official, settings),
        **_projected(folder, settings),
    }
    for name in vectors:
        compare(name, computed[name])


@check(SYSTEM, "dataset/train_item.safetensors")
def training(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The item of a training, its drags sorted; it has all moving points, so it does not matter which are drawn."""
    settings = folder.load(CONFIG)
    with _tree(folder) as place:
        item = _dataset(place, settings, generated=False, official=True).training_item(0, np.random.default_rng(0))
    order = np.lexsort((item.drags.start[0, :, 1], item.drags.start[0, :, 0]))
    database = PartDrag4DFolder(folder.path(TREE)).root / "gs_database"
    target = database / f"eval_gaussians_{_states(folder)[1].name}.ply"
    computed = {
        "input_rgb_view1": item.images[1],
        "drags_start_sorted": item.drags.start[:, order],
        "drags_end_sorted": item.drags.end[:, order],
        "gt_gaussians": read_ply(target).values,
        **_matrices(item, settings),
    }
    for name in vectors:
        compare(name, computed[name])


@check(SYSTEM, "articulation/articulation.safetensors")
def articulation(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Points and vertices in every state of the first two joints."""
    path = folder.path(JOINTS)
    rows = folder.load(JOINTS)
    table = tuple(joint_of(key, row, path=path) for key, row in rows.get("motion", rows).items())
    labels, points, vertices = (np.array(vectors[name]) for name in ("labels", "points", "verts"))
    block = len(vertices) // len(table)
    first = [block * number for number in range(len(table))] + [len(vertices)]
    computed: dict[str, Any] = {"points": points, "labels": labels, "verts": vertices}
    for position, kind in enumerate(("revolute", "prismatic")):
        count = len(vectors[f"{kind}_points"])
        computed[f"{kind}_points"] = point_states(table[position], points, labels, count)
        computed[f"{kind}_verts"] = vertex_states(table, position, vertices, first, count)
    for name in vectors:
        compare(name, computed[name])


@check(SYSTEM, "zbuffer/zbuffer.safetensors")
def visibility(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Which points the original counts as visible, as a mask: a half percent may differ."""
    points, matrix = np.array(vectors["points"]), np.array(vectors["view_matrix"])
    ours, theirs = (
        np.isin(np.arange(len(points)), index)
        for index in (official_visible_points(points, matrix), vectors["visible"])
    )
    compare("points", points)
    compare("view_matrix", matrix)
    allowed = 0.005 * len(vectors["visible"])
    compare("visible", [max(0.0, float((ours != theirs).sum()) - allowed)], expected=[0.0])


@check(SYSTEM, "augment/augment.safetensors")
def augmentation(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """From the numbers that were drawn."""
    jitter = Jitter(up=np.array(vectors["jitter_u_x"]), right=np.array(vectors["jitter_u_y"]))
    computed = dict(vectors) | {
        "jitter_out": shake(np.array(vectors["jitter_in"]), jitter),
        "grid_out": distort(np.array(vectors["grid_in"]), Distortion(uniforms=np.array(vectors["grid_u"]))),
    }
    for name in vectors:
        compare(name, computed[name])


def _states(folder: VectorFolder) -> tuple[StateName, StateName]:
    settings = folder.load(CONFIG)
    prefix = f"{settings['mesh']}_{settings.get('part', 0)}"
    return StateName(f"{prefix}_{settings['source_state']}"), StateName(f"{prefix}_{settings['target_state']}")


@contextmanager
def _tree(folder: VectorFolder) -> Iterator[Path]:
    """A copy of the tree, with the visible points that the case was made with."""
    settings = folder.load(CONFIG)
    with tempfile.TemporaryDirectory() as place:
        tree = Path(shutil.copytree(folder.path(TREE), Path(place, "tree")))
        files, source = PartDrag4DFolder(tree), _states(folder)[0]
        points = files.points(source)
        state = source.name.split("_", 1)[1]
        np.save(points.parent / f"{state}_cam0_visible.npy", np.array(settings["visible_list"], np.int64))
        yield tree


def _options(settings: dict[str, Any], *, official: bool) -> ItemOptions:
    return ItemOptions(
        input_size=settings["input_size"],
        output_size=settings["output_size"],
        cam_radius=settings["cam_radius"],
        drags=DragOptions(count=settings["num_drags"], noisy=0.0, official_compat=official),
    )


def _dataset(tree: Path, settings: dict[str, Any], *, generated: bool, official: bool) -> PartDrag4DDataset:
    prefix = f"{settings['mesh']}_{settings.get('part', 0)}"
    names = [StateName(f"{prefix}_{settings[which]}") for which in ("source_state", "target_state")]
    pairs = training_pairs(PartDrag4DFolder(tree), names)
    return PartDrag4DDataset(tree, pairs, _options(settings, official=official), generated=generated)


def _evaluation_item(tree: Path, settings: dict[str, Any], *, official: bool) -> PartItem:
    made = _dataset(tree, settings, generated=True, official=official)
    return made.evaluation_item(0, np.random.default_rng(0))


def _matrices(item: PartItem, settings: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    made = OfficialMatrices.from_opengl(
        item.target_poses, fovy=settings["fovy"], znear=settings["znear"], zfar=settings["zfar"]
    )
    return {"cam_view": made.cam_view, "cam_view_proj": made.cam_view_proj, "cam_pos": made.cam_pos}


def _projected(folder: VectorFolder, settings: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Pixels of the dragged point in view 0, before and after."""
    files = PartDrag4DFolder(folder.path(TREE))
    source, target = _states(folder)
    raw = read_camera(files.camera(source, 0))
    index = [settings["visible_index"]]
    return {
        name: project(read_points(files.points(state))[index], raw)
        for name, state in (("proj_start", source), ("proj_end", target))
    }
