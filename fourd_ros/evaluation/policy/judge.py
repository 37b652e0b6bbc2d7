"""Judges of outcomes that look at pictures, where no geometry tells whether a task was done."""

import base64
import http.client
import json
import math
import os
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidConfig, InvalidImage, JudgeFailed
from fourd_ros.evaluation.policy.goals import Verdict
from fourd_ros.strict_json import parse_object

Pixels = NDArray[np.uint8]
ImageFormat = Literal["png", "jpeg"]

MAX_ANSWER = 1024**2
"""Bound on an answer [bytes]."""

_ANSWERS = {"yes": True, "no": False, "unsure": None}
_JPEG_QUALITY = 90
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


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a vision language model answers, as chat completions in the way of OpenAI.

    Args:
        url: that ``/chat/completions`` is added to, such as ``http://127.0.0.1:8000/v1``.
        model: its name there.
        key_variable: environment variable that holds the key; empty where none is needed.
        timeout: time for one answer [s].
        attempts: how often is asked at most, where the endpoint is unreachable, busy (429), late or fails (5xx).
        pause: before the second attempt [s]; it doubles with each.
        parameters: what else the endpoint is told; replace it where a model knows others.

    Raises:
        InvalidConfig: a value is out of range, or the URL is none of http or https.
    """

    url: str
    model: str
    key_variable: str = ""
    timeout: float = 60.0
    attempts: int = 3
    pause: float = 1.0
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0, "max_tokens": 300})

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidConfig(f"'{self.url}' is no address of an endpoint; needed is http(s)://host[:port]/path")
        if not self.timeout > 0 or self.attempts < 1 or not self.pause >= 0:
            raise InvalidConfig(
                f"{self.attempts} attempts of {self.timeout:g} s, {self.pause:g} s apart; needed is at least one, some "
                "time for it, and no negative pause"
            )


class VisionLanguageJudge(Judge):
    """Shows a few frames to a vision language model.

    Args:
        endpoint: where it answers; nothing is ever sent anywhere else.
        frames: how many are shown; the first and the last are, the others lie evenly between them.
        image_format: that they are sent in.

    Raises:
        InvalidConfig: no frames, or no such format.
    """

    def __init__(self, endpoint: Endpoint, *, frames: int = 4, image_format: ImageFormat = "png") -> None:
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
        return _verdict(_content(_ask(self._endpoint, self._question(frames, instruction))))

    def _question(self, frames: Pixels, instruction: str) -> dict[str, Any]:
        shown = frames[_spread(len(frames), self._frames)]
        task: list[dict[str, Any]] = [{"type": "text", "text": f"The task was: {instruction}"}]
        pictures = [{"type": "image_url", "image_url": {"url": _data_url(frame, self._format)}} for frame in shown]
        return {
            "model": self._endpoint.model,
            "messages": [{"role": "system", "content": _RULES}, {"role": "user", "content": task + pictures}],
            **self._endpoint.parameters,
        }


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Numbers of at most `wanted` of `count` frames; the last one is always there."""
    if wanted == 1:
        return np.array([count - 1])
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64))


def _data_url(frame: Pixels, image_format: ImageFormat) -> str:
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if image_format == "jpeg" else []
    _, encoded = cv2.imencode(f".{image_format}", frame[..., ::-1], options)
    return f"data:image/{image_format};base64,{base64.b64encode(encoded.tobytes()).decode()}"


class _Transient(Exception):
    """Another attempt may help."""


def _ask(endpoint: Endpoint, question: Mapping[str, Any]) -> bytes:
    data = json.dumps(question).encode()
    headers = {"Content-Type": "application/json", **_authorization(endpoint)}
    for attempt in range(1, endpoint.attempts + 1):
        try:
            return _post(f"{endpoint.url.rstrip('/')}/chat/completions", data, headers, endpoint.timeout)
        except _Transient as error:
            if attempt == endpoint.attempts:
                raise JudgeFailed(f"no answer of {endpoint.url} in {attempt} attempts: {error}") from error
        time.sleep(endpoint.pause * 2 ** (attempt - 1))
    raise AssertionError("at least one attempt is made")


def _authorization(endpoint: Endpoint) -> dict[str, str]:
    if not endpoint.key_variable:
        return {}
    key = os.environ.get(endpoint.key_variable, "")
    if not key:
        raise InvalidConfig(
            f"the environment variable {endpoint.key_variable} shall hold the key of {endpoint.url}, and is not set"
        )
    return {"Authorization": f"Bearer {key}"}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Key and pictures go nowhere but where the user said."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _post(url: str, data: bytes, headers: Mapping[str, str], timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    request = urllib.request.Request(url, data=data, headers=dict(headers), method="POST")
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            return _read(response, deadline)
    except urllib.error.HTTPError as error:
        said = _said(error)
        if error.code == http.HTTPStatus.TOO_MANY_REQUESTS or error.code >= 500:
            raise _Transient(f"HTTP {error.code}: {said}") from error
        raise JudgeFailed(f"{url} refuses with HTTP {error.code}: {said}") from error
    except TimeoutError as error:
        raise _Transient(f"nothing within {timeout:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        late = isinstance(reason, TimeoutError)
        raise _Transient(f"nothing within {timeout:g} s" if late else str(reason) or type(error).__name__) from error


def _said(error: urllib.error.HTTPError) -> str:
    """The beginning of the page that came with an error."""
    with error, suppress(OSError, http.client.HTTPException):
        return error.read(_QUOTED).decode(errors="replace").strip()
    return ""


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """All that comes until the deadline, also where it comes byte by byte."""
    data = bytearray()
    while piece := response.read1(65536):
        data += piece
        if len(data) > MAX_ANSWER:
            raise JudgeFailed(f"the answer has more than {MAX_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(bytes(data), response.length)
    return bytes(data)


def _content(data: bytes) -> str:
    """The text of the first choice in an answer."""
    answer = parse_object(data, what="the answer of the endpoint", error=JudgeFailed)
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise JudgeFailed(f"the answer holds no choices[0].message.content: {data[:_QUOTED]!r}") from error
    if not isinstance(content, str):
        raise JudgeFailed(f"the content of the answer is a {type(content).__name__}, needed a text")
    return content


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
