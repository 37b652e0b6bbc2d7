"""What is told of objects when the cube of their shapes is placed before a camera, and what is found."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidClip

__all__ = ["R_CAMERA_CUBE", "UNPLACED", "Placement", "SeenObject"]

FloatArray = NDArray[np.float64]
Source = Literal["depth", "size", "identity"]

R_CAMERA_CUBE: FloatArray = np.diag([1.0, -1.0, -1.0])
"""Of a camera that looks along -z of the cube, its optical axes from those of the cube."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenObject:
    """One object in one frame.

    Args:
        mesh: its shape in that frame, in the cube.
        mask: where it shows, shape [H, W].
        depth: of all pixels of the frame [m], NaN or 0 where not known, shape [H, W]; None without a depth camera.
        size: largest extent along any axis of the cube [m]; None where nobody knows.

    Raises:
        InvalidClip: mask and depth of different sizes, or a size that is not positive.
    """

    mesh: SurfaceMesh
    mask: NDArray[np.bool_]
    depth: NDArray[np.floating] | None = None
    size: float | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise InvalidClip(f"a mask {self.mask.dtype} {list(self.mask.shape)}; needed is bool [H, W]")
        if self.depth is not None and self.depth.shape != self.mask.shape:
            raise InvalidClip(
                f"depth {list(self.depth.shape)} beside a mask {list(self.mask.shape)}; needed is one size"
            )
        if self.size is not None and not (np.isfinite(self.size) and self.size > 0):
            raise InvalidClip(f"an object of the size {self.size} m; needed is a positive number")


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A similarity between the cube and the camera's optical frame.

    Args:
        T_camera_cube: a turn times a scale [m in a unit of the cube], and a shift [m], shape [4, 4].
        source: what it was read from; ``identity`` where there was nothing: then it says nothing.
        residual: median distance between what was seen and the placed shapes [m]; NaN where nothing was compared.
        confidence: 0 to 1: the share of what was seen that lies on the placed shapes, times the share of their visible
            side that was seen; 0 for the identity.
    """

    T_camera_cube: FloatArray = field(default_factory=lambda: np.eye(4))
    source: Source
    residual: float
    confidence: float

    @property
    def scale(self) -> float:
        """Metres in a unit of the cube."""
        return float(np.cbrt(np.linalg.det(self.T_camera_cube[:3, :3])))

    def place(self, mesh: SurfaceMesh) -> SurfaceMesh:
        """A mesh of the cube in the frame of the camera [m]."""
        return mesh.carried(self.T_camera_cube)


UNPLACED = Placement(source="identity", residual=float("nan"), confidence=0.0)
