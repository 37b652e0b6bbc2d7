"""What a model is asked about the objects that move in a video (section 3 of the specification; the words are ours)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.chat_endpoint import image_part, text_part
from fourd_ros.errors import InvalidImage

MAX_FRAMES = 25
"""As many are shown."""

JPEG_QUALITY = 95

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
    if not len(frames) or any(f.ndim != 3 or f.shape[2] != 3 or f.dtype != np.uint8 or not f.size for f in frames):
        given = [f"{frame.dtype} {list(frame.shape)}" for frame in frames[:3]]
        raise InvalidImage(f"{len(frames)} frames, {given}; needed are some of uint8 [H, W, 3]")
    pictures = [image_part(frame, image_format="jpeg", quality=JPEG_QUALITY) for frame in frames]
    return [{"role": "user", "content": [*pictures, text_part(PROMPT)]}]
