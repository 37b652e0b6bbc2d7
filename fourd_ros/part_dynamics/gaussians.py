"""A set of 3D Gaussians as the networks of LGM and PartRM give it: 14 numbers each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidGaussians

if TYPE_CHECKING:
    import torch

CHANNELS = 14
POSITION, OPACITY, SCALE = slice(0, 3), 3, slice(4, 7)
ROTATION, RGB = slice(7, 11), slice(11, 14)


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussians:
    """Gaussians in one world frame, with activated values; there may be none.

    Args:
        values: position 3 [m], opacity 0 to 1, scale (standard deviations) 3 [m], rotation quaternion w, x, y, z
            (used as it stands: of unit length, or it stretches the Gaussian), rgb 0 to 1; finite, float32 [N, 14].

    Raises:
        InvalidGaussians: another shape or type, or a value that is not finite.
    """

    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_values(self.values.shape, self.values.dtype == np.float32, str(self.values.dtype))
        if not np.isfinite(self.values).all():
            row, channel = (int(index[0]) for index in np.nonzero(~np.isfinite(self.values)))
            raise InvalidGaussians(
                f"channel {channel} of Gaussian {row} is {self.values[row, channel]}; all values must be finite"
            )

    @classmethod
    def from_tensor(cls, values: "torch.Tensor") -> "Gaussians":
        """Of a tensor of any floating type on any device, shape [N, 14]."""
        return cls(values=values.detach().float().cpu().numpy())

    def to_tensor(self, device: "torch.device | str" = "cpu") -> "torch.Tensor":
        """A copy as a float32 tensor, shape [N, 14]."""
        import torch

        return torch.tensor(self.values, device=device)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def positions(self) -> NDArray[np.float32]:
        """Centres in the world [m], shape [N, 3]."""
        return self.values[:, POSITION]

    @property
    def opacities(self) -> NDArray[np.float32]:
        """Opacity at the centre, shape [N]."""
        return self.values[:, OPACITY]

    @property
    def scales(self) -> NDArray[np.float32]:
        """Standard deviations along the own axes [m], shape [N, 3]."""
        return self.values[:, SCALE]

    @property
    def rotations(self) -> NDArray[np.float32]:
        """Quaternions w, x, y, z of the own axes in the world, shape [N, 4]."""
        return self.values[:, ROTATION]

    @property
    def rgb(self) -> NDArray[np.float32]:
        """Colours 0 to 1, the same from every side, shape [N, 3]."""
        return self.values[:, RGB]


def check_values(shape: tuple[int, ...], floating: bool, dtype: str, *, needed: str = "float32") -> None:
    """Raise `InvalidGaussians` where an array or tensor cannot hold Gaussians."""
    if len(shape) != 2 or shape[1] != CHANNELS or not floating:
        raise InvalidGaussians(
            f"{dtype} {list(shape)} given; Gaussians are {needed} [N, {CHANNELS}]: "
            "position 3, opacity, scale 3, quaternion wxyz, rgb"
        )


def named_columns(values: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Position, opacity [N, 1], scale, rotation and rgb of an array or tensor [N, 14], as views."""
    return values[:, POSITION], values[:, OPACITY, None], values[:, SCALE], values[:, ROTATION], values[:, RGB]
