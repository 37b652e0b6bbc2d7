"""Objects found in videos of a camera at rest, and masks of others."""

from collections.abc import Sequence

import numpy as np
import pytest

from fourd_ros.compositional.segmentation.background_segmenter import BackgroundSegmenter
from fourd_ros.compositional.segmentation.given_masks import GivenMasks
from fourd_ros.compositional.segmentation.segmenter import Footage, SegmentedObject, make_segmenter
from fourd_ros.compositional.segmentation.support_plane import find_support
from fourd_ros.errors import InvalidClip, InvalidParameter
from fourd_ros.evaluation.video_segmentation import evaluate_segmenter, judge_video
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth

SIZE = 96
CAMERA = PinholeCamera(width=SIZE, height=SIZE, K=np.array([[90.0, 0, 47.5], [0, 90, 47.5], [0, 0, 1]]))
RED, BLUE, GREEN, GREY = (200, 30, 30), (40, 50, 200), (40, 170, 60), (120, 120, 120)
TABLE, HEIGHT = 1.0, 0.06
Tile = tuple[int, int, tuple[int, int, int], float]


def table_from_above(*tiles: Tile, table: tuple[int, int, int] = (150, 140, 110)) -> tuple[np.ndarray, np.ndarray]:
    """A picture of square things, 14 pixels wide: row, column, colour and height above the table [m]."""
    rgb = np.empty((SIZE, SIZE, 3), np.uint8)
    rgb[:] = table
    depth = np.full((SIZE, SIZE), TABLE, np.float32)
    for row, column, colour, height in sorted(tiles, key=lambda tile: tile[3]):
        place = slice(max(row, 0), row + 14), slice(max(column, 0), column + 14)
        rgb[place], depth[place] = colour, TABLE - height
    return rgb, depth


def footage(frames: Sequence[Sequence[Tile]], *, depth: bool = True) -> Footage:
    seen = [table_from_above(*tiles) for tiles in frames]
    return Footage(
        rgb=[rgb for rgb, _ in seen],
        depth=[one for _, one in seen] if depth else None,
        camera=CAMERA if depth else None,
    )


def segment(clip: Footage) -> tuple[SegmentedObject, ...]:
    return BackgroundSegmenter().segment(clip, progress=lambda share: None)


def square(row: int, column: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[row : row + 14, column : column + 14] = True
    return mask


def test_what_stands_and_what_moves_is_found_and_told_apart() -> None:
    frames = [[(10, 10, RED, HEIGHT), (60, 8 + 6 * step, BLUE, HEIGHT)] for step in range(8)]
    objects = segment(footage(frames))
    assert [one.number for one in objects] == [1, 2]
    static, moving = sorted(objects, key=lambda one: one.moves)
    assert not static.moves and moving.moves
    for step in range(8):
        np.testing.assert_array_equal(static.mask(step), square(10, 10))
        np.testing.assert_array_equal(moving.mask(step), square(60, 8 + 6 * step))


def test_a_hidden_object_keeps_its_number() -> None:
    frames = []
    for step in range(13):
        tiles = [(40, 40, RED, HEIGHT)]
        tiles += [(40, 40 - 42 + 7 * step, GREY, 0.2)] if step else []
        frames.append(tiles)
    objects = segment(footage(frames))
    red = next(one for one in objects if one.mask(0)[45, 45])
    seen = [bool(red.mask(step).any()) for step in range(13)]
    assert seen[0] and not seen[6] and seen[12]
    np.testing.assert_array_equal(red.mask(12), square(40, 40))
    assert not red.moves


def test_objects_may_appear_late() -> None:
    frames = [[(10, 10, RED, HEIGHT)]] * 5 + [[(10, 10, RED, HEIGHT), (60, 60, GREEN, HEIGHT)]] * 4
    first, second = segment(footage(frames))
    assert not second.mask(4).any()
    np.testing.assert_array_equal(second.mask(5), square(60, 60))
    assert second.moves and not first.moves


def test_depth_without_values_on_an_object_is_helped_by_colour() -> None:
    clip = footage([[(30, 30, RED, HEIGHT)]] * 3)
    assert clip.depth is not None
    for depth in clip.depth:
        depth[30:44, 30:37] = np.nan
        depth[70:90, 70:90] = np.nan
    (red,) = segment(clip)
    np.testing.assert_array_equal(red.mask(1), square(30, 30))


def test_without_depth_only_motion_is_seen() -> None:
    frames = [[(10, 10, RED, HEIGHT), (60, 2 + 9 * step, BLUE, HEIGHT)] for step in range(9)]
    (blue,) = segment(footage(frames, depth=False))
    assert blue.moves
    overlap = [(blue.mask(step) & square(60, 2 + 9 * step)).sum() / 14**2 for step in range(9)]
    assert min(overlap) > 0.8


def test_an_empty_table_has_no_objects() -> None:
    assert segment(footage([[]] * 3)) == ()


def test_depth_needs_a_calibration_and_a_plane() -> None:
    clip = footage([[]] * 2)
    with pytest.raises(InvalidClip, match="calibration"):
        segment(Footage(rgb=clip.rgb, depth=clip.depth))
    nothing = [np.full((SIZE, SIZE), np.nan, np.float32)] * 2
    with pytest.raises(InvalidClip, match="no plane"):
        segment(Footage(rgb=clip.rgb, depth=nothing, camera=CAMERA))


def test_the_plane_is_that_of_most_pixels_whatever_stands_on_it() -> None:
    _, depth = table_from_above(*[(row, column, RED, 0.1) for row in (5, 40) for column in (5, 40, 70)])
    plane = find_support(points_from_depth(depth, CAMERA))
    assert plane is not None
    np.testing.assert_allclose(plane.normal, (0, 0, -1), atol=1e-6)
    assert plane.offset == pytest.approx(TABLE)
    assert plane.stands_on(points_from_depth(depth, CAMERA)).sum() == 6 * 14**2


def numbers(*, frames: int = 3, height: int = 40, width: int = 60) -> np.ndarray:
    found = np.zeros((frames, height, width), np.int32)
    found[:, 5:15, 5:15] = 12
    found[1:, 20:30, 20:30] = 3
    return found


def blank(size: int = 60, frames: int = 3) -> Footage:
    return Footage(rgb=[np.zeros((size, size, 3), np.uint8)] * frames, source_size=(40, 60))


def given(masks: GivenMasks, clip: Footage | None = None) -> tuple[SegmentedObject, ...]:
    return masks.segment(clip or blank(), progress=lambda share: None)


def test_given_masks_keep_their_numbers_and_are_padded_as_frames_are() -> None:
    small, large = given(GivenMasks(moving=numbers(), labels={12: "ball"}))
    assert (small.number, large.number, large.label) == (3, 12, "ball")
    assert not small.mask(0).any() and small.mask(1).sum() == 100
    assert large.mask(0)[15:25, 5:15].all() and large.mask(0).sum() == 100
    (_, scaled) = given(GivenMasks(moving=numbers()), blank(size=120))
    assert scaled.mask(0).sum() == 400
    kept = np.zeros((3, 60, 60), np.uint8)
    kept[:, 1, 2] = 1
    assert given(GivenMasks(static=kept))[0].mask(2)[1, 2]


def test_given_masks_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(InvalidClip, match="no masks"):
        GivenMasks()
    with pytest.raises(InvalidClip, match="numbers from 0"):
        GivenMasks(moving=numbers().astype(np.float32))
    with pytest.raises(InvalidClip, match="numbers from 0"):
        GivenMasks(moving=-numbers())
    with pytest.raises(InvalidClip, match="objects \\[3, 12\\]"):
        GivenMasks(moving=numbers(), static=numbers())
    with pytest.raises(InvalidClip, match="overlap"):
        given(GivenMasks(moving=numbers(), static=(numbers() > 0).astype(np.int32)))
    with pytest.raises(InvalidClip, match="empty in all frames"):
        given(GivenMasks(moving=numbers() * 0))
    with pytest.raises(InvalidClip, match="masks of 2 frames"):
        given(GivenMasks(moving=numbers(frames=2)))
    with pytest.raises(InvalidClip, match="masks have 61 x 40 pixels"):
        given(GivenMasks(moving=numbers(width=61)))
    with pytest.raises(InvalidClip, match="1 to 999"):
        given(GivenMasks(moving=(numbers() == 3) * 1000))


def test_segmenters_are_made_by_name() -> None:
    assert isinstance(make_segmenter("background", {"least_frames": 3}), BackgroundSegmenter)
    with pytest.raises(InvalidParameter, match="not registered"):
        make_segmenter("foreground", {})
    with pytest.raises(InvalidParameter, match="most_frames"):
        make_segmenter("background", {"most_frames": 3})
    with pytest.raises(InvalidParameter, match="least_share"):
        make_segmenter("background", {"least_share": 2.0})


def test_found_objects_are_judged_beside_those_that_are_there() -> None:
    there = np.zeros((3, 20, 20), np.uint8)
    there[:, 2:8, 2:8], there[:, 12:18, 2:8], there[0, 0, 19] = 1, 2, 3
    half, false = np.zeros((2, 3, 20, 20), bool)
    half[:, 2:8, 2:5], false[:, 15, 15] = True, True
    found = tuple(
        SegmentedObject(number=number, label="", moves=True, masks=masks)
        for number, masks in ((1, false), (2, there == 2), (3, half))
    )
    score = judge_video(found, there, {1: False, 2: True, 3: False})
    assert [thing.iou for thing in score.things] == [0.5, 1.0]
    assert [(thing.moves, thing.moves_found) for thing in score.things] == [(False, True), (True, True)]
    assert score.others == 1
    nothing = judge_video((), there, {1: False})
    assert nothing.things[0].iou == 0 and nothing.things[0].moves_found is None


def test_things_on_a_simulated_table_are_found() -> None:
    (score,) = evaluate_segmenter(BackgroundSegmenter(), videos=1, size=96, frames=4, robot=False, noisy=False)
    assert sorted(thing.iou for thing in score.things)[-2] > 0.9
