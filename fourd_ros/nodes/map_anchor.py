"""Where a map lies beside the TF tree that a camera hangs on (REP 105: no frame gets two parents)."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.tf import TransformBuffer
from fourd_ros.errors import InvalidTransform, TransformUnavailable
from fourd_ros.geometry.transforms import invert

FloatArray = NDArray[np.float64]

STEADY = 5
"""Frames for which a frame must be the root before TF is told: parts of a tree arrive one after the other."""

TREE_PATIENCE = 1.0
"""After the first picture, the camera's TF tree is waited for so long at most [s]."""

TREE_SETTLED = 0.2
"""It is complete if its root stays the same for so long [s]."""

T_BODY_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Optical axes in those of a body: x forward, y left, z up (REP 103)."""


class MapAnchor:
    """Puts the map at the root of the camera's TF tree to begin with, and later the root where the camera says.

    Args:
        transforms: the TF buffer.
        map_frame: name of the map's frame.
    """

    def __init__(self, transforms: TransformBuffer, map_frame: str) -> None:
        self._transforms, self._map_frame = transforms, map_frame
        self._child = self._candidate = ""
        self._steady = 0

    def settle(self, camera_frame: str, *, until: float, wait: Callable[[float], bool]) -> None:
        """Wait until the root above the camera is known and stays the same for a moment.

        Args:
            camera_frame: optical frame.
            until: not longer than that [s of ``time.monotonic``].
            wait: sleeps so long [s]; true where waiting shall end.
        """
        root, since = "", time.monotonic()
        while (now := time.monotonic()) < until and not wait(0.02):
            found = self.root(camera_frame)
            if found != root:
                root, since = found, now
            elif root != camera_frame and now - since > TREE_SETTLED:
                return

    def start(self, camera_frame: str, stamp_ns: int, *, timeout: float) -> FloatArray:
        """``T_map_camera`` to begin with, shape [4, 4].

        Where the camera hangs on a tree, the map is where the root of that is. Else the camera is in the origin and
        looks along x, with z up if it is held upright.

        Args:
            camera_frame: optical frame.
            stamp_ns: of its first picture [ns].
            timeout: wait this long for the transform [s].
        """
        root = self.root(camera_frame)
        if root == camera_frame:
            return T_BODY_OPTICAL.copy()
        try:
            return np.asarray(self._transforms.lookup(root, camera_frame, stamp_ns, timeout=timeout))
        except TransformUnavailable:
            return T_BODY_OPTICAL.copy()

    def root(self, camera_frame: str) -> str:
        """The uppermost frame above the camera, without the map's; the camera's own where there is none.

        Raises:
            InvalidTransform: somebody else publishes the map's frame above the camera.
        """
        below = camera_frame
        for frame in self._transforms.ancestors(camera_frame):
            if frame == self._map_frame:
                if below != self._child:
                    raise InvalidTransform(
                        f"somebody else publishes '{frame}' -> '{below}'; set publish_tf: false or another map_frame"
                    )
                break
            below = frame
        return below

    def place(
        self, camera_frame: str, T_map_camera: FloatArray, stamp_ns: int, *, timeout: float
    ) -> tuple[str, FloatArray] | None:
        """The frame to publish below the map, and where it is, shape [4, 4]; None while the root still changes.

        Raises:
            InvalidTransform: somebody else publishes the map's frame above the camera.
            TransformUnavailable: the camera's place in its tree is not known at that time.
        """
        root = self.root(camera_frame)
        if root != self._child and not self._is_steady(root):
            return None
        T_root_camera = np.eye(4)
        if root != camera_frame:
            T_root_camera = self._transforms.lookup(root, camera_frame, stamp_ns, timeout=timeout)
        self._child = root
        return root, T_map_camera @ invert(T_root_camera)

    def _is_steady(self, root: str) -> bool:
        self._steady = self._steady + 1 if root == self._candidate else 0
        self._candidate = root
        return self._steady >= STEADY
