"""Objects before a live camera and the model that names them: right names, and no harm by models that fail."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest
from chat_rig import Answer, Asked, endpoint, says, sends
from live_rig import NAMES, Stream, stream
from marks_rig import asked_numbers, looks_and_says, shown_pictures

from fourd_ros.chat_endpoint import ChatEndpoint
from fourd_ros.reconstruction.live.live_naming import KEPT, TRIES, LiveNaming
from fourd_ros.reconstruction.live.live_reconstruction import LiveFrame, LiveReconstruction
from fourd_ros.reconstruction.naming.object_namer import ObjectNamer

FRAMES = 30


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def played() -> tuple[Stream, list[LiveFrame]]:
    """A stream with two boxes that move, and what each frame says without a model."""
    seen = stream(FRAMES, moving=2, seed=4)
    scene = LiveReconstruction(seen.camera)
    told = [scene.add(seen.stamp(k), seen.rgb[k], seen.depth[k], seen.masks[k]) for k in range(FRAMES)]
    assert all(told) and len(told[-1].objects) == 2  # type: ignore[union-attr]
    return seen, told  # type: ignore[return-value]


def naming_to(url: str, *, period: float = 0.0, deadline: float = 30.0) -> LiveNaming:
    return LiveNaming(ObjectNamer(ChatEndpoint(url=url, model="m", pause=0.0), deadline=deadline), period=period)


def show(naming: LiveNaming, played: tuple[Stream, list[LiveFrame]], until: Callable[[], Any]) -> LiveFrame:
    """All frames, then the last one until something has happened."""
    seen, told = played
    for frame, rgb in zip(told, seen.rgb, strict=True):
        naming.name(frame, rgb)
    return stay(naming, seen, told[-1], until)


def stay(naming: LiveNaming, seen: Stream, last: LiveFrame, until: Callable[[], Any]) -> LiveFrame:
    """The last frame again and again until something has happened."""
    end = time.monotonic() + 20
    while True:
        shown = naming.name(last, seen.rgb[-1])
        if until():
            return shown
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def rest(naming: LiveNaming, played: tuple[Stream, list[LiveFrame]]) -> LiveFrame:
    """The last frame once more, many times."""
    seen, told = played
    return [naming.name(told[-1], seen.rgb[-1]) for _ in range(20)][-1]


def truth(played: tuple[Stream, list[LiveFrame]]) -> dict[int, str]:
    """What the objects are, by number, from where their points are."""
    seen, told = played
    places = [
        (frame, one.number, np.median(one.points, axis=0).astype(np.float64))
        for frame, what in enumerate(told)
        for one in what.objects
        if len(one.points)
    ]
    return {number: seen.name_of(frame, place) for frame, number, place in places}


def looks(frame: LiveFrame) -> list[str]:
    return [one.name for one in frame.objects]


def test_each_object_gets_the_name_of_what_it_is(played: Any) -> None:
    seen, told = played
    asked = Asked()
    with endpoint(looks_and_says(asked, seen.things), asked=asked) as (url, _):
        naming = naming_to(url)
        shown = show(naming, played, lambda: naming.named == 2)
        assert {one.number: one.name for one in shown.objects} == truth(played)
        assert set(looks(shown)) == set(NAMES[:2])
        before = len(asked.bodies)
        assert looks(rest(naming, played)) == looks(shown)
    assert len(asked.bodies) == before == 1  # who has a name is not asked for again
    assert asked_numbers(asked.bodies[0]) == [one.number for one in shown.objects]
    assert 2 <= len(shown_pictures(asked.bodies[0])) <= KEPT
    assert naming.counters == {"asked": 1, "answered": 1} and not naming.problem
    assert all(one.points is other.points for one, other in zip(shown.objects, told[-1].objects, strict=True))
    naming.clear()
    assert looks(naming.name(told[-1], seen.rgb[-1])) == looks(told[-1])


def test_an_object_that_is_found_by_its_motion_is_named_where_its_points_are() -> None:
    seen, asked = stream(), Asked()
    scene = LiveReconstruction(seen.camera)
    model = looks_and_says(asked, lambda picture: {**seen.things(picture), "bare wall": (0.05, 0.05)})
    with endpoint(model, asked=asked) as (url, _):
        naming = naming_to(url)
        for frame in range(len(seen)):
            told = scene.add(seen.stamp(frame), seen.rgb[frame], seen.depth[frame])
            assert told is not None
            naming.name(told, seen.rgb[frame])
        shown = stay(naming, seen, told, lambda: naming.named == 1)
    assert looks(shown) == [NAMES[0]]


def test_a_slow_model_is_not_waited_for(played: Any) -> None:
    seen, told = played
    gate = threading.Event()
    asked = Asked()
    right = looks_and_says(asked, seen.things)

    def slow(request: BaseHTTPRequestHandler) -> None:
        gate.wait(20.0)
        right(request)

    with endpoint(slow, asked=asked) as (url, _):
        naming = naming_to(url)
        assert looks(show(naming, played, lambda: len(asked.bodies) == 1)) == looks(told[-1])
        gate.set()
        assert set(looks(show(naming, played, lambda: naming.named == 2))) == set(NAMES[:2])
    assert naming.counters == {"asked": 1, "answered": 1}


def test_an_answer_for_what_is_forgotten_is_thrown_away(played: Any) -> None:
    gate = threading.Event()
    asked = Asked()

    def slow(request: BaseHTTPRequestHandler) -> None:
        gate.wait(20.0)
        says(json.dumps({"dynamic": ["old thing", "odd thing"], "reasoning": {}}))(request)

    with endpoint(slow, asked=asked) as (url, _):
        naming = naming_to(url, period=1000.0)
        show(naming, played, lambda: len(asked.bodies) == 1)
        naming.clear()
        gate.set()
        shown = show(naming, played, lambda: not naming._namer.is_asking)
    assert looks(shown) == looks(played[1][-1]) and naming.named == 0


@pytest.mark.parametrize(
    ("answer", "kind", "most"),
    [
        (says("I see a lot."), "invalid_message", TRIES),
        (says('{"dynamic": ["a b", "c d", "e f"], "reasoning": {}}'), "invalid_message", TRIES),
        (sends(b"no", 403), "endpoint_failed", None),
    ],
)
def test_models_that_fail_leave_the_names_by_look(played: Any, answer: Answer, kind: str, most: int | None) -> None:
    with endpoint(answer) as (url, _):
        naming = naming_to(url)
        shown = show(naming, played, lambda: naming.counters.get(kind, 0) == (most or 4))
        shown = rest(naming, played)
        assert looks(shown) == looks(played[1][-1]) and naming.problem.startswith(kind)
        assert most is None or naming.counters["asked"] == most  # garbage is not asked for again and again


def test_a_late_model_and_none_at_all(played: Any) -> None:
    gate = threading.Event()
    with endpoint(lambda request: gate.wait(20.0) and None) as (url, _):
        naming = naming_to(url, deadline=0.05)
        assert looks(show(naming, played, lambda: naming.counters.get("late"))) == looks(played[1][-1])
        gate.set()
    naming = naming_to(url)
    assert looks(show(naming, played, lambda: naming.counters.get("endpoint_failed"))) == looks(played[1][-1])


def test_an_object_that_stays_without_name_is_asked_for_a_few_times(played: Any) -> None:
    with endpoint(says('{"dynamic": ["1: red box"], "reasoning": {}}')) as (url, asked):
        naming = naming_to(url)
        show(naming, played, lambda: naming.counters.get("unnamed") == TRIES)
        shown = rest(naming, played)
    other = next(one for one in played[1][-1].objects if one.number == 2)
    assert {one.number: one.name for one in shown.objects} == {1: "red box", 2: other.name}
    assert len(asked.bodies) == TRIES


def test_questions_keep_their_distance(played: Any) -> None:
    with endpoint(sends(b"no", 403)) as (url, asked):
        naming = naming_to(url, period=1000.0)
        show(naming, played, lambda: naming.counters.get("endpoint_failed"))
        rest(naming, played)
    assert len(asked.bodies) == 1
