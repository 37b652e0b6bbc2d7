"""An episode that grows frame by frame."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.camera_poses import CameraPose
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
    """Holds the frames of one episode; the pictures are in place from the beginning, so they are never there twice.

    Args:
        inputs: of the bag.
        first: frame.
        capacity: frames that it takes; pages of memory that no frame needed are never touched.
    """

    def __init__(self, inputs: EpisodeInputs, first: Frame, *, capacity: int) -> None:
        self._inputs, self._first, self._capacity = inputs, first, capacity
        self._frames: list[Frame] = []
        self._views = {name: _ViewBuilder(view, capacity) for name, view in first.views.items()}
        self.add(first)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def full(self) -> bool:
        """Whether it takes no more frames."""
        return len(self._frames) == self._capacity

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
        for name, view in frame.views.items():
            self._views[name].add(view)
        self._frames.append(replace(frame, views={}))

    def is_like(self, frame: Frame) -> bool:
        """Whether a frame has the calibrations and the label of this episode."""
        return frame.label == self._first.label and _cameras(frame) == _cameras(self._first)

    def build(self, *, name: str, source: str, facts: Mapping[str, Any], tally: DropTally) -> Episode:
        """The episode.

        Args:
            name: of the episode.
            source: of the bag.
            facts: further fields; an instruction of the frames goes before one in there.
            tally: told of objects that come and go.
        """
        frames = self._frames
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
            views={name: view.build() for name, view in self._views.items()},
        )


def _cameras(frame: Frame) -> dict[str, PinholeCamera]:
    return {name: view.camera for name, view in frame.views.items()}


class _ViewBuilder:
    """What one camera saw, so far."""

    def __init__(self, first: FrameView, capacity: int) -> None:
        self._camera = first.camera
        self._poses: list[CameraPose] = []
        self._rgb = np.empty((capacity, *first.rgb.shape), np.uint8)
        self._depth = None if first.depth is None else np.empty((capacity, *first.depth.shape), np.float32)

    def add(self, view: FrameView) -> None:
        place = len(self._poses)
        self._rgb[place] = view.rgb
        if self._depth is not None:
            self._depth[place] = view.depth
        self._poses.append(view.pose)

    def build(self) -> EpisodeView:
        count, first = len(self._poses), self._poses[0]
        mounts = [pose.T_mount_camera for pose in self._poses]
        same = all(pose.mounted_on == first.mounted_on for pose in self._poses)
        carried = same and np.ptp(mounts, axis=0).max() < RIGID
        poses = np.stack([pose.T_world_camera for pose in self._poses])
        return EpisodeView(
            camera=self._camera,
            mounted_on=first.mounted_on if carried else "",
            T_mount_camera=first.T_mount_camera if carried else poses[0],
            T_world_camera=poses,
            rgb=self._rgb[:count],
            depth=None if self._depth is None else self._depth[:count],
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
