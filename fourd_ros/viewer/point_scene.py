"""What the live viewer shows: points of every camera at every time, in one frame, z up. NumPy only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidParameter, InvalidRollout, MissingCamera
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply
from fourd_ros.geometry.voxel import reduce
from fourd_ros.records import FloatArray, Observation, Pixels, Points, RolloutView, View
from fourd_ros.viewer.content import LABEL_ROBOT, LABEL_UNKNOWN
from fourd_ros.viewer.point_colours import by_label, by_observed, by_sigma
from fourd_ros.world_model.rollout_file import SavedRollout

RGB, SIGMA, LABEL, OBSERVED = "rgb", "sigma", "label", "observed"

THUMBNAIL_WIDTH = 320
"""Images in frusta have at most so many columns."""

FASTEST, SLOWEST = 60.0, 1.0
"""Frames that are shown a second [Hz]."""

_MARGIN = 1.1
"""From one cloud to the other beside it, in widths."""

_SOME = 1000
"""Points of a cloud that tell where it is."""

_LOOK_BACK, _LOOK_DOWN = 1.5, 0.6
"""The first look is from beyond and above the first camera, in its distances."""

_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """What of a file is shown.

    Args:
        views: names of cameras, empty for all.
        max_points: of all cameras and times together; those shown are spread evenly.
        time_stride: every so manieth frame.
        reprojection: what the viewer of Kinema4D shows of its files, instead of the predicted points.

    Raises:
        InvalidParameter: a number below 1.
    """

    views: tuple[str, ...] = ()
    max_points: int = 5_000_000
    time_stride: int = 1
    reprojection: bool = False

    def __post_init__(self) -> None:
        for name in ("max_points", "time_stride"):
            if getattr(self, name) < 1:
                raise InvalidParameter(f"{name} is {getattr(self, name)}; at least 1 is needed")


@dataclass(frozen=True, kw_only=True)
class SceneFrame:
    """One camera at one time.

    Args:
        points: in the frame of the scene [m], shape [N, 3].
        colours: of the points by what they tell, always also ``rgb``, shape [N, 3] each.
        T_scene_camera: where the camera is, shape [4, 4].
        image: what it shows, shape [h, w, 3].
    """

    points: Points
    colours: Mapping[str, Pixels]
    T_scene_camera: FloatArray
    image: Pixels


@dataclass(frozen=True, kw_only=True)
class SceneCamera:
    """One camera over time.

    Args:
        view: its name.
        true: what it saw, not what was imagined.
        frames: at the times of the scene, None where nothing is known.
        fov: vertical field of view [rad].
        aspect: width over height.
    """

    view: str
    true: bool
    frames: tuple[SceneFrame | None, ...]
    fov: float
    aspect: float


@dataclass(frozen=True, kw_only=True)
class StillCloud:
    """Points that are there all the time.

    Args:
        name: of what they are.
        points: in the frame of the scene [m], shape [N, 3], float32.
        rgb: their colours, shape [N, 3].
    """

    name: str
    points: Points
    rgb: Pixels


@dataclass(frozen=True, kw_only=True)
class Way:
    """The path of something.

    Args:
        name: of what goes there.
        places: one after the other in the frame of the scene [m], shape [n, 3].
        colour: red, green, blue, 0 to 255.
    """

    name: str
    places: FloatArray
    colour: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class PointScene:
    """Everything that can be looked at.

    Args:
        title: what it is, one line.
        times: of the frames [s], shape [T].
        cameras: the imagined ones first.
        rate: frames a second that show it at its own pace [Hz].
        notes: what a viewer should know, one line each.
        still: clouds that do not change.
        ways: paths of cameras and objects.

    Raises:
        InvalidRollout: no point is known at any time.
    """

    title: str
    times: FloatArray
    cameras: tuple[SceneCamera, ...]
    rate: float
    notes: tuple[str, ...] = ()
    still: tuple[StillCloud, ...] = ()
    ways: tuple[Way, ...] = ()
    box: tuple[FloatArray, FloatArray] = field(init=False)
    """Corners between which most points lie [m], shape [3] each."""

    def __post_init__(self) -> None:
        clouds = [frame.points for camera in self.cameras for frame in camera.frames if frame and len(frame.points)]
        clouds += [cloud.points for cloud in self.still if len(cloud.points)]
        if not clouds:
            raise InvalidRollout("no point is known in any frame: there is nothing to show")
        some = np.concatenate([cloud[:: 1 + len(cloud) // _SOME] for cloud in clouds])
        low, high = np.percentile(some, (25, 75), axis=0)
        half = (high - low) / 2  # a far background does not count
        object.__setattr__(self, "box", (low - half, high + half))

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(dict.fromkeys(camera.view for camera in self.cameras))

    @property
    def colourings(self) -> tuple[str, ...]:
        """What the points can be coloured by."""
        return tuple(dict.fromkeys(name for _, frame in self.known() for name in frame.colours))

    @property
    def has_truth(self) -> bool:
        """Whether it is known what truly happened."""
        return any(camera.true for camera in self.cameras)

    @property
    def point_size(self) -> float:
        """With which neighbouring points touch, about [m]."""
        low, high = self.box
        most = max(*(len(frame.points) for _, frame in self.known()), *(len(cloud.points) for cloud in self.still), 1)
        return float(np.linalg.norm(high - low) / (1.5 * np.sqrt(most)))

    @property
    def beside(self) -> FloatArray:
        """Where the truth stands beside what was imagined: to the right of the first camera [m], shape [3]."""
        right = self._first_pose[:3, 0] * np.array([1.0, 1.0, 0.0])
        length = float(np.linalg.norm(right))
        right = right / length if length > 0.1 else np.array([1.0, 0.0, 0.0])
        low, high = self.box
        return _MARGIN * float(np.abs(right) @ (high - low)) * right

    @property
    def first_look(self) -> tuple[FloatArray, FloatArray]:
        """Where to look from and to at first [m], shape [3] each."""
        low, high = self.box
        middle = (low + high) / 2
        way = self._first_pose[:3, 3] - middle
        above = np.array([0.0, 0.0, _LOOK_DOWN * float(np.linalg.norm(way))])
        target = middle + self.beside / 2 if self.has_truth else middle
        return target + _LOOK_BACK * way + above, target

    @property
    def _first_pose(self) -> FloatArray:
        return next(self.known())[1].T_scene_camera

    def known(self) -> Iterator[tuple[SceneCamera, SceneFrame]]:
        """Every frame that there is."""
        return ((camera, frame) for camera in self.cameras for frame in camera.frames if frame is not None)


def scene_of_rollout(saved: SavedRollout, options: SceneOptions | None = None) -> PointScene:
    """A rollout and what truly happened, in the world frame.

    Raises:
        MissingCamera: it has no such view.
        InvalidRollout: no point is known at any time, or a camera pose is not finite.
    """
    options = options or SceneOptions()
    rollout = saved.rollout
    if not len(rollout.times):
        raise InvalidRollout("the rollout has no frames: there is nothing to show")
    views = _chosen(rollout.views, options.views)
    steps = np.arange(0, len(rollout.times), options.time_stride)
    truth = [_at(saved.truth, rollout.stamp_ns, rollout.times, int(step)) for step in steps]
    true_views = [name for name in views if any(seen is not None and name in seen.views for seen in truth)]
    budget = max(1, options.max_points // max(1, len(steps) * (len(views) + len(true_views))))
    cameras = [_imagined(name, rollout.views[name], steps, budget) for name in views]
    cameras += [_true(name, truth, budget) for name in true_views]
    times = rollout.times[steps]
    return PointScene(
        title=f"{rollout.backend}, candidate {rollout.candidate}, sample {rollout.sample}",
        times=times,
        cameras=tuple(cameras),
        rate=_pace(times),
        notes=tuple(_notes(saved)),
    )


def frame_of(
    points: NDArray[np.floating],
    colours: Mapping[str, Pixels],
    *,
    T_scene_points: FloatArray,
    T_scene_camera: FloatArray,
    image: Pixels,
) -> SceneFrame:
    """A frame of points in another frame than the scene's.

    Args:
        points: shape [N, 3].
        colours: of them, shape [N, 3] each.
        T_scene_points: from their frame into that of the scene, shape [4, 4].
        T_scene_camera: where the camera is, shape [4, 4].
        image: what it shows, shape [H, W, 3]; made smaller.

    Raises:
        InvalidRollout: a pose is not finite.
    """
    if not (np.isfinite(T_scene_points).all() and np.isfinite(T_scene_camera).all()):
        raise InvalidRollout("a camera pose holds numbers that are not finite")
    step = -(-image.shape[1] // THUMBNAIL_WIDTH)
    return SceneFrame(
        points=np.asarray(apply(T_scene_points, points.astype(np.float64)), np.float32),
        colours=colours,
        T_scene_camera=T_scene_camera,
        image=np.ascontiguousarray(image[::step, ::step]),
    )


def _chosen(known: Mapping[str, RolloutView], wanted: Sequence[str]) -> list[str]:
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise MissingCamera(f"views {unknown} asked for; the rollout has {list(known)}")
    return [name for name in known if not wanted or name in wanted]


def _at(truth: Sequence[Observation], stamp_ns: int, times: FloatArray, step: int) -> Observation | None:
    """What was seen at a time of the rollout, None if nothing was."""
    if not truth:
        return None
    wanted = stamp_ns + round(float(times[step]) * _NS)
    nearest = min(truth, key=lambda seen: abs(seen.stamp_ns - wanted))
    gaps = np.diff(times, prepend=0.0)
    return nearest if abs(nearest.stamp_ns - wanted) <= 0.5 * float(gaps.min()) * _NS else None


def _imagined(name: str, view: RolloutView, steps: NDArray[np.intp], budget: int) -> SceneCamera:
    frames = tuple(_imagined_frame(view, int(step), budget) for step in steps)
    return _camera(name, view.camera, frames, true=False)


def _imagined_frame(view: RolloutView, step: int, budget: int) -> SceneFrame:
    points = view.points[step].reshape(-1, 3)
    chosen = reduce(points, max_points=budget)
    rgb = view.rgb[step].reshape(-1, 3)[chosen]
    labels = np.full(len(points), LABEL_UNKNOWN, np.uint32) if view.labels is None else view.labels[step].ravel()
    labels = np.where(view.robot_mask[step].ravel(), np.uint32(LABEL_ROBOT), labels)
    return frame_of(
        points[chosen],
        {
            RGB: rgb,
            SIGMA: by_sigma(rgb, view.sigma[step].ravel()[chosen]),
            LABEL: by_label(rgb, labels[chosen]),
            OBSERVED: by_observed(rgb, view.observed_mask[step].ravel()[chosen]),
        },
        T_scene_points=view.T_world_camera[step],
        T_scene_camera=view.T_world_camera[step],
        image=view.rgb[step],
    )


def _true(name: str, truth: Sequence[Observation | None], budget: int) -> SceneCamera:
    seen = [None if observation is None else observation.views[name] for observation in truth]
    camera = next(view.camera for view in seen if view is not None)
    return _camera(name, camera, tuple(_true_frame(view, budget) for view in seen), true=True)


def _true_frame(view: View | None, budget: int) -> SceneFrame | None:
    if view is None:
        return None
    points = view.points.reshape(-1, 3)
    chosen = reduce(points, max_points=budget)
    return frame_of(
        points[chosen],
        {RGB: view.rgb.reshape(-1, 3)[chosen]},
        T_scene_points=view.T_world_camera,
        T_scene_camera=view.T_world_camera,
        image=view.rgb,
    )


def _camera(name: str, camera: PinholeCamera, frames: tuple[SceneFrame | None, ...], *, true: bool) -> SceneCamera:
    focal = camera.K[0, 0], camera.K[1, 1]
    return SceneCamera(
        view=name,
        true=true,
        frames=frames,
        fov=float(2 * np.arctan2(camera.height / 2, focal[1])),
        aspect=float(camera.width / focal[0] / (camera.height / focal[1])),
    )


def _pace(times: FloatArray) -> float:
    steps = np.diff(times, prepend=0.0)
    return float(np.clip(1 / np.median(steps), SLOWEST, FASTEST)) if (steps > 0).all() else SLOWEST


def _notes(saved: SavedRollout) -> Iterator[str]:
    rollout = saved.rollout
    yield f"{len(rollout.times)} frames, up to {rollout.times[-1]:.2f} s, in '{rollout.frame}'"
    if np.isfinite(rollout.trust):
        yield f"trust {rollout.trust:.2f}"
    if rollout.flags:
        yield f"flags: {rollout.flags.name or int(rollout.flags)}"
    if saved.truth:
        yield f"what truly happened is known at {len(saved.truth)} instants"
