"""Lambert shading under lights that move with the camera."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fourd_ros.robot.surfaces import Surface

Floats = NDArray[np.float32]

AMBIENT = 0.3
HEADLIGHT = 0.4
KEY_LIGHT = 0.35
HEADLIGHT_DIRECTION = (0.0, 0.0, -1.0)
KEY_LIGHT_DIRECTION = (-0.4, -0.8, -0.45)  # from above the camera's left shoulder

NORMAL_DIGITS = 2
"""Corners whose normals agree to so many digits are lit once."""


class Shading:
    """Colours of points on the surfaces of all links.

    Every corner's brightness is computed once a frame and interpolated over its face (Gouraud).

    Args:
        surfaces: of the L visible links; faces are numbered through all of them.
    """

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        self._normals: list[Floats] = []
        corners = [np.empty((0, 3), np.intp)]
        ends = [0]
        for surface in surfaces:
            rounded = np.round(surface.normals.reshape(-1, 3), NORMAL_DIGITS)
            normals, index = np.unique(rounded, axis=0, return_inverse=True)
            corners.append(index.reshape(-1, 3) + ends[-1])
            self._normals.append(np.ascontiguousarray(normals.T))
            ends.append(ends[-1] + len(normals))
        self._corners = np.concatenate(corners)
        self._ends = ends[1:]
        self._colours = np.float32(255) * np.concatenate(
            [np.empty((0, 3), np.float32), *(surface.colours for surface in surfaces)]
        )
        self._lights = np.array([HEADLIGHT_DIRECTION, KEY_LIGHT_DIRECTION]).T
        self._lights /= np.linalg.norm(self._lights, axis=0)

    def brightness(self, T_link_camera: NDArray[np.float64]) -> Floats:
        """Brightness of every distinct normal in every frame, shape [T, normals].

        Args:
            T_link_camera: camera poses in the links' frames, shape [L, T, 4, 4].
        """
        lights = np.swapaxes(T_link_camera[..., :3, :3] @ self._lights, -1, -2).astype(np.float32)
        brightness = np.empty((lights.shape[1], self._ends[-1]), np.float32)
        for normals, end, light in zip(self._normals, self._ends, lights, strict=True):
            lit = KEY_LIGHT * np.maximum(light[:, 1] @ normals, 0)
            lit += HEADLIGHT * np.abs(light[:, 0] @ normals)
            np.minimum(lit + AMBIENT, 1, out=brightness[:, end - normals.shape[1] : end])
        return brightness

    def colours(
        self, brightness: Floats, frames: NDArray[np.int64], faces: NDArray[np.int32], u: Floats, v: Floats
    ) -> NDArray[np.uint8]:
        """Colours of N points, shape [N, 3].

        Args:
            brightness: of all frames, from `brightness`.
            frames: each point's frame, shape [N].
            faces: the face it lies on, numbered through all links, shape [N].
            u: weight of the face's second corner, shape [N].
            v: weight of the third corner, shape [N].
        """
        at_corners = self._corners.take(faces, axis=0)
        at_corners += (frames * brightness.shape[1])[:, None]
        first, second, third = brightness.take(at_corners).T
        mixed = first + u * (second - first) + v * (third - first)
        shades: NDArray[np.uint8] = (self._colours.take(faces, axis=0) * mixed[:, None]).astype(np.uint8)
        return shades
