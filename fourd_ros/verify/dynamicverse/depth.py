"""Depth from control points and from flow, and what else is done to depth and points."""

import re

import numpy as np
import torch

from fourd_ros.reconstruction.official.axis_angle import rotation_matrices
from fourd_ros.reconstruction.official.depth_cleaning import clean_depth
from fourd_ros.reconstruction.official.depth_interpolation import Controls, interpolate_depth
from fourd_ros.reconstruction.official.flow_refinement import FlowSettings, flow_loss, refinable_pixels, refine_depth
from fourd_ros.reconstruction.official.optimiser import EarlyStop
from fourd_ros.reconstruction.official.outlier_points import statistical_inliers, steady_inliers
from fourd_ros.reconstruction.official.point_initialisation import isolated_points, moving_points, static_points
from fourd_ros.reconstruction.official.projection import intrinsics
from fourd_ros.reconstruction.official.schedule import sliding_windows
from fourd_ros.reconstruction.official.track_labels import DYNAMIC, LONG_STATIC, SHORT_STATIC, label_tracks
from fourd_ros.reconstruction.official.track_regions import MOVING_CORE, STATIC_CORE, regions_of
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import EXACT, SYSTEM, Computed, compare_all, inside, torch_of, tracks_of
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

_POINTS = Tolerance(rtol=1e-4, atol=1e-4)
_MASK = Tolerance(outlier_share=0.01)
_INTERPOLATED = Tolerance(rtol=2e-3, outlier_share=0.005)
_FLOW = Tolerance(rtol=1e-2)
_CHANGE = Tolerance(atol=2e-3, outlier_share=0.02)
_CLEANED = Tolerance(outlier_share=0.005)

_STOP_PATIENCE = 5


@check(SYSTEM, "depth_refine.npz")
@torch.no_grad()
def refinement(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Depth of the first frames, from the state that ``ba_trace.npz`` ends in."""
    computed = _poses(folder, vectors) | _points(folder, vectors) | _interpolation(vectors) | _flow(vectors)
    compare_all(vectors, compare, computed, inputs="flow_pairs flows")


@check(SYSTEM, "util.npz")
def helpers(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """What the released pipeline does not call, and the rules of its optimisers."""
    stop = EarlyStop(patience=_STOP_PATIENCE)
    history = vectors["window_history"]
    windows = np.full(history.shape, -1)
    for row, frames in zip(windows, sliding_windows(len(history), size=history.shape[1]), strict=True):
        row[: len(frames)] = frames
    computed: Computed = {
        "clean_depth": (clean_depth(vectors["depth"], vectors["rgb"]), _CLEANED),
        "sor_keep": (statistical_inliers(vectors["points"]), EXACT),
        "ro_keep": (steady_inliers(vectors["points"]), EXACT),
        "stop_out": (np.array([stop(float(loss)) for loss in vectors["stop_in"]]), EXACT),
        "window_history": (windows, EXACT),
    }
    compare_all(vectors, compare, computed, inputs="depth rgb points stop_in")


def _poses(folder: VectorFolder, vectors: Tensors) -> Computed:
    trace, frames = folder.load("ba_trace.npz"), len(vectors["depth_in"])
    height, width = vectors["depth_in"].shape[1:]
    depth = folder.load("ba_losses.npz")["depth_static_frames"]
    filters = regions_of(folder.load("track_filter.npz")["dyn_masks"]).of_tracks
    return {
        "omega": (trace["omega30"][:frames], EXACT),
        "t": (trace["t30"][:frames], EXACT),
        "K": (intrinsics(torch_of(trace["f30"]), width=width, height=height), Tolerance(rtol=1e-6)),
        "depth_in": (depth[:frames], EXACT),
        "filters": (filters[:frames], EXACT),
    }


def _points(folder: VectorFolder, vectors: Tensors) -> Computed:
    """Points after the static ones were placed anew."""
    trace, tracks = folder.load("ba_trace.npz"), tracks_of(folder)
    depth = torch_of(folder.load("ba_losses.npz")["depth_static_frames"])
    camera = rotation_matrices(torch_of(trace["omega30"])), torch_of(trace["t30"]), torch_of(vectors["K"])
    labels = label_tracks(tracks, regions_of(folder.load("track_filter.npz")["dyn_masks"]))
    places, seen, confidence = inside(tracks), torch_of(tracks.seen), torch_of(tracks.visible)
    chosen = torch_of(np.isin(labels, (LONG_STATIC, SHORT_STATIC)) & (tracks.seen.sum(axis=0) > 2))
    points = static_points(
        places[:, chosen], seen[:, chosen], depth, *camera, official_confidence=confidence[:, chosen]
    )
    visible = seen[:, chosen] & ~isolated_points(points)
    moving, frames = torch_of(labels == DYNAMIC), len(vectors["depth_in"])
    unpacked = np.unpackbits(vectors["static_vis"], axis=1)[:, : int(vectors["n_static"])]
    off = int((unpacked != visible.numpy()).sum()) / max(1, unpacked.size)
    free = _free(vectors, labels, places.numpy(), tracks.seen)
    return {
        "static_pts": (points, _POINTS),
        "n_static": (int(chosen.sum()), EXACT),
        "static_vis": (vectors["static_vis"] if off <= _MASK.outlier_share else np.packbits(visible, axis=1), EXACT),
        "dyn_pts": (moving_points(places[:, moving], depth, *camera)[:, :frames], _POINTS),
        "dyn_vis": (tracks.seen[:frames, moving.numpy()], EXACT),
        "flow_mask": (free, EXACT),
    }


def _free(vectors: Tensors, labels: np.ndarray, places: np.ndarray, seen: np.ndarray) -> np.ndarray:
    frames, static = len(vectors["filters"]), labels == LONG_STATIC
    return refinable_pixels(vectors["filters"] == STATIC_CORE, places[:frames, static], seen[:frames, static])


def _interpolation(vectors: Tensors) -> Computed:
    static = np.unpackbits(vectors["static_vis"], axis=1)[:, : int(vectors["n_static"])].astype(np.bool_)
    frames = len(vectors["depth_in"])
    controls = {
        STATIC_CORE: Controls(points=torch_of(vectors["static_pts"]), visible=torch_of(static[:frames])),
        MOVING_CORE: Controls(points=torch_of(vectors["dyn_pts"]), visible=torch_of(vectors["dyn_vis"])),
    }
    depth = torch_of(vectors["depth_in"])
    made = interpolate_depth(depth, vectors["filters"], *_camera(vectors), controls, official_compat=True)
    return {"interp": (made, _INTERPOLATED)}


def _flow(vectors: Tensors) -> Computed:
    start, free = torch_of(vectors["interp"]), torch_of(vectors["flow_mask"])
    pairs = [(int(a), int(b)) for a, b in vectors["flow_pairs"]]
    flows = {pair: torch_of(flow).float() for pair, flow in zip(pairs, vectors["flows"], strict=True)}
    computed: Computed = {"flow_loss0": (flow_loss(start, pairs, flows, free, *_camera(vectors)), _FLOW)}
    for name in vectors:
        if match := re.fullmatch(r"depth_after(\d+)", name):
            settings = FlowSettings(epochs=int(match[1]), sample_ratio=1.0, window=len(start))
            with torch.enable_grad():
                refined = refine_depth(start, flows, free, *_camera(vectors), settings=settings)
            computed[name] = refined - start, _CHANGE
    return computed


def _camera(vectors: Tensors) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return rotation_matrices(torch_of(vectors["omega"])), torch_of(vectors["t"]), torch_of(vectors["K"])
