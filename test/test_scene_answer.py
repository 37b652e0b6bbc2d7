"""What models say about objects that move: read from good answers and bad ones, asked for without waiting."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_rig import Answer, endpoint, says, sends, streams

from fourd_ros.chat_endpoint import MAX_ANSWER, ChatEndpoint
from fourd_ros.errors import EndpointFailed, InvalidClip, InvalidConfig, InvalidImage, InvalidMessage
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.naming.object_namer import ObjectNamer, ask_for_objects
from fourd_ros.reconstruction.naming.object_names import ObjectLook, answer_without_model, object_looks, object_names
from fourd_ros.reconstruction.naming.scene_answer import (
    MAX_OBJECTS,
    SceneAnswer,
    find_json,
    is_valid,
    parse_answer,
)
from fourd_ros.reconstruction.naming.scene_answer_file import MODEL, answer_path, read_answer, write_answer
from fourd_ros.reconstruction.naming.scene_question import scene_question, shown_frames

FRAMES = [np.full((8, 12, 3), 20 * t, np.uint8) for t in range(4)]
GOOD = json.dumps({"dynamic": ["tall person", "red car"], "reasoning": {"tall person": "Black top."}})
EXPECTED = SceneAnswer(objects=("tall person", "red car"), reasons={"tall person": "Black top."})


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def to(url: str, **options: Any) -> ChatEndpoint:
    return ChatEndpoint(url=url, model="looker", **{"pause": 0.0, "timeout": 20.0, "stream": True} | options)


# reading


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"I see {{many}} things. {GOOD} I hope that helps {{really}}!",
        f'Example: {{"dynamic": ["one thing"], "reasoning": {{}}}}. Now the answer: {GOOD}',
        f'<think>{{"a": {{"b": {{"c": 1}}}}}} "</think>{GOOD}',
        GOOD.replace('"red car"]', '"red car",]').replace("}}", "},}"),
        f'{{"dynamic": [{GOOD}',
    ],
)
def test_answers_that_can_be_read(text: str) -> None:
    assert parse_answer(text) == EXPECTED


def test_braces_and_commas_in_strings() -> None:
    reason = 'holds {a box}, a } brace and ",]" too'
    text = "so: " + json.dumps({"dynamic": ["a b"], "reasoning": {"a b": reason}}) + " done"
    assert parse_answer(text).reasons == {"a b": reason}
    assert find_json(text, official_compat=True)["raw_response"] == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json here",
        "null",
        "[1, 2]",
        '{"dynamic": "x", "reasoning": {}}',
        '{"dynamic": []}',
        "{" * 5000,
        '{"a":' * 3000,
        '{"dynamic": ["a b"], "reasoning": {"a b": "cut o',
    ],
)
def test_answers_that_say_nothing(text: str) -> None:
    with pytest.raises(InvalidMessage, match="holds no"):
        parse_answer(text)


def test_the_original_takes_garbage_for_an_answer() -> None:
    said = find_json("no json here", official_compat=True)
    assert said == {"dynamic": [], "reasoning": {}, "raw_response": "no json here"} and is_valid(said)
    assert find_json("null", official_compat=True) is None
    assert find_json('x {"a": {"b": {"c": 1}}}', official_compat=True) == {"b": {"c": 1}}


def test_contents_are_made_plain_and_bounded() -> None:
    names = ["small\ndog", "small dog", 3, "", "x" * 500, *[f"thing {k}" for k in range(100)]]
    said = {"dynamic": names, "reasoning": {"small\ndog": "brown\x00 one", "thing 1": ["no"], "other": "unseen"}}
    answer = parse_answer(json.dumps(said))
    assert answer.objects[:2] == ("small dog", "small dog") and len(answer.objects) == MAX_OBJECTS
    assert len(answer.objects[2]) == 100 and answer.reasons == {"small dog": "brown one"}


def test_answers_in_files(tmp_path: Path) -> None:
    frames = [tmp_path / "rgb" / f"{number}.png" for number in range(2)]
    path = write_answer(tmp_path, "desk", EXPECTED, frames=frames, method=MODEL, seconds=1.5)
    assert path == answer_path(tmp_path, "desk") == tmp_path / "analysis" / "dynamic_objects_desk.json"
    assert read_answer(path) == EXPECTED
    facts = json.loads(path.read_text())["metadata"]
    assert facts["frame_info"][1] == {"index": 1, "filename": "1.png", "path": str(frames[1])}
    assert facts["analysis_method"] == "multi_image_sequence" and facts["total_frames_used"] == 2
    path.write_text(GOOD)
    assert read_answer(path) == EXPECTED
    path.write_text('{"dynamic": 3}')
    with pytest.raises(InvalidMessage, match="no list"):
        read_answer(path)
    with pytest.raises(InvalidMessage, match="cannot be read"):
        read_answer(tmp_path / "none.json")


# asking


def test_frames_that_are_shown() -> None:
    assert shown_frames(3) == [0, 1, 2] and shown_frames(0) == []
    assert shown_frames(26) == [int(x) for x in np.linspace(0, 25, 25)]
    assert shown_frames(101, most=3) == [0, 50, 100]


@pytest.mark.parametrize("frames", [[], [FRAMES[0][..., 0]], [FRAMES[0].astype(float)], [FRAMES[0][:0]]])
def test_frames_that_are_none(frames: list[np.ndarray]) -> None:
    with pytest.raises(InvalidImage):
        scene_question(frames)


def test_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKER_KEY", "secret")
    with endpoint(says(GOOD)) as (url, asked):
        answer = ask_for_objects(to(url, key_variable="LOOKER_KEY", parameters={"temperature": 0.1}), FRAMES)
    assert answer == EXPECTED and asked.keys == ["Bearer secret"]
    (body,) = asked.bodies
    assert body["stream"] is True and body["temperature"] == 0.1
    (message,) = body["messages"]
    kinds = [part["type"] for part in message["content"]]
    assert message["role"] == "user" and kinds == ["image_url"] * len(FRAMES) + ["text"]
    assert message["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_a_local_server_needs_no_key() -> None:
    with endpoint(says(GOOD)) as (url, asked):
        assert ask_for_objects(to(url, stream=False), FRAMES) == EXPECTED
        with pytest.raises(InvalidConfig, match="NO_SUCH_KEY"):
            ask_for_objects(to(url, key_variable="NO_SUCH_KEY"), FRAMES)
    assert asked.keys == [None] and "stream" not in asked.bodies[0]


def test_a_streamed_answer_leaves_thoughts_out() -> None:
    thought = {"reasoning_content": '{"dynamic": ["wrong thing"], "reasoning": {}}', "content": None}
    pieces = [{"content": GOOD[:20]}, {"content": ""}, {"content": GOOD[20:]}]
    usage = b'data: {"choices": [], "usage": {"total_tokens": 3}}\r\n\r\ndata: [DONE]\r\n\r\n'
    with endpoint(streams({"role": "assistant"}, thought, *pieces, end=usage)) as (url, _):
        assert ask_for_objects(to(url), FRAMES) == EXPECTED


def test_the_end_of_a_stream_may_be_a_reason() -> None:
    end = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    with endpoint(streams({"content": GOOD}, end=end)) as (url, _):
        assert ask_for_objects(to(url), FRAMES) == EXPECTED


def dropped(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


@pytest.mark.parametrize(
    "first",
    [
        streams({"content": GOOD}, end=b""),
        streams({"content": GOOD}, end=b'data: {"choices": [{"del'),
        streams({"content": GOOD}, end=b'data: {"error": {"message": "out of memory"}}\n\n'),
        sends(b"broken", 500),
        sends(b"busy", 429),
        dropped,
        says("I think something moves."),
        says('{"dynamic": "x"}'),
    ],
)
def test_what_goes_wrong_once_is_asked_again(first: Answer) -> None:
    with endpoint(first, streams({"content": GOOD})) as (url, asked):
        assert ask_for_objects(to(url), FRAMES) == EXPECTED
        assert len(asked.paths) == 2


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (sends(b"who are you?", 401), EndpointFailed, "refuses with HTTP 401"),
        (sends(b"", 302, Location="http://127.0.0.1:9/"), EndpointFailed, "HTTP 302"),
        (sends(b" " * (MAX_ANSWER + 1)), EndpointFailed, "more than"),
        (streams({"content": 3}), EndpointFailed, "is a int"),
        (sends(b'data: {"choices": [3]}\n\n'), EndpointFailed, "no choices"),
        (sends(b"broken", 503), EndpointFailed, "in 3 attempts"),
        (says("nothing moves, sorry"), InvalidMessage, "holds no"),
    ],
)
def test_what_stays_wrong(answer: Answer, error: type[Exception], reason: str) -> None:
    with endpoint(answer) as (url, _), pytest.raises(error, match=reason):
        ask_for_objects(to(url), FRAMES)


# without waiting


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.01)
    return found


def test_an_answer_comes_once_while_others_are_refused() -> None:
    gate = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        gate.wait(20.0)
        says(GOOD)(request)

    with endpoint(slow) as (url, asked):
        namer = ObjectNamer(to(url), deadline=30.0)
        assert namer.poll() is None and not namer.is_asking
        assert namer.submit(FRAMES) and namer.is_asking
        assert namer.poll() is None and not namer.submit(FRAMES)
        gate.set()
        assert until(namer.poll) == EXPECTED and namer.poll() is None
        until(lambda: not namer.is_asking)
        assert namer.submit(FRAMES) and until(namer.poll) == EXPECTED
        assert len(asked.paths) == 2
    assert namer.counters == {"asked": 2, "answered": 2, "busy": 1} and namer.problem == ""


def test_a_late_answer_is_thrown_away() -> None:
    gate = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        gate.wait(20.0)
        says(GOOD)(request)

    with endpoint(slow) as (url, _):
        namer = ObjectNamer(to(url), deadline=0.05)
        namer.submit(FRAMES)
        until(lambda: namer.poll() or namer.counters["late"])
        assert not namer.submit(FRAMES)
        gate.set()
        until(lambda: not namer.is_asking)
        assert namer.poll() is None
    assert namer.counters == {"asked": 1, "late": 1, "busy": 1} and "0.05" in namer.problem


@pytest.mark.parametrize(
    ("answer", "frames", "kind"),
    [
        (sends(b"no", 403), FRAMES, "endpoint_failed"),
        (says("garbage"), FRAMES, "invalid_message"),
        (says(GOOD), [], "invalid_image"),
        (says(GOOD), [None], "error"),
    ],
)
def test_what_goes_wrong_is_counted(answer: Answer, frames: list[Any], kind: str) -> None:
    with endpoint(answer) as (url, _):
        namer = ObjectNamer(to(url))
        namer.submit(frames)
        until(lambda: namer.poll() or namer.problem)
    assert namer.counters == {"asked": 1, kind: 1}


def test_an_endpoint_that_is_not_there_and_closing() -> None:
    with endpoint(says(GOOD)) as (url, _):
        pass
    namer = ObjectNamer(to(url, attempts=5, pause=60.0))
    namer.submit(FRAMES)
    namer.close()
    until(lambda: not namer.is_asking)
    assert namer.poll() is None and namer.counters == {"asked": 1}


# without a model


def clip(masks: np.ndarray | None, rgb: np.ndarray | None = None) -> Clip:
    shape = (5, 40, 60)
    return Clip(
        name="desk",
        rgb=np.zeros((*shape, 3), np.uint8) if rgb is None else rgb,
        stamps_ns=np.arange(5, dtype=np.int64) * 100_000_000,
        masks=masks,
    )


def test_names_by_size_speed_and_colour() -> None:
    masks, rgb = np.zeros((5, 40, 60), np.int32), np.full((5, 40, 60, 3), 90, np.uint8)
    masks[:, :20, :30] = 2
    rgb[:, :20, :30] = (200, 20, 20)
    for frame in range(5):
        masks[frame, 30:34, 10 * frame : 10 * frame + 4] = 7
        rgb[frame, 30:34, 10 * frame : 10 * frame + 4] = (20, 20, 220)
    looks = object_looks(clip(masks, rgb))
    assert object_names(looks) == {2: "large slow red object", 7: "small fast blue object"}
    assert looks[0].share == pytest.approx(0.25) and looks[0].speed == 0
    assert looks[1].speed == pytest.approx(100 / np.hypot(40, 60))
    answer = answer_without_model(looks, object_names(looks))
    assert answer.objects == ("large slow red object", "small fast blue object")
    assert "25.0 % of the image" in answer.reasons["large slow red object"]


def test_names_are_distinct() -> None:
    looks = [ObjectLook(number=k, share=0.05, speed=0.1, colour=(0.5, 0.5, 0.5)) for k in (1, 4, 9)]
    other = ObjectLook(number=5, share=0.05, speed=0.1, colour=(0.05, 0.1, 0.05))
    names = object_names([*looks, other])
    assert names[4] == "medium moving grey object 2" and names[5] == "medium moving black object"
    assert len(set(names.values())) == 4


@pytest.mark.parametrize(
    ("colour", "name"),
    [((1, 1, 0.95), "white"), ((1, 0.5, 0), "orange"), ((0, 0.8, 0), "green"), ((0.9, 0, 0.1), "red")],
)
def test_colours(colour: tuple[float, float, float], name: str) -> None:
    assert name in object_names([ObjectLook(number=1, share=0.5, speed=0.0, colour=colour)])[1]


def test_an_object_in_one_frame_and_clips_without_any() -> None:
    masks = np.zeros((5, 40, 60), np.int32)
    assert object_looks(clip(masks)) == [] and answer_without_model([], {}).objects == ()
    masks[2, :3, :3] = 1
    assert object_looks(clip(masks))[0].speed == 0
    with pytest.raises(InvalidClip, match="no masks"):
        object_looks(clip(None))
