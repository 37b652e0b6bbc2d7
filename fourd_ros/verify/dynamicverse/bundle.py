"""Losses of the bundle adjustment with their gradients, and thirty steps of it."""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourd_ros.reconstruction.official.axis_angle import rotation_matrices
from fourd_ros.reconstruction.official.losses import (
    moving_smoothness,
    pairwise_loss,
    reprojection_loss,
    rigidity_loss,
    rigidity_of_points,
    rotation_smoothness,
    smoothness_of_points,
    translation_smoothness,
)
from fourd_ros.reconstruction.official.optimiser import Rate, descend
from fourd_ros.reconstruction.official.point_initialisation import (
    dynamic_outliers,
    isolated_points,
    moving_points,
    neighbours_at_birth,
    static_points,
)
from fourd_ros.reconstruction.official.projection import bilinear, intrinsics
from fourd_ros.reconstruction.official.track_labels import DYNAMIC, LONG_STATIC, label_tracks, window_tracks
from fourd_ros.reconstruction.official.track_regions import regions_of
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import (
    EXACT,
    SYSTEM,
    Computed,
    compare_all,
    inside,
    numpy_of,
    torch_of,
    tracks_of,
)
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

_LOSS = Tolerance(rtol=2e-4)
_VALUE = Tolerance(rtol=2e-4, atol=1e-5)
_GRADIENT = Tolerance(rtol=2e-3, atol=1e-5)
_MASK = Tolerance(outlier_share=0.01)
_TRACE, _LATER = Tolerance(rtol=5e-3), Tolerance(rtol=2e-2)
_STATE = Tolerance(atol=5e-3)

_EARLY = 10
_POINT_RATE, _FOCAL_RATE = 1e-2, 1e-4
_NEVER = 10**6
_INPUTS = "omega t K X_static X_dyn depth_static_frames pairs"


class _State:
    """The variables at which the losses were taken."""

    def __init__(self, vectors: Tensors) -> None:
        self.omega, self.t = (torch_of(vectors[name]).requires_grad_() for name in ("omega", "t"))
        self.focal = torch_of(vectors["K"]).diagonal()[:2].clone().requires_grad_()
        self.X, self.moving = (torch_of(vectors[name]).requires_grad_() for name in ("X_static", "X_dyn"))
        self.height, self.width = vectors["depth_static_frames"].shape[1:]

    @property
    def camera(self) -> tuple[Tensor, Tensor, Tensor]:
        """R, t, K."""
        return rotation_matrices(self.omega), self.t, intrinsics(self.focal, width=self.width, height=self.height)


class _Selected:
    """Tracks of each kind, as the labels have them."""

    def __init__(self, folder: VectorFolder) -> None:
        tracks, given = tracks_of(folder), folder.load("track_filter.npz")
        regions = regions_of(given["dyn_masks"])
        labels = label_tracks(tracks, regions)
        self.places, self.seen, self.confidence = inside(tracks), torch_of(tracks.seen), torch_of(tracks.visible)
        self.labels, self.born = labels, torch_of(tracks.born)
        self.static, self.moving = (torch_of(np.flatnonzero(labels == one)) for one in (LONG_STATIC, DYNAMIC))
        self.window = torch_of(window_tracks(tracks, regions, labels, official_compat=True))


@check(SYSTEM, "ba_losses.npz")
def losses(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Each loss at one state."""
    state, chosen = _State(vectors), _Selected(folder)
    computed = _of_tracks(vectors, chosen) | _of_static(state, chosen) | _of_smoothness(state, vectors)
    computed |= _of_pairs(state, vectors) | _of_moving(state, vectors, chosen) | _of_starts(state, vectors, chosen)
    compare_all(vectors, compare, computed, inputs=_INPUTS)


@check(SYSTEM, "ba_trace.npz")
def trace(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The state and the loss after steps of the static bundle adjustment."""
    given, chosen = folder.load("ba_losses.npz"), _Selected(folder)
    state = _State(given | {"omega": vectors["omega0"], "t": vectors["t0"]})
    tracks, seen = chosen.places[:, chosen.static], chosen.seen[:, chosen.static]
    depth, confidence = torch_of(given["depth_static_frames"]), chosen.confidence[:, chosen.static]
    with torch.no_grad():
        points = static_points(tracks, seen, depth, *state.camera, official_confidence=confidence)
    points.requires_grad_()
    static: list[float] = []

    def loss() -> Tensor:
        R, t, K = state.camera
        error = reprojection_loss(points, tracks, seen, R, t, K)
        static.append(float(error.detach()))
        return error + translation_smoothness(t) + rotation_smoothness(R)

    variables = [Rate(variable=one, rate=_POINT_RATE) for one in (points, state.omega, state.t)]
    variables.append(Rate(variable=state.focal, rate=_FOCAL_RATE))
    descend(loss, variables, epochs=len(vectors["loss"]), patience=_NEVER, rate_patience=_NEVER)
    compare("loss", static[:_EARLY], expected=vectors["loss"][:_EARLY], tolerance=_TRACE)
    compare("loss, later", static[_EARLY:], expected=vectors["loss"][_EARLY:], tolerance=_LATER)
    computed: Computed = {
        "omega30": (state.omega, _STATE),
        "t30": (state.t, _STATE),
        "f30": (state.focal, _STATE),
        "X30": (points, _STATE),
        "labels": (chosen.labels, EXACT),
    }
    compare_all(vectors, compare, computed, inputs="omega0 t0 loss")


def _of_tracks(vectors: Tensors, chosen: _Selected) -> Computed:
    """What the labels leave of the tracks."""
    depth = torch_of(vectors["depth_static_frames"])
    found: dict[str, Any] = {}
    for name, index in (("static", chosen.static), ("dyn", chosen.moving), ("init", chosen.window)):
        found |= {f"tracks_{name}": chosen.places[:, index], f"vis_{name}": chosen.seen[:, index]}
    computed: Computed = {name: (value, EXACT) for name, value in found.items()}
    computed["init_frames_dyn"] = chosen.born[chosen.moving], EXACT
    computed["depth_init"] = bilinear(depth, found["tracks_init"]), _VALUE
    return computed


def _of_static(state: _State, chosen: _Selected) -> Computed:
    value = reprojection_loss(state.X, chosen.places[:, chosen.static], chosen.seen[:, chosen.static], *state.camera)
    wanted = {"domega": state.omega, "dt": state.t, "dX": state.X, "df": state.focal}
    return {"L_static": (value, _LOSS)} | _gradients("dstatic", value, wanted)


def _of_pairs(state: _State, vectors: Tensors) -> Computed:
    given = (torch_of(vectors[name]) for name in ("tracks_init", "vis_init", "depth_init", "pairs"))
    tracks, visible, depth, pairs = given
    value = pairwise_loss(tracks, visible, depth, pairs, *state.camera)
    wanted = {"domega": state.omega, "dt": state.t, "df": state.focal}
    return {"L_pairs": (value, _LOSS)} | _gradients("dpairs", value, wanted)


def _of_smoothness(state: _State, vectors: Tensors) -> Computed:
    R, t, _ = state.camera
    centres, rotations = translation_smoothness(t), rotation_smoothness(R)
    computed: Computed = {"L_smooth_t": (centres, _LOSS), "L_smooth_R": (rotations, _LOSS)}
    for name in vectors:
        if match := re.fullmatch(r"L_smooth_win_(\d+)to(\d+)", name):
            window = slice(int(match[1]), int(match[2]) + 1)
            pair = torch.stack([translation_smoothness(t[window]), rotation_smoothness(R[window])])
            computed[name] = pair, _LOSS
    return computed | _gradients("dsmooth", centres + rotations, {"domega": state.omega, "dt": state.t})


def _of_moving(state: _State, vectors: Tensors, chosen: _Selected) -> Computed:
    tracks, visible = chosen.places[:, chosen.moving], chosen.seen[:, chosen.moving]
    neighbours = torch_of(vectors["neighbors"])
    values = {
        "dyn": reprojection_loss(state.moving, tracks, visible, *state.camera),
        "dynsmooth": moving_smoothness(state.moving, visible),
        "rigid": rigidity_loss(state.moving, visible, neighbours),
    }
    computed: Computed = {
        "L_dyn": (values["dyn"], _LOSS),
        "L_dyn_smooth": (values["dynsmooth"], _LOSS),
        "L_rigid": (values["rigid"], _LOSS),
        "rigid_per_point": (rigidity_of_points(state.moving, visible, neighbours), _VALUE),
        "smooth_per_point": (smoothness_of_points(state.moving, visible), _VALUE),
        "dyn_outliers": (dynamic_outliers(state.moving, visible, neighbours), EXACT),
    }
    for name, value in values.items():
        computed |= _gradients(f"d{name}", value, {"dX": state.moving})
    return computed


@torch.no_grad()
def _of_starts(state: _State, vectors: Tensors, chosen: _Selected) -> Computed:
    """Where points start, and which are left out."""
    R, t, K = state.camera
    depth = torch_of(vectors["depth_static_frames"])
    static, moving = chosen.static, chosen.moving
    tracks, seen, confidence = chosen.places[:, static], chosen.seen[:, static], chosen.confidence[:, static]
    points = static_points(tracks, seen, depth, R, t, K, official_confidence=confidence)
    places, visible = chosen.places[:, moving], chosen.seen[:, moving]
    return {
        "init_BA_points": (points, _VALUE),
        "init_dyn_points": (moving_points(places, depth, R, t, K), _VALUE),
        "neighbors": (neighbours_at_birth(places, visible, chosen.born[moving], depth, K), EXACT),
        "isolated_mask": (isolated_points(state.X), _MASK),
    }


def _gradients(of: str, value: Tensor, wanted: dict[str, Tensor]) -> Computed:
    found = torch.autograd.grad(value, list(wanted.values()), retain_graph=True)
    return {f"{of}_{name}": (numpy_of(one), _GRADIENT) for name, one in zip(wanted, found, strict=True)}
