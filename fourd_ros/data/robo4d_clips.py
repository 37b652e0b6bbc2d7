"""Clips out of episodes: which frames, at what size, and the robot as it was commanded to move, rendered."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode_dataset import EpisodeDataset, Window, WindowView
from fourd_ros.data.episode_index import EpisodeRow
from fourd_ros.data.robo4d_facts import ClipFacts
from fourd_ros.data.robo4d_measured import MeasuredPoints
from fourd_ros.data.robo4d_placement import Fit, Placement, Rectangle
from fourd_ros.data.robo4d_preparation import FRAMES, HEIGHT, WIDTH, check_clip_size, pad_or_crop_temporal
from fourd_ros.data.robo4d_work import ClipOutcome
from fourd_ros.errors import InvalidEpisode, InvalidImage, InvalidJoints, InvalidParameter, InvalidRobotDescription
from fourd_ros.geometry.pointmap import depth_of
from fourd_ros.geometry.pointmap_range import Convention, PointmapRange, without_outliers
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import RobotRendering
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.model import RobotModel

FloatArray = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Steps = NDArray[np.intp]

HOLE = 0.6
"""A moment of a clip that is farther than this from any frame, in units of the time between its frames, lies in a hole
of the recording."""

ROBOT_MOTION = "the commanded joints; measured ones where nothing was commanded ('commanded' of a clip is their share)"

_RATE_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How episodes are cut.

    Args:
        frames: of a clip, 4 k + 1.
        height: of its pictures, a multiple of 16.
        width: of its pictures, a multiple of 16.
        rate: frames a second [Hz]; 0 takes that of the episode.
        stride: frames from the beginning of one clip to that of the next in an episode; 0 for clips side by side.
        cameras: names; empty takes all.
        fit: what becomes of pictures of another aspect.
        mirror: what is too short goes on backwards, as in the original, instead of being left out.
        convention: how the range of the pointmaps is chosen.
        mesh_roots: folders of packages that robot descriptions name and that are not installed.

    Raises:
        InvalidParameter: a size that cannot be encoded, or negative numbers.
    """

    frames: int = FRAMES
    height: int = HEIGHT
    width: int = WIDTH
    rate: float = 0.0
    stride: int = 0
    cameras: tuple[str, ...] = ()
    fit: Fit = Fit.LETTERBOX
    mirror: bool = False
    convention: Convention = Convention.CLIP
    mesh_roots: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        check_clip_size(self.frames, self.height, self.width)
        if not 0 <= self.rate < np.inf or self.stride < 0:
            raise InvalidParameter(f"a rate of {self.rate} Hz, a stride of {self.stride}; needed are numbers from 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedClip:
    """One clip of an episode.

    Args:
        name: of the clip.
        episode: number in its data set.
        view: name of the camera.
        steps: number in the episode of every frame.
        rate: frames a second [Hz].
    """

    name: str
    episode: int
    view: str
    steps: Steps
    rate: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MadeClip:
    """A clip, ready to be written.

    Args:
        facts: where it is from.
        rgb: what the camera saw, shape [T, H, W, 3].
        robot_rgb: the rendered robot before black, shape [T, H, W, 3]; no pixel of the robot is black.
        robot_mask: 1 on the robot, shape [T, H, W, 1].
        points: of scene and robot.
    """

    facts: ClipFacts
    rgb: Pixels
    robot_rgb: Pixels
    robot_mask: Pixels
    points: MeasuredPoints


def plan_clips(dataset: EpisodeDataset, row: EpisodeRow, options: ClipOptions) -> Iterator[PlannedClip | ClipOutcome]:
    """The clips of an episode, and why some of them cannot be made.

    Args:
        dataset: that holds the episode.
        row: of the episode.
        options: how it is cut.

    Raises:
        InvalidEpisode: no clip can be made: no such camera, a lower rate, or too few frames.
        InvalidDataset: the episode is damaged.
    """
    views, rate = _chosen_views(row, options), _chosen_rate(row, options)
    index = dataset.index(row.name)
    steps, holes = _steps_at(dataset.window(index, 0, row.frames, cameras=(), fields=()).times, row.rate, rate)
    if len(steps) < options.frames and not (options.mirror and 2 * len(steps) >= options.frames):
        raise InvalidEpisode(
            f"{len(steps)} frames at {rate:g} Hz, needed are {options.frames}; fewer with --frames, or --mirror"
        )
    starts = range(0, max(len(steps) - options.frames, 0) + 1, options.stride or options.frames)
    for (number, start), view in product(enumerate(starts), views):
        chosen = slice(start, start + options.frames)
        name = f"{row.name}-{view}-{number:03d}"
        if holes[chosen].any():
            hole = int(steps[chosen][holes[chosen]][0])
            yield ClipOutcome(name=name, problem=f"the recording has a hole around frame {hole}")
        else:
            padded = pad_or_crop_temporal(steps[chosen], options.frames)
            yield PlannedClip(name=name, episode=index, view=view, steps=padded, rate=rate)


def _chosen_views(row: EpisodeRow, options: ClipOptions) -> list[str]:
    there = [camera.name for camera in row.cameras]
    views = [name for name in there if not options.cameras or name in options.cameras]
    if not views:
        raise InvalidEpisode(f"no cameras {', '.join(options.cameras) or 'at all'}; it has {there}")
    return views


def _chosen_rate(row: EpisodeRow, options: ClipOptions) -> float:
    rate = options.rate or row.rate
    if rate > row.rate * (1 + _RATE_TOLERANCE):
        raise InvalidEpisode(f"recorded at {row.rate:g} Hz; --rate {rate:g} must not be above that")
    return rate


def _steps_at(times: FloatArray, recorded: float, rate: float) -> tuple[Steps, NDArray[np.bool_]]:
    """Nearest frame to every moment of a steady clock, and whether it is too far off."""
    count = int((times[-1] - times[0]) * rate + 0.5 * rate / recorded) + 1
    moments = times[0] + np.arange(count) / rate
    after = np.searchsorted(times, moments).clip(0, len(times) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(moments - times[before] <= times[after] - moments, before, after)
    return nearest, np.abs(times[nearest] - moments) > HOLE / rate


def make_clip(dataset: EpisodeDataset, row: EpisodeRow, clip: PlannedClip, options: ClipOptions) -> MadeClip:
    """Read the frames of a clip, bring them to its size, and render the robot.

    Raises:
        InvalidDataset: the camera has no depth, or the episode is damaged.
        InvalidImage: a frame in which no depth is known.
        InvalidRobotDescription: there is none, or it has nothing to be seen.
        InvalidJoints: joints of the robot that nobody measured.
        MeshUnavailable: a mesh of the robot that is not here.
    """
    robot = _robot(dataset, clip.episode, options)
    first, last = int(clip.steps.min()), int(clip.steps.max())
    fields = ("commanded", "measured", "T_world_camera", "rgb", "depth")
    window = dataset.window(clip.episode, first, last - first + 1, cameras=[clip.view], fields=fields)
    view, steps = window.views[clip.view], clip.steps - first
    assert view.rgb is not None and view.depth is not None and view.T_world_camera is not None
    placement = Placement(
        source=(view.camera.height, view.camera.width), target=(options.height, options.width), fit=options.fit
    )
    positions, commanded = _motion(window, robot.kinematics)
    poses = view.T_world_camera[steps]
    link_poses = robot.kinematics.link_poses(positions[steps])
    rendering = robot.renderer.render(link_poses, placement.content_camera(view.camera), poses)
    points = _measured(view, steps, placement, rendering)
    mask = placement.beside_content(rendering.mask[..., None]).astype(np.uint8)
    return MadeClip(
        facts=ClipFacts(
            name=clip.name,
            episode=row.name,
            source=row.source,
            view=clip.view,
            mounted_on=view.mounted_on,
            start_ns=row.start_ns + round(float(window.times[steps[0]]) * 1e9),
            steps=tuple(clip.steps.tolist()),
            rate=clip.rate,
            tasks=row.tasks,
            instructions=row.instructions,
            camera=placement.camera(view.camera),
            T_world_camera=poses[0],
            fit=options.fit,
            content=placement.content,
            convention=options.convention,
            range=choose_range(points, options.convention, placement.content),
            known=float(np.isfinite(points.depth).mean()),
            robot=float(mask.mean()),
            commanded=commanded,
            robot_sha256=row.robot,
        ),
        rgb=placement.colour(view.rgb[steps]),
        robot_rgb=np.maximum(placement.beside_content(rendering.rgb), mask),
        robot_mask=mask,
        points=points,
    )


def _robot(dataset: EpisodeDataset, episode: int, options: ClipOptions) -> RobotModel:
    text = dataset.robot_description(episode)
    if not text:
        raise InvalidRobotDescription(
            "the episode has no robot description; 'fourd data from-bag --urdf FILE' adds it where the bag has none"
        )
    return _model(text, options.mesh_roots)


@lru_cache(maxsize=2)
def _model(text: str, mesh_roots: tuple[tuple[str, Path], ...]) -> RobotModel:
    description = RobotDescription.from_urdf(text, package_roots=dict(mesh_roots))
    if not any(link.visuals for link in description.links):
        raise InvalidRobotDescription(f"robot '{description.name}' has no visuals, so there is nothing to render")
    return RobotModel(description)


def _motion(window: Window, kinematics: Kinematics) -> tuple[FloatArray, float]:
    """Positions of the robot's joints, shape [T, J], and which share of them was commanded.

    Raises:
        InvalidJoints: the episode lacks joints of the robot.
    """
    missing = [name for name in kinematics.joint_names if name not in window.joint_names]
    if missing:
        raise InvalidJoints(f"the episode lacks joints {missing} of its robot; it has {list(window.joint_names)}")
    assert window.commanded is not None and window.measured is not None
    columns = [window.joint_names.index(name) for name in kinematics.joint_names]
    commanded = window.commanded[:, columns]
    known = np.isfinite(commanded)
    return np.where(known, commanded, window.measured[:, columns]), float(known.mean()) if columns else 1.0


def _measured(view: WindowView, steps: Steps, placement: Placement, rendering: RobotRendering) -> MeasuredPoints:
    """Points of scene and robot.

    Raises:
        InvalidImage: a frame in which no depth is known.
    """
    assert view.depth is not None and view.T_world_camera is not None
    depth = placement.values(view.depth[steps][..., None])[..., 0]
    blind = np.flatnonzero(np.isnan(depth).all(axis=(1, 2)))
    if len(blind):
        raise InvalidImage(f"no depth is known in frame {blind[0]} ({len(blind)} such frames)")
    return MeasuredPoints(
        depth=depth,
        rays=placement.values(view.camera.rays()[None])[0],
        robot_depth=placement.beside_content(depth_of(rendering.points)[..., None])[..., 0],
        robot_rays=placement.beside_content(placement.content_camera(view.camera).rays()[None])[0],
        T_first_camera=_in_first(view.T_world_camera[steps]),
    )


def _in_first(T_world_camera: FloatArray) -> FloatArray:
    """Poses in the frame of the first one; where the camera stands still, exactly none."""
    still = (T_world_camera == T_world_camera[0]).all(axis=(1, 2), keepdims=True)
    return np.where(still, np.eye(4), invert(T_world_camera[0]) @ T_world_camera)


def choose_range(points: MeasuredPoints, convention: Convention, content: Rectangle) -> PointmapRange:
    """The range of a clip, from what its content shows.

    Raises:
        InvalidImage: all known points coincide.
    """
    top, left, height, width = content
    shown = slice(top, top + height), slice(left, left + width)
    frames = range(len(points.depth))
    if convention is Convention.CLIP:
        robot = [points.robot_points_at(frame)[np.isfinite(points.robot_depth[frame])] for frame in frames]
        return PointmapRange.of_clip(points.points_at(0)[shown], np.concatenate(robot))
    drawn = (without_outliers(points.points_at(frame)[None][:, *shown])[0].reshape(-1, 3) for frame in frames)
    return PointmapRange.of_frames(
        np.array([(np.nanmin(part, axis=0), np.nanmax(part, axis=0)) for part in drawn], np.float64)
    )
