"""A camera's stream live: views, metres, memory that does not grow, and things that texts mean over time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from language_rig import SEEN, camera, picture, small_model

from fourd_ros.errors import InvalidCamera, InvalidImage, InvalidModel, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts, rotation_about
from fourd_ros.scene_language.camera_view import CameraView
from fourd_ros.scene_language.found_things import joined, sightings
from fourd_ros.scene_language.frame_memory import FrameMemory
from fourd_ros.scene_language.live_language import LiveFrame, LiveLanguage
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.running_scale import RunningScale
from fourd_ros.scene_language.token_cache import CachePolicy, KeepBudget, KeepWindow

NS = 1_000_000_000


@pytest.mark.parametrize(("width", "height"), [(640, 480), (80, 60), (50, 120)])
def test_a_pixel_of_the_network_shows_the_same_ray_as_the_pixel_it_was(width: int, height: int) -> None:
    whole = camera(width=width, height=height, focal=0.9 * width)
    view = CameraView.of(whole, side=140)
    assert view.seen.width == 140 and view.seen.height % 14 == 0 and view.seen.height <= 140
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    for axis, shown in ((0, columns), (1, rows)):
        ray = (view.seen_of(shown) - whole.K[axis, 2]) / whole.K[axis, axis]
        x, y = np.meshgrid(np.arange(view.seen.width), np.arange(view.seen.height))
        wanted = ((x, y)[axis] - view.seen.K[axis, 2]) / view.seen.K[axis, axis]
        assert np.abs(ray - wanted).max() <= 0.51 / whole.K[axis, axis]
    mask = np.zeros((view.seen.height, view.seen.width), bool)
    mask[20:60, 30:70] = True
    back = view.image_of(mask)
    assert back.shape == (height, width)
    assert back.mean() * height * width == pytest.approx(mask.sum() * _area(whole) / _area(view.seen), rel=0.1)
    everything = view.image_of(np.ones_like(mask))
    assert everything.all() == (height <= width) and everything[height // 2].all()


def _area(one: PinholeCamera) -> float:
    return float(one.K[0, 0] * one.K[1, 1])


def test_views_refuse_what_is_not_of_their_camera() -> None:
    view = CameraView.of(camera(), side=56)
    with pytest.raises(InvalidImage, match="40 x 30"):
        view.prepared(picture(0, width=40, height=30))
    with pytest.raises(InvalidImage, match=r"\[30, 40\]"):
        view.seen_of(np.zeros((30, 40), np.float32))
    with pytest.raises(InvalidImage, match="8-bit"):
        view.prepared(np.zeros((60, 80, 3), np.uint16))
    with pytest.raises(InvalidCamera, match="rectify"):
        CameraView.of(replace(camera(), distortion=np.array([0.1, 0, 0, 0])), side=56)
    with pytest.raises(InvalidParameter, match="14"):
        CameraView.of(camera(), side=50)


@pytest.fixture(scope="module")
def model() -> SceneLanguage:
    return small_model()


def test_the_first_camera_is_the_world_and_pixels_lie_on_their_rays(model: SceneLanguage) -> None:
    live = LiveLanguage(model)
    first, second = (live.add(k * NS, picture(k), camera=camera()) for k in range(2))
    np.testing.assert_allclose(first.T_world_camera, np.eye(4), atol=1e-12)
    assert not np.allclose(second.T_world_camera, np.eye(4), atol=1e-3)
    for frame in (first, second):
        assert frame.depth.shape == frame.confidence.shape == SEEN and frame.rgb.shape == (*SEEN, 3)
        assert frame.features is not None and frame.features.shape[-2:] == SEEN
        local = np.linalg.inv(frame.T_world_camera) @ np.append(frame.points()[10, 20], 1)
        np.testing.assert_allclose(local[2], frame.depth[10, 20], rtol=1e-3)
        np.testing.assert_allclose(frame.camera.project(local[:3]), [20, 10], atol=1e-2)
    assert live.frames == 2 and not live.scale.is_known


def test_without_calibration_the_network_says_the_field_of_view(model: SceneLanguage) -> None:
    live = LiveLanguage(model)
    guessed = live.add(0, picture(0))
    assert not guessed.view.calibrated and guessed.camera.K[0, 2] == SEEN[1] / 2
    known = LiveLanguage(model).add(0, picture(0), camera=camera())
    assert known.camera == known.view.seen != guessed.camera
    np.testing.assert_allclose(known.depth, guessed.depth)


@pytest.mark.parametrize("angle", [0.0, 4.0])
def test_angles_that_are_no_field_of_view_need_a_calibration(angle: float) -> None:
    blind = SceneLanguage(small_model().geometry)
    head = blind.geometry.camera_head
    assert head is not None
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(head.pose_branch.fc2.bias, angle / head.iterations)
    with pytest.raises(InvalidCamera, match="camera_info"):
        LiveLanguage(blind).add(0, picture(0))
    assert LiveLanguage(blind).add(0, picture(0), camera=camera()).view.calibrated


def test_another_size_or_camera_begins_anew_and_an_error_too(model: SceneLanguage) -> None:
    live = LiveLanguage(model)
    for number in range(3):
        live.add(number, picture(number), camera=camera())
    assert live.continues(80, 60, camera()) and not live.continues(60, 80, None)
    live.add(3, picture(3, width=60, height=60), camera=camera(width=60, height=60))
    assert (live.frames, live.restarts) == (1, 1)
    moved = live.add(4, picture(4, width=60, height=60), camera=camera(width=60, height=60, focal=70))
    assert (live.frames, live.restarts) == (1, 2)
    np.testing.assert_allclose(moved.T_world_camera, np.eye(4), atol=1e-12)
    with pytest.raises(InvalidImage):
        live.add(5, picture(5), camera=camera(width=60, height=60))
    again = live.add(6, picture(4, width=60, height=60), camera=camera(width=60, height=60, focal=70))
    np.testing.assert_allclose(again.depth, moved.depth)


def test_language_comes_as_often_as_it_is_wanted(model: SceneLanguage) -> None:
    live = LiveLanguage(model, language_period=0.5)
    with_language = [live.add(k * NS // 5, picture(k), camera=camera()).features is not None for k in range(8)]
    assert with_language == [True, False, False, True, False, False, True, False]
    silent = LiveLanguage(SceneLanguage(model.geometry))
    assert silent.add(0, picture(0)).features is None
    with pytest.raises(InvalidParameter, match="-1"):
        LiveLanguage(model, language_period=-1)


def test_metres_come_from_depth_or_places_and_go_with_the_stream(model: SceneLanguage) -> None:
    live = LiveLanguage(model, assumed_scale=7.0)
    first = live.add(0, picture(0), camera=camera())
    assert (live.scale.metres, live.scale.source) == (7.0, "assumed")
    measured = 3.0 * first.view.image_of(np.ones(SEEN, bool))
    for number in range(1, 4):
        frame = live.add(number, picture(number), camera=camera(), depth=measured, T_root_camera=np.eye(4))
    assert live.scale.source == "depth"
    assert live.scale.metres == pytest.approx(3.0 / np.median(frame.depth), rel=0.3)
    live.restart()
    assert live.scale.source == "assumed"
    with pytest.raises(InvalidParameter, match="scale"):
        LiveLanguage(model, assumed_scale=float("nan"))


def test_places_tell_metres_where_there_is_no_depth() -> None:
    scale = RunningScale()
    assert not scale.now.is_known
    rng = np.random.default_rng(0)
    T_root_world = from_parts(rotation_about((0, 0, 1), 0.7), [1.0, 2.0, 3.0])
    for number in range(200):
        T_world_camera = from_parts(
            rotation_about((0, 1, 0), 0.01 * number), rng.normal(size=3) if number else [0, 0, 0]
        )
        metric = T_world_camera.copy()
        metric[:3, 3] *= 2.5
        scale.see_place(np.linalg.inv(T_world_camera), T_root_world @ metric)
    assert scale.now.source == "baselines" and scale.now.metres == pytest.approx(2.5)
    scale.see_depth(np.ones((20, 20)), np.full((20, 20), np.nan))
    assert scale.now.source == "baselines"
    scale.see_depth(np.ones((20, 20)), np.full((20, 20), 4.0))
    assert scale.now.source == "depth" and scale.now.metres == pytest.approx(4.0)
    scale.forget()
    assert not scale.now.is_known


@pytest.mark.parametrize("policy", [KeepWindow(frames=3), KeepBudget(tokens=40)])
def test_hundreds_of_frames_take_no_more_memory_than_some(model: SceneLanguage, policy: CachePolicy) -> None:
    live, memory = LiveLanguage(model, policy=policy, language_period=1.0), FrameMemory(max_bytes=600_000)
    taken = []
    for number in range(120):
        frame = live.add(number * NS // 2, picture(number % 7), camera=camera(), T_root_camera=np.eye(4))
        if frame.features is not None:
            memory.add(frame)
        taken.append((live.byte_count, len(memory), memory.byte_count, len(live._scale._later)))
    stream, remembered, held, places = zip(*taken, strict=True)
    assert len(set(stream[30:])) == 1 and len(set(remembered[30:])) == 1 and len(set(held[30:])) == 1
    assert max(held) <= 600_000 and 1 < remembered[-1] < 60 and max(places) == 100
    assert live.frames == 120


def blank(stamp_ns: int, *, depth: float = 2.0) -> LiveFrame:
    """A frame whose camera stands in the world's origin before a wall."""
    view = CameraView.of(camera(), side=56)
    return LiveFrame(
        stamp_ns=stamp_ns,
        view=view,
        camera=view.seen,
        rgb=np.zeros((*SEEN, 3), np.uint8),
        T_world_camera=np.eye(4),
        depth=np.full(SEEN, depth, np.float32),
        confidence=np.ones(SEEN, np.float32),
        features=torch.zeros(3, 4, *SEEN, dtype=torch.float16),
    )


def test_memory_answers_by_time_and_forgets_the_oldest() -> None:
    one = blank(0).byte_count
    memory = FrameMemory(max_bytes=10 * one)
    assert memory.newest() is None and memory.between(0, NS, most=3) == []
    for stamp in range(15):
        memory.add(blank(stamp))
    assert len(memory) == 10 and memory.byte_count == 10 * one
    assert [frame.stamp_ns for frame in memory.between(0, 100, most=100)] == list(range(14, 4, -1))
    assert [frame.stamp_ns for frame in memory.between(6, 8, most=100)] == [8, 7, 6]
    assert [frame.stamp_ns for frame in memory.between(0, 100, most=4)] == [14, 11, 8, 5]
    assert [frame.stamp_ns for frame in memory.between(0, 100, most=1)] == [14]
    memory.clear()
    assert len(memory) == 0
    tiny = FrameMemory(max_bytes=0)
    tiny.add(blank(1))
    tiny.add(blank(2))
    assert [frame.stamp_ns for frame in tiny.between(0, 9, most=9)] == [2]
    with pytest.raises(InvalidParameter):
        FrameMemory(max_bytes=-1)


def box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SEEN, bool)
    mask[rows, columns] = True
    return mask


def test_what_hangs_together_is_one_thing_and_specks_are_none() -> None:
    relevancy = np.full(SEEN, 0.6)
    relevancy[5:10, 5:10] = 0.9
    mask = box(slice(4, 12), slice(4, 12)) | box(slice(20, 30), slice(30, 44)) | box(slice(38, 39), slice(2, 4))
    found = sightings(blank(0), mask, relevancy, place=LiveFrame.points, limit=0.5)
    assert [one.relevancy for one in found] == [0.9, 0.6]
    assert [int(one.mask.sum()) for one in found] == [64, 140]
    assert found[0].centre[2] == pytest.approx(2.0) and found[0].centre[0] < 0 < found[1].centre[0]
    assert found[1].size[0] > found[1].size[1] > 0
    assert len(found[0].points) == len(found[0].rgb) == 64
    assert len(sightings(blank(0), mask, relevancy, place=LiveFrame.points, limit=0.7)) == 1
    assert sightings(blank(0), np.zeros(SEEN, bool), relevancy, place=LiveFrame.points, limit=0.0) == []


def test_sightings_of_several_frames_are_put_together_by_place() -> None:
    chains: list = []
    for age in range(5):  # the newest first: one thing stands, one came from the right, one was there early
        masks = [box(slice(4, 12), slice(4, 12)), box(slice(20, 30), slice(20 + 4 * age, 30 + 4 * age))]
        masks += [box(slice(34, 40), slice(2, 12))] if age == 4 else []
        relevancy = np.full(SEEN, 0.6 + 0.05 * age)
        seen = sightings(blank(100 - age), np.any(masks, axis=0), relevancy, place=LiveFrame.points, limit=0.5)
        chains = joined(chains, seen)
    assert sorted((one.frames, one.moved) for one in chains) == [(1, False), (5, False), (5, True)]
    moved = next(one for one in chains if one.moved)
    assert (moved.last.frame.stamp_ns, moved.first.frame.stamp_ns) == (100, 96)
    assert moved.relevancy == pytest.approx(0.8)


def test_a_network_without_depth_is_refused(model: SceneLanguage) -> None:
    head, model.geometry.depth_head = model.geometry.depth_head, None
    try:
        with pytest.raises(InvalidModel, match="depth"):
            LiveLanguage(model)
    finally:
        model.geometry.depth_head = head
