"""A model that reads the numbers in the pictures that it is shown, and knows what is where."""

import base64
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

import cv2
import numpy as np
from chat_rig import Answer, Asked, says
from numpy.typing import NDArray

from fourd_ros.reconstruction.naming.object_marks import label_picture

Places = Mapping[str, tuple[float, float]]
"""Where the middle of each thing in a picture is, from the left and from the top, as shares of its sides."""


def shown_pictures(body: Mapping[str, Any]) -> list[NDArray[np.uint8]]:
    """The frames of a question, RGB."""
    parts = [part for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    data = [base64.b64decode(part["image_url"]["url"].split(",", 1)[1]) for part in parts]
    return [np.asarray(cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR))[..., ::-1] for one in data]


def asked_numbers(body: Mapping[str, Any]) -> list[int]:
    """The numbers that a question is about."""
    text = body["messages"][0]["content"][-1]["text"]
    return [int(number) for number in re.findall(r'"(\d+): <name>"', text)]


def find_label(picture: NDArray[np.uint8], number: int) -> tuple[float, tuple[float, float]]:
    """How well a number can be read in a picture (1 is best), and where its middle is, as shares of the sides."""
    label = label_picture(number, size=max(picture.shape[:2]))
    match = cv2.matchTemplate(np.ascontiguousarray(picture), label, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(match)
    return best, ((x + label.shape[1] / 2) / picture.shape[1], (y + label.shape[0] / 2) / picture.shape[0])


def looks_and_says(asked: Asked, where: Any) -> Answer:
    """An endpoint whose model names each number by the thing that is nearest to it.

    Args:
        asked: what the endpoint was asked, filled by then.
        where: from a picture to the `Places` in it.
    """

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = asked.bodies[-1]
        names = []
        for number in asked_numbers(body):
            found = [(*find_label(picture, number), picture) for picture in shown_pictures(body)]
            _, (x, y), picture = max(found, key=lambda one: one[0])
            things: Places = where(picture)
            name = min(things, key=lambda thing: np.hypot(things[thing][0] - x, things[thing][1] - y))
            names.append(f"{number}: {name}")
        says(json.dumps({"dynamic": names, "reasoning": {name: f"It is {name[3:]}." for name in names}}))(request)

    return answer
