"""What a model is asked about the objects that move in a video (section 3 of the specification; the words are ours)."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.chat_endpoint import image_part, text_part
from fourd_ros.errors import InvalidImage
from fourd_ros.reconstruction.masks.instance_map import InstanceMap
from fourd_ros.reconstruction.naming.object_marks import draw_marks, marked_numbers

MAX_FRAMES = 25
"""As many are shown."""

JPEG_QUALITY = 95

LEAST_SIDE = 640
"""Marked frames are enlarged until their longer side has so many pixels, so that numbers are small beside objects."""

PROMPT = """\
You see frames of one video, in the order of time. They were chosen because much moves in them.

Find every object that really moves: that changes its place, turns, or changes its shape. What seems to move only \
because the camera does is no such object. Rules:
- What is carried, pushed or handled moves as well and is an object of its own.
- Where only a part moves, name the whole object that it belongs to.
- List several objects of one kind one by one, with names that tell them apart.
- A name is one adjective and one noun, such as "tall person" or "red car".
- Say about every object in one short sentence what it looks like, and what it holds.
- There is at least one.

Answer with one JSON object and nothing else:
{"dynamic": ["<name>", ...], "reasoning": {"<name>": "<sentence>", ...}}"""

MARKED_PROMPT = """\
You see frames of one video, in the order of time. Objects that move were found in it. Each is outlined, and on it or \
beside it stands its number, the same in all frames; outlines can be rough, and not every frame shows every object.

The numbers are {numbers}. Name the object of each. Rules:
- A name is one adjective and one noun, such as "tall person" or "red car". No two objects have the same name.
- Where an outline holds only a part, name the whole object that it belongs to.
- Outlines and numbers were drawn into the frames; they are no part of an object, and their colours say nothing. Name \
what is within the outline, not what lies behind the number.
- Say about every object in one short sentence what it looks like, and what it holds.
- Where you cannot tell what it is, its name is "?".

Answer with one JSON object and nothing else:
{{"dynamic": [{names}], "reasoning": {{{sentences}}}}}"""


def shown_frames(count: int, *, most: int = MAX_FRAMES) -> list[int]:
    """Which of `count` frames are shown: all, or `most` of them from the first to the last."""
    if count <= most:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, most)]


def scene_question(frames: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
    """The messages of a chat: one with the frames, then the text.

    Args:
        frames: in the order of time, each of shape [H, W, 3].

    Raises:
        InvalidImage: no frame, or one of another kind.
    """
    return _message(frames, PROMPT)


def marked_question(frames: Sequence[NDArray[np.uint8]], marks: Sequence[InstanceMap]) -> list[dict[str, Any]]:
    """The same about objects that were found: they are outlined, and names are asked for by number.

    Args:
        frames: in the order of time, each of shape [H, W, 3].
        marks: number of the object at every pixel of each frame, 0 for none, shape [H, W] each.

    Raises:
        InvalidImage: no frame, one of another kind, marks of another size, or none at all.
    """
    numbers = marked_numbers(marks)
    if not numbers or len(marks) != len(frames):
        raise InvalidImage(f"{len(frames)} frames and marks in {len(marks)}; needed are as many, with some object")
    text = MARKED_PROMPT.format(
        numbers=", ".join(map(str, numbers)),
        names=", ".join(f'"{number}: <name>"' for number in numbers),
        sentences=", ".join(f'"{number}": "<sentence>"' for number in numbers),
    )
    return _message([_marked(frame, mark) for frame, mark in zip(frames, marks, strict=True)], text)


def _marked(frame: NDArray[np.uint8], mark: InstanceMap) -> NDArray[np.uint8]:
    times = -(-LEAST_SIDE // max(mark.shape))
    larger = cv2.resize(frame, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC) if times > 1 else frame
    return draw_marks(np.asarray(larger, np.uint8), mark.repeat(times, axis=0).repeat(times, axis=1))


def _message(frames: Sequence[NDArray[np.uint8]], text: str) -> list[dict[str, Any]]:
    if not len(frames) or any(f.ndim != 3 or f.shape[2] != 3 or f.dtype != np.uint8 or not f.size for f in frames):
        given = [f"{frame.dtype} {list(frame.shape)}" for frame in frames[:3]]
        raise InvalidImage(f"{len(frames)} frames, {given}; needed are some of uint8 [H, W, 3]")
    pictures = [image_part(frame, image_format="jpeg", quality=JPEG_QUALITY) for frame in frames]
    return [{"role": "user", "content": [*pictures, text_part(text)]}]
