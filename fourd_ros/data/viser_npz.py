"""The ``.npz`` files of Kinema4D's viewer: made of its films or of a rollout, read, and shown as it shows them.

A file holds ``video`` and ``pointmap`` (float32, 0..1, [T, 3, H, W], at most 49 frames) and, for the viewer, ``images``
(uint8 [T, H', W', 3]), ``depths`` (float32 [T, H', W']), ``cam_c2w`` (float32 [T, 4, 4]) and ``intrinsic`` (float32
[3, 3]). Films have neither scale nor calibration, so of those the viewer shows z as if it were depth, before a made-up
camera. Of a rollout both are known: depth is in metres, the camera is the true one, and two more arrays,
``pointmap_centre`` and ``pointmap_scale``, bring ``pointmap`` back to metres in the frame of the first camera.

Source: Kinema4D (arXiv 2603.16669).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import MAX_BYTES, ArchiveKind
from fourd_ros.data.video import decode_all
from fourd_ros.errors import InvalidDataset, InvalidParameter, InvalidRollout, TooLarge
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap_range import PointmapRange, from_bytes, without_outliers
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.records import FloatArray, Pixels, Points, RolloutView

Content = Mapping[str, NDArray[Any]]
DepthMode = Literal["z", "norm"]

MAX_NETWORK_FRAMES = 49
"""Frames of a clip of the network; so many are in ``video`` and ``pointmap``."""

FOCAL_LENGTHS = 1.2
"""Of the made-up camera, in widths and heights of the image."""

CENTRE, SCALE = "pointmap_centre", "pointmap_scale"
VISER_FILE = ArchiveKind(
    what="an npz of Kinema4D's viewer",
    made_by="'fourd convert rollout SRC DST' makes them of rollouts and of films",
    error=InvalidRollout,
)

_BYTES_PER_PIXEL = 31
"""Of all arrays together, at full size."""

_KEYS = ("video", "pointmap", "images", "depths", "cam_c2w", "intrinsic")


@dataclass(frozen=True, kw_only=True)
class ViserOptions:
    """What of the frames is written.

    Args:
        max_frames: at most so many.
        frame_gap: every so manieth.
        downsample_factor: every so manieth pixel of a row and row of pixels, in what the viewer shows.
        depth_mode: ``z`` along the optical axis, ``norm`` along the ray.
        depth_min: nothing is nearer than this [m; of films: without unit]; unknown depth is set to it.

    Raises:
        InvalidParameter: a number below its least value, or an unknown mode.
    """

    max_frames: int = 100
    frame_gap: int = 1
    downsample_factor: int = 1
    depth_mode: DepthMode = "z"
    depth_min: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("max_frames", "frame_gap", "downsample_factor"):
            if getattr(self, name) < 1:
                raise InvalidParameter(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if self.depth_mode not in get_args(DepthMode):
            raise InvalidParameter(f"depth_mode is '{self.depth_mode}'; there are {list(get_args(DepthMode))}")
        if not 0 < self.depth_min < np.inf:
            raise InvalidParameter(f"depth_min is {self.depth_min}; a positive number is needed")


@dataclass(frozen=True, kw_only=True)
class Reprojection:
    """What the original's viewer shows of one frame.

    Args:
        points: in the frame of ``cam_c2w``, shape [N, 3], float32.
        colours: 0..1, shape [N, 3], float32.
        fov: vertical, of the frustum [rad].
        aspect: width over height of the image.
    """

    points: Points
    colours: Points
    fov: float
    aspect: float


def content_of_videos(rgb: Path, xyz: Path, options: ViserOptions | None = None) -> Content:
    """What the npz of two films holds.

    Args:
        rgb: film of colours.
        xyz: film of the pointmap, x, y, z of 0..1 as red, green, blue, of the same size; the shorter one counts.
        options: what is written.

    Raises:
        InvalidDataset: a film is unreadable or empty, or their sizes differ.
        TooLarge: more than can be held.
    """
    options = options or ViserOptions()
    colours, coordinates = _read_film(rgb, options), _read_film(xyz, options)
    if colours.shape[1:] != coordinates.shape[1:]:
        sizes = [f"{film.shape[2]} x {film.shape[1]}" for film in (colours, coordinates)]
        raise InvalidDataset(f"'{rgb}' is {sizes[0]}, '{xyz}' is {sizes[1]}; both must be of one size")
    frames = min(len(colours), len(coordinates))
    colours, coordinates = colours[:frames], coordinates[:frames]
    shown = from_bytes(_thinned(coordinates, options))
    return {
        **_network_arrays(colours, from_bytes(coordinates)),
        "images": np.ascontiguousarray(_thinned(colours, options)),
        "depths": _depths(shown, options),
        "cam_c2w": np.repeat(np.eye(4, dtype=np.float32)[None], frames, axis=0),
        "intrinsic": _made_up_camera(*shown.shape[1:3]),
    }


def content_of_view(view: RolloutView, options: ViserOptions | None = None) -> Content:
    """What the npz of one camera of a rollout holds, in metres and with its true calibration but for distortion.

    Raises:
        InvalidRollout: no point is known.
        TooLarge: more than can be held.
    """
    options = options or ViserOptions()
    view = _selected(view, options)
    _check_size(view.rgb.shape, options)
    T_first_camera = invert(view.T_world_camera[0]) @ view.T_world_camera
    frames, height, width, _ = view.points.shape
    in_first = apply(T_first_camera, view.points.reshape(frames, -1, 3)).reshape(view.points.shape)
    if not np.isfinite(in_first).all(axis=-1).any():
        raise InvalidRollout(f"no point of the {frames} frames of {width} x {height} pixels is known")
    cube = PointmapRange.of(without_outliers(in_first.reshape(1, -1, 3)))
    unit = np.nan_to_num(np.clip(cube.to_unit(in_first), 0, 1), nan=0.0)
    return {
        **_network_arrays(view.rgb, unit),
        "images": np.ascontiguousarray(_thinned(view.rgb, options)),
        "depths": _depths(_thinned(view.points, options), options),
        "cam_c2w": T_first_camera.astype(np.float32),
        "intrinsic": _thinned_camera(view.camera.K, options),
        CENTRE: cube.centre,
        SCALE: np.asarray(cube.scale),
    }


def save_content(content: Content, path: Path | str) -> None:
    """Write an npz that the original's viewer reads, whole or not at all; an existing file is replaced."""
    VISER_FILE.write(path, {}, content)


def load_content(path: Path | str, *, max_bytes: int = MAX_BYTES) -> Content:
    """Read such an npz, whoever wrote it.

    Args:
        path: of the file.
        max_bytes: of all arrays together; checked before anything is allocated.

    Raises:
        InvalidRollout: missing or broken file, missing arrays, wrong shapes or types, or larger than allowed.
    """
    with VISER_FILE.open(path, max_bytes=max_bytes) as archive:
        missing = sorted(set(_KEYS) - archive.names)
        if missing:
            raise InvalidRollout(f"it lacks {missing}; it has {sorted(archive.names)[:20]}")
        known = [*_KEYS, *(name for name in (CENTRE, SCALE) if {CENTRE, SCALE} <= archive.names)]
        content = {name: archive.read(name) for name in known}
        _check(content)
        return content


def reproject(content: Content, index: int, *, stride: int = 1, time_stride: int = 1) -> Reprojection:
    """What the original's viewer shows: pixels lifted by their depth, not the predicted points.

    Args:
        content: of a file.
        index: of the frame among every `time_stride`-th.
        stride: every so manieth pixel of a row and row of pixels, row by row.
        time_stride: every so manieth frame.
    """
    step = index * time_stride
    image, depth, K = content["images"][step], content["depths"][step], content["intrinsic"]
    height, width = depth.shape
    v, u = np.mgrid[:height:stride, :width:stride]
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(K.astype(np.float64)).T
    local = rays * depth[::stride, ::stride].reshape(-1, 1)
    return Reprojection(
        points=apply(content["cam_c2w"][step].astype(np.float64), local).astype(np.float32),
        colours=from_bytes(image[::stride, ::stride].reshape(-1, 3)),
        fov=vertical_field_of_view(height, float(K[0, 0])),
        aspect=width / height,
    )


def vertical_field_of_view(height: int, focal: float) -> float:
    """Of the frustum in the original's viewer [rad], from pixels."""
    return float(2 * np.arctan2(height / 2, focal))


def _read_film(path: Path, options: ViserOptions) -> Pixels:
    chosen = islice(decode_all(path), 0, options.max_frames * options.frame_gap, options.frame_gap)
    pictures: list[Pixels] = []
    for picture in chosen:
        _check_size((len(pictures) + 1, *picture.shape), options)
        pictures.append(picture)
    if not pictures:
        raise InvalidDataset(f"'{path}' has no pictures")
    return np.stack(pictures)


def _check_size(shape: tuple[int, ...], options: ViserOptions) -> None:
    frames, height, width, _ = shape
    size = frames * height * width * _BYTES_PER_PIXEL
    if size > MAX_BYTES:
        raise TooLarge(
            f"{frames} frames of {width} x {height} pixels take {size} bytes, allowed are {MAX_BYTES}; "
            f"lower max_frames (it is {options.max_frames}) or raise frame_gap"
        )


def _selected(view: RolloutView, options: ViserOptions) -> RolloutView:
    chosen = slice(0, options.max_frames * options.frame_gap, options.frame_gap)
    fields = ("T_world_camera", "rgb", "points", "sigma", "robot_mask", "observed_mask")
    arrays: dict[str, Any] = {name: getattr(view, name)[chosen] for name in fields}
    return replace(view, labels=None, **arrays)


def _thinned(frames: NDArray[Any], options: ViserOptions) -> NDArray[Any]:
    step = options.downsample_factor
    return frames[:, ::step, ::step]


def _network_arrays(rgb: Pixels, unit: NDArray[np.floating]) -> dict[str, Points]:
    frames = slice(0, MAX_NETWORK_FRAMES)
    return {
        "video": np.ascontiguousarray(from_bytes(rgb[frames]).transpose(0, 3, 1, 2)),
        "pointmap": np.ascontiguousarray(unit[frames].astype(np.float32).transpose(0, 3, 1, 2)),
    }


def _depths(points: Points, options: ViserOptions) -> Points:
    depth = points[..., 2] if options.depth_mode == "z" else np.linalg.norm(points, axis=-1)
    return np.maximum(np.nan_to_num(depth, nan=0.0), np.float32(options.depth_min)).astype(np.float32)


def _made_up_camera(height: int, width: int) -> Points:
    fx, fy = FOCAL_LENGTHS * width, FOCAL_LENGTHS * height
    return np.array([[fx, 0, width / 2], [0, fy, height / 2], [0, 0, 1]], np.float32)


def _thinned_camera(K: FloatArray, options: ViserOptions) -> Points:
    thinned = K / options.downsample_factor
    thinned[2] = K[2]
    return thinned.astype(np.float32)


def _check(content: Content) -> None:
    frames, height, width, _ = content["images"].shape if content["images"].ndim == 4 else (0, 0, 0, 0)
    clip, _, rows, columns = content["video"].shape if content["video"].ndim == 4 else (0, 0, 0, 0)
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "video": ((clip, 3, rows, columns), np.float32),
        "pointmap": ((clip, 3, rows, columns), np.float32),
        "images": ((frames, height, width, 3), np.uint8),
        "depths": ((frames, height, width), np.float32),
        "cam_c2w": ((frames, 4, 4), np.float32),
        "intrinsic": ((3, 3), np.float32),
        CENTRE: ((3,), np.float64),
        SCALE: ((), np.float64),
    }
    for name, array in content.items():
        shape, dtype = expected[name]
        if array.shape != shape or array.dtype != dtype or not array.size:
            raise InvalidRollout(f"'{name}' is {array.dtype}{list(array.shape)}, needed {np.dtype(dtype)}{list(shape)}")
    PinholeCamera(width=width, height=height, K=content["intrinsic"].astype(np.float64))
