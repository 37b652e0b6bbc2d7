"""Judges of pictures, against an endpoint on the loopback interface that answers as good ones and bad ones do."""

import base64
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import cv2
import numpy as np
import pytest
from chat_rig import Answer, endpoint, says, sends

from fourd_ros.chat_endpoint import MAX_ANSWER, ChatEndpoint
from fourd_ros.errors import InvalidConfig, InvalidImage, JudgeFailed
from fourd_ros.evaluation.policy.judge import Verdict, VisionLanguageJudge

FRAMES = np.stack([np.full((16, 24, 3), (10 * t, 100, 200), np.uint8) for t in range(11)])


def verdict(answer: object = "yes", probability: object = 0.9, reason: object = "it lies there", **more: object) -> str:
    return json.dumps({"answer": answer, "probability": probability, "reason": reason} | more)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def judge(url: str, *, frames: int = 4, image_format: Any = "png", **options: Any) -> Verdict:
    to = ChatEndpoint(url=url, model="looker", **{"pause": 0.0, "timeout": 20.0} | options)
    return VisionLanguageJudge(to, frames=frames, image_format=image_format).judge(FRAMES, "push the cube")


@pytest.mark.parametrize(
    ("answer", "probability", "success"), [("yes", 1, True), ("no", 0.2, False), ("unsure", 0.6, None)]
)
def test_verdicts(answer: str, probability: float, success: bool | None) -> None:
    with endpoint(says(verdict(answer, probability, " it lies there\n"))) as (url, _):
        assert judge(url) == Verdict(success=success, probability=probability, reason="it lies there")


def test_what_an_endpoint_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKER_KEY", "secret")
    with endpoint(says(verdict())) as (url, asked):
        judge(url + "/", frames=3, key_variable="LOOKER_KEY", parameters={"max_completion_tokens": 50})
    assert asked.paths == ["/v1/chat/completions"] and asked.keys == ["Bearer secret"]
    (body,) = asked.bodies
    assert body["model"] == "looker" and body["max_completion_tokens"] == 50 and "max_tokens" not in body
    system, user = body["messages"]
    assert system["role"] == "system" and "unsure" in system["content"]
    text, *pictures = user["content"]
    assert "push the cube" in text["text"]
    shown = [_decoded(picture["image_url"]["url"], "png") for picture in pictures]
    np.testing.assert_array_equal(shown, FRAMES[[0, 5, 10]])


@pytest.mark.parametrize(("frames", "shown"), [(1, [10]), (2, [0, 10]), (50, list(range(11)))])
def test_the_end_is_always_shown(frames: int, shown: list[int]) -> None:
    with endpoint(says(verdict())) as (url, asked):
        judge(url, frames=frames, image_format="jpeg")
        pictures = [
            _decoded(part["image_url"]["url"], "jpeg") for part in asked.bodies[0]["messages"][1]["content"][1:]
        ]
    np.testing.assert_allclose(pictures, FRAMES[shown], atol=6)


def _decoded(url: str, image_format: str) -> np.ndarray[Any, Any]:
    head, data = url.split(",")
    assert head == f"data:image/{image_format};base64"
    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR))[..., ::-1]


def test_nothing_goes_out_without_the_key_that_is_asked_for() -> None:
    with endpoint(says(verdict())) as (url, asked):
        with pytest.raises(InvalidConfig, match="NO_SUCH_KEY"):
            judge(url, key_variable="NO_SUCH_KEY")
        judge(url)
    assert asked.keys == [None]


def test_a_fence_around_the_verdict_is_forgiven() -> None:
    with endpoint(says(f"```json\n{verdict()}\n```\n")) as (url, _):
        assert judge(url).success is True


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (says("The robot did it!"), "not readable JSON"),
        (says(f"Sure! {verdict()}"), "not readable JSON"),
        (says("[1]"), "holds a list"),
        (says('{"answer": "yes"}'), "has the names"),
        (says(verdict(more="x")), "has the names"),
        (says(verdict("maybe")), "must be one of"),
        (says(verdict(True)), "must be one of"),
        (says(verdict(["yes"])), "must be one of"),
        (says(verdict(reason=None)), "must be one of"),
        (says(verdict(probability=1.2)), "from 0 to 1"),
        (says(verdict(probability="0.9")), "from 0 to 1"),
        (says(verdict(probability=True)), "from 0 to 1"),
        (says('{"answer": "yes", "probability": NaN, "reason": ""}'), "not readable JSON"),
        (says('{"answer": "yes", "answer": "no", "probability": 0.5, "reason": ""}'), "twice"),
        (says(verdict("yes", 0.1)), "contradicts itself"),
        (says(verdict("no", 0.9)), "contradicts itself"),
        (says(None), "is a NoneType"),
        (sends(b'{"choices": []}'), "holds no choices"),
        (sends(b"<html>"), "not readable JSON"),
        (sends(b" " * (MAX_ANSWER + 1)), "more than"),
        (sends(b"who are you?", 401), "refuses with HTTP 401: who are you"),
        (sends(b"", 302, Location="http://127.0.0.1:9/"), "refuses with HTTP 302"),
    ],
)
def test_nonsense_is_refused_at_once(answer: Answer, reason: str) -> None:
    with endpoint(answer) as (url, asked):
        with pytest.raises(JudgeFailed, match=reason):
            judge(url)
        assert len(asked.paths) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_endpoint_that_is_busy_is_asked_again(status: int) -> None:
    with endpoint(sends(b"later", status), sends(b"later", status), says(verdict())) as (url, asked):
        assert judge(url, attempts=3).success is True
        assert len(asked.paths) == 3
    with endpoint(sends(b"later", status)) as (url, asked):
        with pytest.raises(JudgeFailed, match=f"in 2 attempts: HTTP {status}: later"):
            judge(url, attempts=2)
        assert len(asked.paths) == 2


def test_endpoints_that_are_late() -> None:
    gone = threading.Event()

    def silent(request: BaseHTTPRequestHandler) -> None:
        gone.wait(20.0)

    def dripping(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not gone.wait(0.02):
            request.wfile.write(b" ")

    def interrupted(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"{")

    try:
        for answer in (silent, dripping):
            with (
                endpoint(answer) as (url, _),
                pytest.raises(JudgeFailed, match=r"in 1 attempts: nothing within 0\.2 s"),
            ):
                judge(url, timeout=0.2, attempts=1)
        with endpoint(interrupted, says(verdict())) as (url, asked):
            assert judge(url).success is True
            assert len(asked.paths) == 2
    finally:
        gone.set()


def test_an_endpoint_that_is_not_there() -> None:
    with endpoint(says(verdict())) as (url, _):
        pass
    with pytest.raises(JudgeFailed, match=r"in 2 attempts: .*refused"):
        judge(url, attempts=2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ChatEndpoint(url="file:///etc/passwd", model="x"),
        lambda: ChatEndpoint(url="127.0.0.1:8000", model="x"),
        lambda: ChatEndpoint(url="http://", model="x"),
        lambda: ChatEndpoint(url="http://localhost", model="x", attempts=0),
        lambda: ChatEndpoint(url="http://localhost", model="x", timeout=float("nan")),
        lambda: VisionLanguageJudge(ChatEndpoint(url="http://localhost", model="x"), frames=0),
        lambda: VisionLanguageJudge(ChatEndpoint(url="http://localhost", model="x"), image_format="gif"),  # type: ignore[arg-type]
    ],
)
def test_options_that_make_no_sense(wrong: Callable[[], object]) -> None:
    with pytest.raises(InvalidConfig):
        wrong()


@pytest.mark.parametrize("frames", [FRAMES[0], FRAMES[:0], FRAMES.astype(np.float32), FRAMES[..., :1]])
def test_frames_that_are_none(frames: Any) -> None:
    with pytest.raises(InvalidImage):
        VisionLanguageJudge(ChatEndpoint(url="http://127.0.0.1:9", model="x")).judge(frames, "push")
