"""Names for objects that move without any model: by size, speed and colour."""

import colorsys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fourd_ros.errors import InvalidClip
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.naming.scene_answer import SceneAnswer

SMALL, LARGE = 0.01, 0.1
"""Shares of the image below and above which an object is called so."""

SLOW, FAST = 0.02, 0.2
"""Speeds in the image, in diagonals a second, below and above which an object is called so."""

_HUES = (
    (15, "red"),
    (40, "orange"),
    (70, "yellow"),
    (165, "green"),
    (200, "cyan"),
    (260, "blue"),
    (310, "purple"),
    (345, "pink"),
    (360, "red"),
)
_GREY, _DARK, _BRIGHT = 0.2, 0.2, 0.8


@dataclass(frozen=True, kw_only=True)
class ObjectLook:
    """How an object appears in a video.

    Args:
        number: of the object.
        share: of the image that it covers where it is seen, mean.
        speed: of its centre in the image [diagonals / s], mean; the camera's own motion is part of it.
        colour: mean RGB, 0..1.
    """

    number: int
    share: float
    speed: float
    colour: tuple[float, float, float]


def object_looks(clip: Clip) -> list[ObjectLook]:
    """How the objects of the masks appear, by number.

    Raises:
        InvalidClip: the clip has no masks.
    """
    if clip.masks is None:
        raise InvalidClip("the clip has no masks; needed is the number of the object at every pixel")
    return [_look(clip, clip.masks == number, int(number)) for number in np.unique(clip.masks) if number]


def object_names(looks: Sequence[ObjectLook]) -> dict[int, str]:
    """A name such as ``large fast red object`` for each, by number; those that would share one are counted."""
    plain = {look.number: _name(look) for look in looks}
    times, seen, names = Counter(plain.values()), Counter[str](), {}
    for number, name in plain.items():
        seen[name] += 1
        names[number] = f"{name} {seen[name]}" if times[name] > 1 else name
    return names


def answer_without_model(looks: Sequence[ObjectLook], names: Mapping[int, str]) -> SceneAnswer:
    """Names by number in the form of a model's answer, with figures as reasons."""
    reasons = {
        names[look.number]: (
            f"Covers {100 * look.share:.1f} % of the image, moves by {100 * look.speed:.0f} % of its diagonal a second."
        )
        for look in looks
    }
    return SceneAnswer(objects=tuple(names[look.number] for look in looks), reasons=reasons)


def _look(clip: Clip, mask: np.ndarray, number: int) -> ObjectLook:
    frames = np.flatnonzero(mask.any(axis=(1, 2)))
    centres = np.array([np.argwhere(mask[frame]).mean(axis=0) for frame in frames])
    colours = np.array([clip.rgb[frame][mask[frame]].mean(axis=0) for frame in frames]) / 255
    seconds = (clip.stamps_ns[frames[-1]] - clip.stamps_ns[frames[0]]) * 1e-9
    way = np.linalg.norm(np.diff(centres, axis=0), axis=1).sum() / np.hypot(clip.width, clip.height)
    red, green, blue = (float(value) for value in colours.mean(axis=0))
    return ObjectLook(
        number=number,
        share=float(mask[frames].mean()),
        speed=float(way / seconds) if seconds > 0 else 0.0,
        colour=(red, green, blue),
    )


def _name(look: ObjectLook) -> str:
    size = "small" if look.share < SMALL else "large" if look.share > LARGE else "medium"
    speed = "slow" if look.speed < SLOW else "fast" if look.speed > FAST else "moving"
    return f"{size} {speed} {_colour(look.colour)} object"


def _colour(rgb: tuple[float, float, float]) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    if value < _DARK:
        return "black"
    if saturation < _GREY:
        return "white" if value > _BRIGHT else "grey"
    return next(name for end, name in _HUES if hue * 360 <= end)
