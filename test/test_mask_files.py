"""Masks of moving objects: numbers, colours, and files of DynamicVerse's layout and of others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image

from fourd_ros.data.video import describe
from fourd_ros.errors import InvalidClip
from fourd_ros.reconstruction.masks.instance_map import (
    MAX_OBJECTS,
    SET3,
    instance_map,
    numbers_of,
    overlay,
    paint,
    palette,
)
from fourd_ros.reconstruction.masks.mask_files import (
    find_masks,
    is_segmented,
    read_labels,
    read_masks,
    write_segmentation,
)

FRAMES, HEIGHT, WIDTH = 3, 8, 10


def masks(count: int = 2) -> np.ndarray:
    """Object k is a stripe that moves one row a frame."""
    numbers = np.zeros((FRAMES, HEIGHT, WIDTH), np.int32)
    for frame in range(FRAMES):
        for k in range(count):
            numbers[frame, (frame + k) % HEIGHT, k % WIDTH] = k + 1
    return numbers


def rgb() -> np.ndarray:
    frame, row, column = np.mgrid[0:FRAMES, 0:HEIGHT, 0:WIDTH]
    return np.stack([40 * frame + 9 * row, 7 * column + 60, 200 - 5 * row], axis=-1).astype(np.uint8)


def read(path: Path) -> np.ndarray:
    return read_masks(path, frames=FRAMES, width=WIDTH, height=HEIGHT)


def test_numbers_stay_with_their_object_where_a_mask_ends_early() -> None:
    first, second, third = (np.zeros((FRAMES, 2, 6), bool) for _ in range(3))
    first[:, 0, 0], second[:, 0, 2], third[:, 0, 4] = True, True, True
    stable, owners = instance_map([first, second[:1], third], frames=FRAMES)
    np.testing.assert_array_equal(stable[:, 0], [[1, 0, 2, 0, 3, 0], [1, 0, 0, 0, 3, 0], [1, 0, 0, 0, 3, 0]])
    assert owners == {1: 0, 2: 1, 3: 2}
    shifted, owners = instance_map([first, second[:1], third], frames=FRAMES, official_compat=True)
    np.testing.assert_array_equal(shifted[:, 0], [[1, 0, 2, 0, 3, 0], [1, 0, 0, 0, 2, 0], [1, 0, 0, 0, 2, 0]])
    assert owners == {1: 0, 2: 2, 3: 2}


def test_later_objects_lie_above_and_soft_masks_have_a_threshold() -> None:
    numbers, _ = instance_map([np.full((1, 1, 2), 0.6), np.array([[[0.5, 0.7]]])], frames=1)
    np.testing.assert_array_equal(numbers, [[[1, 2]]])


@pytest.mark.parametrize(
    "wrong", [[], [np.ones((1, 2, 2)), np.ones((1, 2, 3))], [np.ones((3, 2, 2))], [np.ones((2, 2))]]
)
def test_masks_that_do_not_fit(wrong: list[Any]) -> None:
    with pytest.raises(InvalidClip):
        instance_map(wrong, frames=2)


def test_every_object_has_its_own_colour() -> None:
    colours = palette(MAX_OBJECTS)
    assert len(np.unique(colours, axis=0)) == MAX_OBJECTS and colours.max(axis=1).min() > 0
    np.testing.assert_array_equal(colours[:12], SET3)
    numbers = np.arange(MAX_OBJECTS + 1, dtype=np.int32)[None]
    np.testing.assert_array_equal(numbers_of(paint(numbers, colours)), numbers)
    with pytest.raises(InvalidClip, match="at most 60"):
        palette(MAX_OBJECTS + 1)
    with pytest.raises(InvalidClip, match="colours for 1 to 2"):
        paint(np.array([[3]], np.int32), palette(2))


def test_the_original_merges_objects_beyond_twelve() -> None:
    for count in (13, 17, 40):
        colours = palette(count, official_compat=True)
        sampled = matplotlib.colormaps["Set3"](np.linspace(0, 1, count))[:, :3]
        np.testing.assert_array_equal(colours, (sampled * 255).astype(np.uint8))
        assert len(np.unique(colours, axis=0)) <= 12


def test_colours_of_others_are_numbered_by_their_code() -> None:
    picture = np.array([[[0, 0, 0], [0, 0, 128], [128, 0, 0], [0, 128, 0]]], np.uint8)
    np.testing.assert_array_equal(numbers_of(picture), [[0, 3, 1, 2]])
    noise = np.random.default_rng(0).integers(0, 255, (30, 30, 3), np.uint8)
    with pytest.raises(InvalidClip, match="compressed"):
        numbers_of(noise)


def test_an_overlay_truncates() -> None:
    image = np.full((1, 2, 3), 101, np.uint8)
    mixed = overlay(image, np.array([[0, 1]], np.int32), palette(1))
    np.testing.assert_array_equal(mixed, [[[101] * 3, [int(0.6 * c + 0.4 * 101) for c in SET3[0]]]])


def test_the_layout_of_the_original(tmp_path: Path) -> None:
    write_segmentation(tmp_path, rgb=rgb(), masks=masks(), labels={1: "tall person", 2: "small dog"}, rate=10)
    kinds = {"original": "jpg", "masks": "png", "overlay": "jpg", "segmented": "jpg"}
    expected = {f"frames/{kind}/frame_{n:05d}.{end}" for kind, end in kinds.items() for n in range(FRAMES)}
    expected |= {f"videos/{kind}.mp4" for kind in kinds} | {"instance_labels.json", "result_summary.json"}
    folder = tmp_path / "segmentation"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == expected
    assert is_segmented(tmp_path) and read_labels(tmp_path) == {1: "tall person", 2: "small dog"}
    summary = json.loads((folder / "result_summary.json").read_text())
    assert summary["total_instances"] == 2 and summary["video_fps"] == 10
    assert summary["output_structure"]["videos"]["masks"] == f"{folder}/videos/masks.mp4"
    found = find_masks(tmp_path)
    assert found == tmp_path / "qwen" / "Annotations"
    np.testing.assert_array_equal(read(found), masks())
    np.testing.assert_array_equal(read(folder / "frames" / "masks"), masks())
    kept = cv2.imread(str(folder / "frames" / "original" / "frame_00001.jpg"))[..., ::-1]
    assert np.abs(kept.astype(int) - rgb()[1]).mean() < 3
    film = describe(folder / "videos" / "overlay.mp4")
    assert (film["video.width"], film["video.height"], film["video.fps"]) == (WIDTH, HEIGHT, 10)


@pytest.mark.parametrize("count", [12, 13, 20])
def test_many_objects_come_back(tmp_path: Path, count: int) -> None:
    numbers = masks(count)
    write_segmentation(tmp_path, rgb=rgb(), masks=numbers, labels={})
    np.testing.assert_array_equal(read(tmp_path / "qwen" / "Annotations"), numbers)


def test_odd_sizes_have_videos_too(tmp_path: Path) -> None:
    write_segmentation(tmp_path, rgb=rgb()[:, :7, :9], masks=masks()[:, :7, :9], labels={1: "thing"})
    assert describe(tmp_path / "segmentation" / "videos" / "masks.mp4")["video.width"] == 9


def test_a_scene_without_masks(tmp_path: Path) -> None:
    assert find_masks(tmp_path) is None and not is_segmented(tmp_path)
    with pytest.raises(InvalidClip, match="cannot be read"):
        read_labels(tmp_path)
    (tmp_path / "segmentation").mkdir()
    (tmp_path / "segmentation" / "instance_labels.json").write_text('{"one": "x"}')
    with pytest.raises(InvalidClip, match="by number"):
        read_labels(tmp_path)
    with pytest.raises(InvalidClip, match="masks of"):
        write_segmentation(tmp_path, rgb=rgb(), masks=masks()[:2], labels={})


def pictures(mode: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        for frame, mask in enumerate(masks()):
            image = Image.fromarray(mask.astype(np.uint16 if mode == "I;16" else np.uint8))
            if mode == "P":
                image.putpalette([k * 7 % 256 for k in range(768)])
            image.save(folder / f"{frame}.png")
        return folder

    return write


def frame_arrays(folder: Path) -> Path:
    for frame, mask in enumerate(masks()):
        np.save(folder / f"{frame}.npy", mask.astype(np.uint8))
    return folder


def one_array(folder: Path) -> Path:
    np.save(folder / "masks.npy", masks())
    return folder / "masks.npy"


@pytest.mark.parametrize("write", [pictures("L"), pictures("I;16"), pictures("P"), frame_arrays, one_array])
def test_masks_of_others(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    np.testing.assert_array_equal(read(write(tmp_path)), masks())


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "2.npy").unlink(), "of 2 frames"),
        (lambda folder: np.save(folder / "1.npy", np.zeros((2, 2), int)), "needed is 8 x 10"),
        (lambda folder: np.save(folder / "1.npy", np.full((HEIGHT, WIDTH), 0.5)), "whole numbers"),
        (lambda folder: np.save(folder / "1.npy", np.full((HEIGHT, WIDTH), -1)), "from 1"),
        (lambda folder: np.save(folder / "1.npy", np.array([None]), allow_pickle=True), "no readable array"),
        (lambda folder: (folder / "1.npy").write_bytes(b""), "no readable array"),
        (lambda folder: ((folder / "1.npy").unlink(), (folder / "1.png").write_bytes(b"x")), "no readable PNG"),
        (lambda folder: ((folder / "1.npy").unlink(), Image.new("L", (9, 9)).save(folder / "1.png")), "9 x 9 pixels"),
        (lambda folder: ((folder / "1.npy").unlink(), Image.new("LA", (10, 8)).save(folder / "1.png")), "pixels 'LA'"),
        (
            lambda folder: ((folder / "1.npy").unlink(), Image.new("RGB", (10, 8)).save(folder / "1.png")),
            "alike in all",
        ),
        (lambda folder: ((folder / "1.npy").unlink(), Image.new("CMYK", (1, 1)).save(folder / "1.png", "TIFF")), "PNG"),
    ],
)
def test_damaged_masks(tmp_path: Path, spoil: Callable[[Path], object], reason: str) -> None:
    spoil(frame_arrays(tmp_path))
    with pytest.raises(InvalidClip, match=reason):
        read(tmp_path)
