"""A vision language model behind an address: chat completions in the way of OpenAI, asked with care.

Works with any such server, also a local one without a key. Key and pictures go where the user said and nowhere else.
"""

import base64
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import EndpointFailed, InvalidConfig
from fourd_ros.strict_json import parse_object

ImageFormat = Literal["png", "jpeg"]
Part = dict[str, Any]
"""A text or a picture in a message."""

MAX_ANSWER = 1024**2
"""Bound on an answer [bytes]."""

MAX_STREAM = 32 * 1024**2
"""Bound on a streamed answer [bytes]: every few letters come with an envelope, and thoughts come before the answer."""

JPEG_QUALITY = 90

_QUOTED = 200
"""Of an answer that makes no sense, as many characters are shown."""

_EVENT = b"data:"
_DONE = b"[DONE]"


@dataclass(frozen=True, kw_only=True)
class ChatEndpoint:
    """Where a model answers.

    Args:
        url: that ``/chat/completions`` is added to, such as ``http://127.0.0.1:8000/v1``.
        model: its name there.
        key_variable: environment variable that holds the key; empty where none is needed.
        timeout: time for one answer [s].
        attempts: how often is asked at most, where the endpoint is unreachable, busy (429), late, breaks off, or fails
            (5xx).
        pause: before the second attempt [s]; it doubles with each.
        stream: have the answer sent piece by piece; what a model thinks before it is left out.
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
    stream: bool = False
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

    def ask(self, messages: Sequence[Mapping[str, Any]], *, give_up: threading.Event | None = None) -> str:
        """What the model says.

        Args:
            messages: of a chat, each with its ``role`` and ``content``.
            give_up: no further attempt is begun once it is set, and no pause is waited for.

        Raises:
            InvalidConfig: the environment variable of the key is not set.
            EndpointFailed: the endpoint refuses, fails, is late, or does not speak the protocol.
        """
        question = {"model": self.model, "messages": list(messages), **self.parameters}
        data = json.dumps(question | ({"stream": True} if self.stream else {})).encode()
        headers = {"Content-Type": "application/json", **self._authorization()}
        give_up = give_up or threading.Event()
        for attempt in range(1, self.attempts + 1):
            try:
                return _content(_post(f"{self.url.rstrip('/')}/chat/completions", data, headers, self.timeout))
            except _Transient as error:
                last = attempt == self.attempts or give_up.wait(self.pause * 2 ** (attempt - 1))
                if last:
                    raise EndpointFailed(f"no answer of {self.url} in {attempt} attempts: {error}") from error
        raise AssertionError("at least one attempt is made")

    def _authorization(self) -> dict[str, str]:
        if not self.key_variable:
            return {}
        key = os.environ.get(self.key_variable, "")
        if not key:
            raise InvalidConfig(
                f"the environment variable {self.key_variable} shall hold the key of {self.url}, and is not set"
            )
        return {"Authorization": f"Bearer {key}"}


def text_part(text: str) -> Part:
    """A text of a message."""
    return {"type": "text", "text": text}


def image_part(rgb: NDArray[np.uint8], *, image_format: ImageFormat, quality: int = JPEG_QUALITY) -> Part:
    """A picture of a message, shape [H, W, 3], within the message itself; `quality` is that of JPEG."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if image_format == "jpeg" else []
    _, encoded = cv2.imencode(f".{image_format}", rgb[..., ::-1], options)
    url = f"data:image/{image_format};base64,{base64.b64encode(encoded.tobytes()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


class _Transient(Exception):
    """Another attempt may help."""


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
        raise EndpointFailed(f"{url} refuses with HTTP {error.code}: {said}") from error
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
    streamed = response.headers.get_content_type() == "text/event-stream"
    most = MAX_STREAM if streamed else MAX_ANSWER
    while piece := response.read1(65536):
        data += piece
        if len(data) > most:
            raise EndpointFailed(f"the answer has more than {most} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(bytes(data), response.length)
    return bytes(data)


def _content(data: bytes) -> str:
    """The text of the first choice in an answer, streamed or not: a server need not do as it was asked."""
    if data.lstrip().startswith((_EVENT, b":", b"event:")):
        return _streamed(data)
    answer = parse_object(data, what="the answer of the endpoint", error=EndpointFailed)
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise EndpointFailed(f"the answer holds no choices[0].message.content: {data[:_QUOTED]!r}") from error
    if not isinstance(content, str):
        raise EndpointFailed(f"the content of the answer is a {type(content).__name__}, needed a text")
    return content


def _streamed(data: bytes) -> str:
    """The pieces of ``delta.content``, joined; it has to come to its end."""
    pieces: list[str] = []
    ended = False
    for line in data.splitlines():
        event = line.removeprefix(_EVENT).strip()
        if not line.startswith(_EVENT) or not event:
            continue
        if event == _DONE:
            return "".join(pieces)
        piece, stopped = _piece(event)
        pieces.append(piece)
        ended = ended or stopped
    if not ended:
        raise _Transient(f"the answer breaks off after {len(data)} bytes")
    return "".join(pieces)


def _piece(event: bytes) -> tuple[str, bool]:
    """The text of one event, and whether it is the last that has some."""
    try:
        said = json.loads(event)
    except (ValueError, RecursionError) as error:
        raise _Transient(f"a piece of the answer is no JSON: {event[:_QUOTED]!r}") from error
    if not isinstance(said, dict) or "error" in said:
        raise _Transient(f"the endpoint fails in the middle of its answer: {event[:_QUOTED]!r}")
    choices = said.get("choices")
    if not choices:
        return "", False  # such as counts of tokens
    try:
        content = choices[0].get("delta", {}).get("content") or ""
        stopped = choices[0].get("finish_reason") is not None
    except (AttributeError, KeyError, TypeError) as error:
        raise EndpointFailed(f"a piece of the answer holds no choices[0].delta: {event[:_QUOTED]!r}") from error
    if not isinstance(content, str):
        raise EndpointFailed(f"a piece of the answer is a {type(content).__name__}, needed a text")
    return content, stopped
