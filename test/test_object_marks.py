"""Objects with numbers: drawn into pictures, asked about, and read from answers good and bad."""

import json
from typing import Any

import numpy as np
import pytest
from chat_rig import Asked, endpoint, says
from marks_rig import asked_numbers, find_label, looks_and_says, shown_pictures

from fourd_ros.chat_endpoint import ChatEndpoint
from fourd_ros.errors import EndpointFailed, InvalidImage, InvalidMessage
from fourd_ros.reconstruction.naming.marked_answer import parse_marked_answer
from fourd_ros.reconstruction.naming.named_objects import frames_to_show
from fourd_ros.reconstruction.naming.naming_endpoint import KEY, naming_endpoint
from fourd_ros.reconstruction.naming.object_marks import draw_marks, label_picture
from fourd_ros.reconstruction.naming.object_namer import ask_for_objects
from fourd_ros.reconstruction.naming.scene_question import marked_question


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def picture() -> np.ndarray:
    rows, columns = np.indices((240, 320))
    return np.stack([rows, columns // 2, (rows * columns) // 300], axis=-1).astype(np.uint8)


def marks() -> np.ndarray:
    numbers = np.zeros((240, 320), np.int32)
    numbers[40:120, 30:130] = 1
    numbers[40:120, 130:140] = 12
    numbers[200:206, 280:286] = 7
    numbers[:5, :5] = 3
    return numbers


# Drawing.


def test_every_object_is_outlined_and_its_number_is_on_it() -> None:
    rgb, numbers = picture(), marks()
    before = rgb.copy()
    marked = draw_marks(rgb, numbers)
    assert np.array_equal(rgb, before)
    for number in (1, 3, 7, 12):
        readable, (x, y) = find_label(marked, number)
        assert readable > 0.99
        rows, columns = np.nonzero(numbers == number)
        label = label_picture(number, size=320)
        assert columns.min() - label.shape[1] <= 320 * x <= columns.max() + label.shape[1]
        assert rows.min() - label.shape[0] <= 240 * y <= rows.max() + label.shape[0]
    changed = (marked != rgb).any(axis=-1)
    assert changed[38:40, 30:100].all() and changed[120:122, 30:130].all() and changed[40:120, 28:30].all()
    assert not changed[150:180, :].any() and not changed[50:60, 40:60].any()
    assert (
        not changed[200:206, 280:286].any() and not changed[:5, :5].any()
    )  # a small object stays visible beside its number


def test_a_number_stands_inside_its_object_where_there_is_room() -> None:
    _, (x, y) = find_label(draw_marks(picture(), marks()), 1)
    assert abs(320 * x - 80) < 15 and abs(240 * y - 80) < 8


def test_objects_that_leave_no_room_are_marked_all_the_same() -> None:
    numbers = np.arange(1, 5, dtype=np.int32).reshape(2, 2).repeat(20, axis=0).repeat(20, axis=1)
    rgb = np.full((40, 40, 3), 128, np.uint8)
    assert all(find_label(draw_marks(rgb, np.where(numbers == k, numbers, 0)), k)[0] > 0.99 for k in (1, 2, 3, 4))
    assert draw_marks(rgb, numbers).shape == rgb.shape
    tiny = draw_marks(rgb[:4, :4], np.full((4, 4), 88, np.int32))
    assert tiny.shape == (4, 4, 3) and (tiny != 128).any()
    assert np.array_equal(draw_marks(rgb, np.zeros((40, 40), np.int32)), rgb)
    with pytest.raises(InvalidImage, match="needed"):
        draw_marks(rgb, numbers[1:])


# Asking.


def test_what_is_asked_about_marked_objects() -> None:
    frames, numbers = [picture()] * 2, [np.where(marks() == 1, 1, 0), np.where(marks() > 5, marks(), 0)]
    (message,) = marked_question(frames, numbers)
    assert asked_numbers({"messages": [message]}) == [1, 7, 12]
    shown = shown_pictures({"messages": [message]})
    assert [one.shape for one in shown] == [(480, 640, 3)] * 2  # small frames are enlarged
    assert find_label(shown[0], 1)[0] > 0.9 and find_label(shown[1], 12)[0] > 0.9
    assert find_label(shown[0], 12)[0] < 0.7
    for wrong in ([], [marks()], [np.zeros((240, 320), np.int32)] * 2, [marks()[1:]] * 2):
        with pytest.raises(InvalidImage):
            marked_question(frames, wrong)


def test_the_model_names_what_it_sees_under_each_number() -> None:
    things = {
        "broad wall": (0.25, 0.33),
        "thin post": (0.42, 0.33),
        "tiny bug": (0.88, 0.85),
        "dark corner": (0.01, 0.01),
    }
    asked = Asked()
    with endpoint(looks_and_says(asked, lambda _: things), asked=asked) as (url, _):
        answer = ask_for_objects(ChatEndpoint(url=url, model="m"), [picture()], marks=[marks()])
    named = dict(zip(answer.numbers, answer.objects, strict=True))
    assert named == {1: "broad wall", 3: "dark corner", 7: "tiny bug", 12: "thin post"}
    assert answer.reasons["tiny bug"] == "It is tiny bug." and answer.unnamed == ()


def test_an_answer_that_names_none_of_the_numbers_is_asked_again() -> None:
    bad, good = (
        json.dumps({"dynamic": names, "reasoning": {}}) for names in (["red car"], ["a b", "c d", "e f", "g h"])
    )
    with endpoint(says(bad), says("hm"), says(good)) as (url, asked):
        answer = ask_for_objects(ChatEndpoint(url=url, model="m", pause=0.0), [picture()], marks=[marks()])
    assert len(asked.bodies) == 3 and answer.objects == ("a b", "c d", "e f", "g h")


def test_the_endpoint_of_the_command_and_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    assert naming_endpoint("http://127.0.0.1:1/v1", "m").key_variable == ""
    monkeypatch.setenv(KEY, "secret")
    with endpoint(says("x", status=400)) as (url, asked), pytest.raises(EndpointFailed):
        naming_endpoint(url, "m").ask([])
    assert asked.keys == ["Bearer secret"] and asked.bodies[0]["max_tokens"] > 1000


def test_every_object_is_in_a_frame_that_is_shown() -> None:
    masks = np.zeros((30, 4, 6), np.int32)
    masks[5:, 0, 0] = 1
    masks[3, 1, :2] = masks[4, 1, :4] = 2
    masks[20, 2, 0] = 9
    assert frames_to_show(masks, [6, 10]) == [4, 6, 10, 20]
    assert frames_to_show(masks, [4, 20]) == [4, 20]
    assert frames_to_show(masks, list(range(21, 30)), most=4) == [4, 20, 21, 29]
    assert frames_to_show(np.zeros((3, 4, 6), np.int32), [0, 2]) == [0, 2]


# Reading.


@pytest.mark.parametrize(
    ("dynamic", "reasoning"),
    [
        (["2: red car", "5: tall person"], {"2": "Rusty."}),
        (["5. tall person", "2. red car"], {"2: red car": "Rusty."}),
        (["[2] red car", "#5 tall person"], {"red car": "Rusty."}),
        (["Object 2: red car", "object 5 tall person"], {"RED CAR": "Rusty.", "other": "No."}),
        (["2 - red car", "(5) tall\nperson"], {"#2": "Rusty.", "5": 3}),
        (["red car", "tall person"], {"2": "Rusty."}),
        ({"5": "tall person", "2": "red car"}, {"red car": "Rusty."}),
        (["2: red car", "5: tall person", "7: grey wall", "left wall"], {"2": "Rusty."}),
    ],
)
def test_names_get_to_their_numbers(dynamic: Any, reasoning: Any) -> None:
    text = f"Well {{...}}: {json.dumps({'dynamic': dynamic, 'reasoning': reasoning})} Done."
    answer = parse_marked_answer(text, (2, 5))
    assert answer.numbers == (2, 5) and answer.objects == ("red car", "tall person")
    assert answer.reasons == {"red car": "Rusty."} and answer.unnamed == ()


@pytest.mark.parametrize("name", ["3D printer", "3-wheeled cart", "2.5 ton truck", "numbered box", "7 segments"])
def test_figures_in_names_are_no_numbers(name: str) -> None:
    answer = parse_marked_answer(json.dumps({"dynamic": [name], "reasoning": {}}), (9,))
    assert answer.objects == (name,) and answer.numbers == (9,)


@pytest.mark.parametrize(
    ("dynamic", "unnamed"),
    [
        (["1: red car"], (2, 3)),
        (["1: red car", "2: ?", "3:"], (2, 3)),
        (["red car", None, 7], (2, 3)),
        (["1: red car", "2: blue box", "2: green box"], (2, 3)),
        (["1: red car", "2: blue box", "3: Blue box"], (2, 3)),
        (["1: red car", "blue box", "4: green box"], (2, 3)),
        ({"1": "red car", "2": ["blue box"], "x": "green box", "3": ""}, (2, 3)),
    ],
)
def test_numbers_without_a_clear_name_have_none(dynamic: Any, unnamed: tuple[int, ...]) -> None:
    answer = parse_marked_answer(json.dumps({"dynamic": dynamic, "reasoning": {"1": "a", "2": "b"}}), (1, 2, 3))
    assert answer.objects == ("red car",) and answer.numbers == (1,) and answer.unnamed == unnamed
    assert answer.reasons == {"red car": "a"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("nothing moves", "holds no"),
        ('{"dynamic": "red car", "reasoning": {}}', "holds no"),
        ('{"dynamic": ["1: red car"]}', "holds no"),
        ('{"dynamic": ["red car"], "reasoning": {}}', "1 names for 2 numbers"),
        ('{"dynamic": ["a b", "c d", "e f"], "reasoning": {}}', "3 names for 2 numbers"),
        ('{"dynamic": ["same thing", "same thing"], "reasoning": {}}', "2 names for 2 numbers"),
        ('{"dynamic": ["8: red car", "9: blue box"], "reasoning": {}}', "none can be told"),
        ('{"dynamic": [], "reasoning": {}}', "0 names"),
        ('{"dynamic": {"' + "9" * 5000 + '": "red car"}, "reasoning": {}}', "1 names"),
    ],
)
def test_answers_that_name_no_number(said: str, reason: str) -> None:
    with pytest.raises(InvalidMessage, match=reason):
        parse_marked_answer(said, (1, 2))
