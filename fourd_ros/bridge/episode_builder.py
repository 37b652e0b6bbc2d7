"""An episode that grows frame by frame."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.episode_frames import FRAMES, Frame, FrameView, SeenObject
from fourd_ros.bridge.episode_inputs import EpisodeInputs
from fourd_ros.bridge.times import NS_PER_S
from fourd_ros.data.dropped import DropTally
from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.geometry.camera import PinholeCamera

FloatArray = NDArray[np.float64]

RIGID = 1e-4
"""A camera is fixed to a link when its pose there differs by less over an episode [m, and elements of the rotation]."""


class EpisodeBuilder:
    """Holds the frames of one episode.

    Args:
        inputs: of the bag.
        first: frame.

    Attributes:
        nbytes: of the pictures so far.
    """

    def __init__(self, inputs: EpisodeInputs, first: Frame) -> None:
        self._inputs = inputs
        self._frames = [first]
        self.nbytes = first.nbytes

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def start_ns(self) -> int:
        """Stamp of the first frame [ns]."""
        return self._frames[0].stamp_ns

    @property
    def last_ns(self) -> int:
        """Stamp of the newest frame [ns]."""
        return self._frames[-1].stamp_ns

    def add(self, frame: Frame) -> None:
        """Take the next frame; it must be like the others, see `is_like`."""
        self._frames.append(frame)
        self.nbytes += frame.nbytes

    def is_like(self, frame: Frame) -> bool:
        """Whether a frame has the calibrations and the label of this episode."""
        first = self._frames[0]
        return frame.label == first.label and _cameras(frame) == _cameras(first)

    def build(self, *, name: str, source: str, facts: Mapping[str, Any], tally: DropTally) -> Episode:
        """The episode; the frames are given up on the way, so pictures are not in memory twice.

        Args:
            name: of the episode.
            source: of the bag.
            facts: further fields; an instruction of the frames goes before one in there.
            tally: told of objects that come and go.
        """
        frames, self._frames = self._frames, []
        stamps = np.array([frame.stamp_ns for frame in frames], np.int64)
        instructions = tuple(dict.fromkeys(frame.instruction for frame in frames if frame.instruction))
        words = {"tasks": (), "instructions": (), **facts} | ({"instructions": instructions} if instructions else {})
        return Episode(
            name=name,
            source=source,
            start_ns=int(stamps[0]),
            rate=self._inputs.rate,
            times=(stamps - stamps[0]) / NS_PER_S,
            joint_names=self._inputs.joint_names,
            commanded=np.stack([frame.commanded for frame in frames]),
            measured=np.stack([frame.joints.positions for frame in frames]),
            velocities=np.stack([frame.joints.velocities for frame in frames]),
            robot_description=self._inputs.robot_description,
            action_names=tuple(name for action in self._inputs.actions.values() for name in action.names),
            actions=np.stack([frame.actions for frame in frames]),
            **_objects([frame.objects for frame in frames], frames[0].stamp_ns, tally),
            **words,
            views=_views(frames),
        )


def _cameras(frame: Frame) -> dict[str, PinholeCamera]:
    return {name: view.camera for name, view in frame.views.items()}


def _views(frames: list[Frame]) -> dict[str, EpisodeView]:
    columns = {name: [frame.views[name] for frame in frames] for name in frames[0].views}
    frames.clear()
    return {name: _view(views) for name, views in columns.items()}


def _view(views: list[FrameView]) -> EpisodeView:
    first, count = views[0], len(views)
    link, mounts = first.pose.mounted_on, [view.pose.T_mount_camera for view in views]
    carried = all(view.pose.mounted_on == link for view in views) and np.ptp(mounts, axis=0).max() < RIGID
    poses = np.stack([view.pose.T_world_camera for view in views])
    rgb = np.empty((count, *first.rgb.shape), np.uint8)
    depth = None if first.depth is None else np.empty((count, *first.depth.shape), np.float32)
    for index in range(count):
        rgb[index] = views[index].rgb
        if depth is not None:
            depth[index] = views[index].depth
        views[index] = first
    return EpisodeView(
        camera=first.camera,
        mounted_on=link if carried else "",
        T_mount_camera=first.pose.T_mount_camera if carried else poses[0],
        T_world_camera=poses,
        rgb=rgb,
        depth=depth,
    )


def _objects(seen: Sequence[Mapping[str, SeenObject] | None], stamp_ns: int, tally: DropTally) -> dict[str, Any]:
    """Fields of the objects; none where they are not known in every frame, or not always the same."""
    first = seen[0]
    if not first or any(objects is None or objects.keys() != first.keys() for objects in seen):
        if any(seen):
            why = "not the same objects in all frames of an episode; it has no objects"
            tally.add("changing_objects", FRAMES, stamp_ns, why, count=len(seen))
        return {}
    poses = [[objects[name].pose for name in first] for objects in seen if objects is not None]
    return {
        "object_names": tuple(first),
        "object_labels": tuple(entry.label for entry in first.values()),
        "object_sizes": np.array([entry.size for entry in first.values()]),
        "object_poses": np.array(poses),
    }
