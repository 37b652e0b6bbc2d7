"""Where the cameras of a recording are, and what carries them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.tf import TransformBuffer
from fourd_ros.errors import TransformUnavailable
from fourd_ros.robot.kinematics import Kinematics

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CameraPose:
    """A camera at one instant.

    Args:
        T_world_camera: shape [4, 4].
        mounted_on: the moving link or frame that carries it, empty where it stands still.
        T_mount_camera: in that link, or in the world, shape [4, 4].
    """

    T_world_camera: FloatArray
    mounted_on: str
    T_mount_camera: FloatArray


class CameraPoses:
    """Poses from TF; where TF does not know how the robot stood, from its kinematics.

    With a robot description a camera is carried by the nearest link above it that some joint moves; without one, by
    the highest frame that it is fixed to, if that frame moves.

    Args:
        moving: all transforms.
        still: those that are valid at all times.
        kinematics: of the robot, None where it is not known.
        world: the frame of the episode.
    """

    def __init__(
        self, *, moving: TransformBuffer, still: TransformBuffer, kinematics: Kinematics | None, world: str
    ) -> None:
        self._moving, self._still, self._kinematics, self._world = moving, still, kinematics, world

    def at(self, frame: str, stamp_ns: int, positions: dict[str, float]) -> CameraPose:
        """The pose of an optical frame.

        Args:
            frame: of the camera.
            stamp_ns: when [ns].
            positions: measured joints then [rad | m].

        Raises:
            TransformUnavailable: neither TF nor the kinematics connect the frame to the world at that time.
        """
        link = self._carrier(frame)
        T_world_camera = self._pose(frame, link, stamp_ns, positions)
        T_mount_camera = self._moving.lookup(link, frame, stamp_ns) if link else T_world_camera
        return CameraPose(T_world_camera=T_world_camera, mounted_on=link, T_mount_camera=T_mount_camera)

    def between(self, target: str, source: str, stamp_ns: int) -> FloatArray:
        """``T_target_source``, shape [4, 4]; an empty target is the world.

        Raises:
            TransformUnavailable: TF does not connect them at that time.
        """
        return self._moving.lookup(target or self._world, source, stamp_ns)

    def _carrier(self, frame: str) -> str:
        if self._kinematics is not None:
            above = (frame, *self._moving.ancestors(frame))
            return next((name for name in above if name in self._kinematics.moving_links), "")
        fixed_to = (frame, *self._still.ancestors(frame))
        return fixed_to[-1] if self._world not in fixed_to and self._moving.ancestors(fixed_to[-1]) else ""

    def _pose(self, frame: str, link: str, stamp_ns: int, positions: dict[str, float]) -> FloatArray:
        try:
            return self._moving.lookup(self._world, frame, stamp_ns)
        except TransformUnavailable:
            if self._kinematics is None or not link:
                raise
        root = self._kinematics.root
        T_world_root = np.eye(4) if self._world == root else self._moving.lookup(self._world, root, stamp_ns)
        posture = self._kinematics.positions_from(positions, strict=False)
        T_root_link = self._kinematics.link_poses(posture)[link]
        T_world_camera: FloatArray = T_world_root @ T_root_link @ self._moving.lookup(link, frame, stamp_ns)
        return T_world_camera
