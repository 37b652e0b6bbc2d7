"""What is seen, as the map of names to arrays that policies from elsewhere are asked with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidConfig, InvalidMessage
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.policies.joint_numbers import JointNumber, joint_numbers, positions_of, state_of
from fourd_ros.records import Observation, View

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """An image as a policy wants it.

    Args:
        camera: the view that it shows.
        width: of the image [px].
        height: of the image [px].
        padded: keep the proportions and fill up with black, rather than stretch.
        channels_first: shape [3, H, W] rather than [H, W, 3].

    Raises:
        InvalidConfig: the size is not positive.
    """

    camera: str
    width: int = 224
    height: int = 224
    padded: bool = True
    channels_first: bool = False

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise InvalidConfig(f"images of {self.width} x {self.height} of '{self.camera}'; both must be positive")

    def image(self, rgb: Pixels) -> Pixels:
        """The image made from `rgb`, shape [H, W, 3], uint8."""
        sized = _padded(rgb, self.width, self.height) if self.padded else resized(rgb, self.width, self.height)
        return np.moveaxis(sized, -1, 0) if self.channels_first else sized

    def rgb(self, image: object) -> Pixels:
        """What an image shows, shape [H, W, 3].

        Raises:
            InvalidMessage: it is none, or has another size.
        """
        shape = (3, self.height, self.width) if self.channels_first else (self.height, self.width, 3)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != shape:
            got = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            raise InvalidMessage(f"an image of '{self.camera}' is {got}, needed uint8 {list(shape)}")
        return np.moveaxis(image, 0, -1) if self.channels_first else image


@dataclass(frozen=True, kw_only=True)
class WireFormat:
    """Which names the parts of an observation go by.

    Args:
        images: by name.
        states: joints by name of the vector that tells of them.
        prompt: name of the instruction.
        separator: what separates the steps of a name that leads into maps of maps; empty where all names are in one.
    """

    images: Mapping[str, ImageInput]
    states: Mapping[str, tuple[JointNumber, ...]]
    prompt: str = "prompt"
    separator: str = ""

    @classmethod
    def from_options(
        cls,
        *,
        images: Mapping[str, Mapping[str, Any]],
        states: Mapping[str, list[str | Mapping[str, object]]],
        prompt: str = "prompt",
        separator: str = "",
    ) -> "WireFormat":
        """From a configuration: arguments of `ImageInput`, and what `joint_numbers` takes.

        Raises:
            InvalidConfig: an argument is unknown or wrong.
        """
        try:
            inputs = {name: ImageInput(**options) for name, options in images.items()}
        except TypeError as error:
            raise InvalidConfig(f"{images} does not describe images: {error}") from error
        vectors = {name: joint_numbers(options) for name, options in states.items()}
        return cls(images=inputs, states=vectors, prompt=prompt, separator=separator)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the views that are shown."""
        return tuple(dict.fromkeys(image.camera for image in self.images.values()))

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints that are told of."""
        return tuple(dict.fromkeys(number.joint for numbers in self.states.values() for number in numbers))

    def message(self, observation: Observation, instruction: str) -> dict[str, Any]:
        """What a policy is sent."""
        message: dict[str, Any] = {self.prompt: instruction}
        for name, image in self.images.items():
            self._put(message, name, image.image(observation.views[image.camera].rgb))
        for name, numbers in self.states.items():
            self._put(message, name, state_of(numbers, observation.joint_positions))
        return message

    def read(self, message: Mapping[str, Any], stamp_ns: int) -> tuple[Observation, str]:
        """The observation and the instruction in a message; colour and joints are all that is known of it.

        Calibration is not told, so that every camera looks as from nowhere (NaN) through a lens of 53 degrees.

        Raises:
            InvalidMessage: something is missing, or is something else.
            InvalidJoints: a state holds something else than its joints.
        """
        instruction = message.get(self.prompt)
        if not isinstance(instruction, str):
            raise InvalidMessage(f"'{self.prompt}' is a {type(instruction).__name__}, needed a text")
        views = {image.camera: _bare_view(image.rgb(self._take(message, name))) for name, image in self.images.items()}
        positions: dict[str, float] = {}
        for name, numbers in self.states.items():
            positions |= positions_of(numbers, np.asarray(self._take(message, name)))
        return Observation(stamp_ns=stamp_ns, frame="", views=views, joint_positions=positions), instruction

    def _steps(self, name: str) -> list[str]:
        return name.split(self.separator) if self.separator else [name]

    def _put(self, message: dict[str, Any], name: str, value: object) -> None:
        *outer, last = self._steps(name)
        for step in outer:
            message = message.setdefault(step, {})
        message[last] = value

    def _take(self, message: Mapping[str, Any], name: str) -> Any:
        value: Any = message
        for step in self._steps(name):
            if not isinstance(value, Mapping) or step not in value:
                raise InvalidMessage(f"'{name}' is missing; there are {sorted(map(str, message))[:20]}")
            value = value[step]
        return value


def resized(rgb: Pixels, width: int, height: int) -> Pixels:
    """An image stretched or shrunk to a size, linear and without aliases, shape [height, width, 3]."""
    if rgb.shape[:2] == (height, width):
        return rgb
    from PIL import Image

    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))


def _padded(rgb: Pixels, width: int, height: int) -> Pixels:
    rows, columns = rgb.shape[:2]
    if columns * height > rows * width:
        inner = resized(rgb, width, max(1, rows * width // columns))
    else:
        inner = resized(rgb, max(1, columns * height // rows), height)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    whole = np.zeros((height, width, 3), np.uint8)
    whole[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return whole


def _bare_view(rgb: Pixels) -> View:
    height, width = rgb.shape[:2]
    K = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1.0]])
    return View(
        camera=PinholeCamera(width=width, height=height, K=K),
        T_world_camera=np.full((4, 4), np.nan),
        rgb=rgb,
        points=np.full((height, width, 3), np.nan, np.float32),
    )
