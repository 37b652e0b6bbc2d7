"""Judges of outcomes that look at pictures, where no geometry tells whether a task was done."""

import math
from abc import ABC, abstractmethod
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fourd_ros.chat_endpoint import ChatEndpoint, ImageFormat, image_part, text_part
from fourd_ros.errors import EndpointFailed, InvalidConfig, InvalidImage, JudgeFailed
from fourd_ros.evaluation.policy.goals import Verdict
from fourd_ros.strict_json import parse_object

Pixels = NDArray[np.uint8]

_ANSWERS = {"yes": True, "no": False, "unsure": None}
_QUOTED = 200
"""Of an answer that makes no sense, as many characters are shown."""

_RULES = (
    "You judge whether a robot has done its task. You get frames of one episode in the order of time; the last one "
    "shows how it ended, and only the end counts. Answer with one JSON object and nothing else: "
    '{"answer": "yes" | "no" | "unsure", "probability": number from 0 to 1 that the task is done at the end, '
    '"reason": one sentence about what the frames show}. Answer "unsure" if the frames do not show it.'
)


class Judge(ABC):
    """Looks at an episode and says whether its task was done."""

    @abstractmethod
    def judge(self, frames: Pixels, instruction: str) -> Verdict:
        """The verdict of one episode.

        Args:
            frames: in the order of time, shape [T, H, W, 3], uint8.
            instruction: what was to be done.

        Raises:
            JudgeFailed: there is none.
        """


class VisionLanguageJudge(Judge):
    """Shows a few frames to a vision language model.

    Args:
        endpoint: where it answers; nothing is ever sent anywhere else.
        frames: how many are shown; the first and the last are, the others lie evenly between them.
        image_format: that they are sent in.

    Raises:
        InvalidConfig: no frames, or no such format.
    """

    def __init__(self, endpoint: ChatEndpoint, *, frames: int = 4, image_format: ImageFormat = "png") -> None:
        if frames < 1 or image_format not in get_args(ImageFormat):
            raise InvalidConfig(
                f"{frames} frames as {image_format}; needed are some, as one of {get_args(ImageFormat)}"
            )
        self._endpoint, self._frames, self._format = endpoint, frames, image_format

    def judge(self, frames: Pixels, instruction: str) -> Verdict:
        """What the model says.

        Raises:
            InvalidImage: the frames are not what they must be.
            InvalidConfig: the environment variable of the key is not set.
            JudgeFailed: the endpoint refuses, fails, is late, or answers something else than was asked for.
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
            raise InvalidImage(f"frames are {frames.dtype} {list(frames.shape)}, needed uint8 [T, H, W, 3]")
        try:
            return _verdict(self._endpoint.ask(self._question(frames, instruction)))
        except EndpointFailed as error:
            raise JudgeFailed(str(error)) from error

    def _question(self, frames: Pixels, instruction: str) -> list[dict[str, Any]]:
        shown = frames[_spread(len(frames), self._frames)]
        pictures = [image_part(frame, image_format=self._format) for frame in shown]
        task = [text_part(f"The task was: {instruction}"), *pictures]
        return [{"role": "system", "content": _RULES}, {"role": "user", "content": task}]


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Numbers of at most `wanted` of `count` frames; the last one is always there."""
    if wanted == 1:
        return np.array([count - 1])
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64))


def _verdict(content: str) -> Verdict:
    said = parse_object(_without_fence(content).encode(), what=f"the verdict {content[:_QUOTED]!r}", error=JudgeFailed)
    if set(said) != {"answer", "probability", "reason"}:
        raise JudgeFailed(f"the verdict has the names {sorted(said)}, needed are answer, probability and reason")
    answer, probability, reason = said["answer"], said["probability"], said["reason"]
    if not isinstance(answer, str) or answer not in _ANSWERS or not isinstance(reason, str):
        raise JudgeFailed(f"the verdict is {content[:_QUOTED]!r}; its answer must be one of {list(_ANSWERS)}")
    if type(probability) not in (int, float) or not 0 <= probability <= 1 or math.isnan(probability):
        raise JudgeFailed(f"the probability is {probability!r}, needed is a number from 0 to 1")
    success = _ANSWERS[answer]
    if success is not None and (probability > 0.5) != success and probability != 0.5:
        raise JudgeFailed(f"the verdict contradicts itself: '{answer}' with the probability {probability:g}")
    return Verdict(success=success, probability=float(probability), reason=reason.strip())


def _without_fence(content: str) -> str:
    """Many models put JSON between lines of three backticks, whatever they are told."""
    lines = content.strip().splitlines()
    fenced = len(lines) > 2 and lines[0] in ("```", "```json") and lines[-1] == "```"
    return "\n".join(lines[1:-1]) if fenced else content
