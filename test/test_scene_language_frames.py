"""Preparation of frames, and files of the original."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fourd_ros.errors import InvalidCheckpoint, InvalidDataset, InvalidImage, InvalidParameter, UnsafeCheckpoint
from fourd_ros.evaluation.query_annotations import read_intervals, read_masks
from fourd_ros.scene_language.frames import prepare_frames, read_image
from fourd_ros.scene_language.official_tokens import read_official_tokens

GOLDEN = Path(__file__).parent / "golden" / "langvggt"


def picture(width: int, height: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (height, width, channels), np.uint8)


def test_landscape_stays_landscape_unless_the_original_is_wanted() -> None:
    image = picture(45, 30)
    ours = prepare_frames([image], mode="original")
    assert ours.pixels.shape == (1, 3, 28, 42) and (ours.width, ours.height) == (45, 30)
    np.testing.assert_array_equal(ours.pixels[0], image[1:29, 1:43].transpose(2, 0, 1).astype(np.float32) / 255)
    theirs = prepare_frames([image], mode="original", official_compat=True)
    assert theirs.pixels.shape == (1, 3, 42, 28) and (theirs.width, theirs.height) == (30, 45)
    np.testing.assert_array_equal(theirs.pixels[0], np.rot90(image)[1:43, 1:29].transpose(2, 0, 1) / np.float32(255))
    resized, whole = (prepare_frames([image], mode="crop", official_compat=flag).pixels for flag in (True, False))
    assert np.array_equal(resized, whole), "only modes that keep the size turn"


def test_sizes_are_rounded_to_even_numbers_of_patches_where_two_are_as_near() -> None:
    """518 wide: 7 rows of 74 pixels are 49 rows, 3.5 patches; 5 are 2.5; 9 are 4.5."""
    for rows, patches in ((5, 2), (7, 4), (9, 4), (20, 10)):
        assert prepare_frames([picture(74, rows)]).pixels.shape == (1, 3, 14 * patches, 518)


def test_high_images_are_cropped_in_the_middle_or_padded() -> None:
    image = np.zeros((150, 74, 3), np.uint8)
    image[75:] = 200
    cropped = prepare_frames([image], mode="crop").pixels
    assert cropped.shape == (1, 3, 518, 518)
    assert cropped[0, :, :250].max() == 0 and cropped[0, :, 268:].min() > 0.7
    padded = prepare_frames([image], mode="pad").pixels[0]
    width = round(74 * (518 / 150) / 14) * 14
    left = (518 - width) // 2
    assert (padded[:, :, :left] == 1).all() and (padded[:, :, left + width :] == 1).all()
    assert padded[:, 0, left].max() == 0


def test_smaller_images_are_put_on_white_an_odd_row_below() -> None:
    small, large = np.zeros((30, 20, 3), np.uint8), np.zeros((35, 27, 3), np.uint8)
    made = prepare_frames([large, small], mode="gt")
    assert made.pixels.shape == (2, 3, 35, 27) and (made.width, made.height) == (20, 30)
    rows, columns = np.nonzero(made.pixels[1, 0] == 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 31, 3, 22)


def test_what_shines_through_is_white() -> None:
    image = np.zeros((28, 28, 4), np.uint8)
    image[:14, :, 3] = 255
    pixels = prepare_frames([image], mode="gt").pixels[0]
    assert pixels[:, :14].max() == 0 and pixels[:, 14:].min() == 1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((30, 30), np.uint8),
        np.zeros((30, 30, 3), np.uint16),
        np.zeros((30, 30, 3), np.float32),
        np.zeros((30, 30, 2), np.uint8),
        np.zeros((0, 30, 3), np.uint8),
        np.zeros((13, 13, 3), np.uint8),
    ],
)
def test_images_that_cannot_be_prepared_are_named(image: np.ndarray) -> None:
    with pytest.raises(InvalidImage):
        prepare_frames([image], mode="original")


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="no image"):
        prepare_frames([])
    with pytest.raises(InvalidParameter, match="'crop', 'pad'"):
        prepare_frames([picture(30, 30)], mode="zoom")  # type: ignore[arg-type]
    for mode in ("crop", "pad"):
        with pytest.raises(InvalidImage, match="long and narrow"):
            prepare_frames([picture(1000, 2)], mode=mode)
    with pytest.raises(InvalidImage, match="too high"):
        prepare_frames([np.zeros((400_000, 1, 3), np.uint8)], mode="crop")
    (tmp_path / "no.png").write_text("nothing")
    for path in (tmp_path / "no.png", tmp_path / "missing.png"):
        with pytest.raises(InvalidImage, match="can be read"):
            read_image(path)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (4, 5, 3)


def test_token_files_are_read_without_numpy_unpickling_them() -> None:
    path = GOLDEN / "streamvggt_token" / "000001.npy"
    layers, special = read_official_tokens(path)
    wanted = np.load(path, allow_pickle=True).item()
    assert special == wanted["patch_start_idx"] == 5
    for ours, theirs in zip(layers, wanted["aggregated_tokens_list"], strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        import os

        return os.mkdir, (str(self._folder),)


def test_token_files_that_would_run_something_are_refused(tmp_path: Path) -> None:
    trap = {"aggregated_tokens_list": [Trap(tmp_path / "sprung")], "patch_start_idx": 5}
    np.save(tmp_path / "trap.npy", np.array(trap, dtype=object), allow_pickle=True)
    with pytest.raises(UnsafeCheckpoint, match=r"posix\.mkdir"):
        read_official_tokens(tmp_path / "trap.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"aggregated_tokens_list": [np.zeros(3)], "patch_start_idx": 5},
        {"aggregated_tokens_list": [np.zeros((2, 3), np.float32, order="F")], "patch_start_idx": 5},
        {"aggregated_tokens_list": [], "patch_start_idx": 5},
        {"aggregated_tokens_list": [np.zeros(3, np.float32)], "patch_start_idx": "5"},
        {"aggregated_tokens_list": [7], "patch_start_idx": 5},
        {"tokens": []},
        5,
    ],
)
def test_token_files_of_something_else_are_named(content: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.array(content, dtype=object), allow_pickle=True)
    with pytest.raises(InvalidCheckpoint, match=r"other\.npy"):
        read_official_tokens(tmp_path / "other.npy")


def test_damaged_token_files_are_named(tmp_path: Path) -> None:
    whole = (GOLDEN / "streamvggt_token" / "000001.npy").read_bytes()
    begin = whole.index(b"\x80\x04")
    lying = whole.replace(b"K\x11K`t", b"K\x11Kat")  # a shape that its bytes do not fill
    assert lying != whole
    plain = whole[:begin] + pickle.dumps([1, 2])
    for number, damaged in enumerate((whole[:-50], whole[: begin + 200], lying, plain, b"", whole[begin:])):
        (tmp_path / f"{number}.npy").write_bytes(damaged)
        with pytest.raises(InvalidCheckpoint):
            read_official_tokens(tmp_path / f"{number}.npy")
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    with pytest.raises(InvalidCheckpoint, match="needed is one object"):
        read_official_tokens(tmp_path / "numbers.npy")


def test_annotations_of_frames() -> None:
    frames = read_masks(GOLDEN / "annotations")
    assert [frame.frame for frame in frames] == [2, 6]
    assert [frame.frame for frame in read_masks(GOLDEN / "annotations", first_frame=0)] == [3, 7]
    cup, empty = (frames[0].masks[name] for name in ("glass cup", "empty glass cup"))
    assert np.array_equal(cup, empty) and cup[12, 15] and cup[20, 45] and not cup[12, 35]
    assert read_intervals(GOLDEN / "annotations")["glass cup"]["full glass cup"] == ((4, 8),)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train/_annotations.coco.json", "{}"),
        ("train/_annotations.coco.json", '{"images": [{"id": 0, "file_name": "a", "height": 4, "width": 4}]}'),
        (
            "train/_annotations.coco.json",
            '{"images": [{"id": 0, "file_name": "1_", "height": 100000, "width": 100000}], "categories": [], '
            '"annotations": []}',
        ),
        ("video_annotations.json", '{"cup": [1, 2]}'),
        ("video_annotations.json", '{"cup": {"full cup": [[1]]}}'),
        ("video_annotations.json", "no"),
    ],
)
def test_annotations_of_something_else_are_named(name: str, text: str, tmp_path: Path) -> None:
    for file in ("train/_annotations.coco.json", "video_annotations.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes((GOLDEN / "annotations" / file).read_bytes())
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidDataset, match=Path(name).name):
        read_masks(tmp_path)
