"""``fourd prepare-video``: from a video to a prepared clip, and back from its folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fourd_ros import cli
from fourd_ros.compositional import video_preparation
from fourd_ros.compositional.prepared_clip import PreparedClip, read_prepared, write_labels, write_pixels
from fourd_ros.compositional.segmentation.given_masks import GivenMasks
from fourd_ros.compositional.segmentation.segmenter import Footage, Progress, SegmentedObject
from fourd_ros.compositional.video_preparation import PreparationOptions, SourceClip, prepare_video
from fourd_ros.errors import AlreadyExists, InvalidCamera, InvalidClip, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera

HEIGHT, WIDTH, FRAMES = 24, 32, 4
CAMERA = PinholeCamera(width=WIDTH, height=HEIGHT, K=np.array([[30.0, 0, 15.5], [0, 30, 11.5], [0, 0, 1]]))


def source(**changes: object) -> SourceClip:
    rgb = np.random.default_rng(0).integers(0, 200, (FRAMES, HEIGHT, WIDTH, 3)).astype(np.uint8)
    depth = np.full((FRAMES, HEIGHT, WIDTH), 1.25, np.float32)
    depth[:, 0] = np.nan
    facts = {"name": "clip", "indices": [5, 7, 9, 11], "stamps_ns": [0, 1, 2, 3], "rgb": rgb}
    return SourceClip(**{**facts, "depth": depth, "camera": CAMERA, **changes})  # type: ignore[arg-type]


def masks() -> GivenMasks:
    """Object 2 moves and is hidden in frame 1, object 12 appears in frame 2, object 1 is always there."""
    moving, static = np.zeros((2, FRAMES, HEIGHT, WIDTH), np.int32)
    for frame in (0, 2, 3):
        moving[frame, 10:14, 4 + frame : 8 + frame] = 2
    moving[2:, 18:20, 20:25] = 12
    static[:, 2:6, 2:6] = 1
    return GivenMasks(moving=moving, static=static, labels={2: "red ball"})


def prepare(folder: Path, clip: SourceClip | None = None, *, size: int = 64, **options: object) -> PreparedClip:
    made = PreparationOptions(size=size, **options)  # type: ignore[arg-type]
    prepare_video(clip or source(), folder, segmenter=masks(), options=made, recipe={"segmenter": "given"})
    return read_prepared(folder)


def test_every_frame_stays_and_ids_go_beyond_nine(tmp_path: Path) -> None:
    clip = prepare(tmp_path / "clip", pictures="png")
    assert [path.name for path in clip.frames] == ["000005.png", "000007.png", "000009.png", "000011.png"]
    assert (list(clip.moving), list(clip.static)) == ([2, 12], [1])
    assert len(list((clip.folder / "frames_no_bg").iterdir())) == FRAMES
    assert (clip.folder / "masks" / "000007_object_012.png").is_file()
    assert (clip.folder / "masks" / "object_labels.txt").read_text() == "2\tred ball\n12\tobject\n"
    assert clip.labels[True, 2] == "red ball"
    assert not clip.mask(2, 1, moving=True).any()
    assert not clip.mask(12, 1, moving=True).any()
    assert (clip.mask(12, 2, moving=True) == 255).sum() == 4 * 10
    assert not (clip.folder / "work").exists()


def test_what_all_masks_show_is_in_the_middle_and_calibration_and_depth_follow(tmp_path: Path) -> None:
    clip, still = prepare(tmp_path / "clip", pictures="png"), prepare(tmp_path / "still", pictures="png", centred=False)
    right, down = clip.facts["offset"]
    assert still.facts["offset"] == [0, 0] and (right, down) != (0, 0)
    for index in range(FRAMES):
        for number, moving in ((2, True), (12, True), (1, False)):
            before, after = still.mask(number, index, moving=moving), clip.mask(number, index, moving=moving)
            np.testing.assert_array_equal(np.roll(before, (down, right), (0, 1)), after)
    shown = np.max([clip.mask(n, i, moving=m) for n, m in ((2, 1), (12, 1), (1, 0)) for i in range(FRAMES)], axis=0)
    rows, columns = np.nonzero(shown)
    assert abs(rows.min() + rows.max() - 63) <= 1 and abs(columns.min() + columns.max() - 63) <= 1

    assert clip.camera is not None
    pixel = CAMERA.project(np.array([0.1, -0.05, 1.25]))
    expected = (pixel + (0, 4) + 0.5) * 2 - 0.5 + (right, down)
    np.testing.assert_allclose(clip.camera.project(np.array([0.1, -0.05, 1.25])), expected)
    depth = clip.depth(0)
    assert depth is not None
    assert set(np.unique(depth[np.isfinite(depth)])) == {np.float32(1.25)}
    assert np.isfinite(depth).sum() < 23 * 2 * 64


def test_pictures_without_background_are_white_elsewhere(tmp_path: Path) -> None:
    clip = prepare(tmp_path / "clip", pictures="png", centred=False)
    cut = np.asarray(Image.open(clip.folder / "frames_no_bg" / "000007.png"))
    kept = clip.mask(1, 1, moving=False) > 0
    np.testing.assert_array_equal(cut[kept], clip.rgb(1)[kept])
    assert (cut[~kept] == 255).all()


def test_jpeg_is_encoded_once(tmp_path: Path) -> None:
    exact, lossy = prepare(tmp_path / "png", pictures="png"), prepare(tmp_path / "jpg")
    assert lossy.frames[0].name == "000005.jpg"
    write_pixels(tmp_path / "once.jpg", exact.rgb(0))
    assert (tmp_path / "once.jpg").read_bytes() == lossy.frames[0].read_bytes()


class CountingSegmenter:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def segment(self, footage: Footage, *, progress: Progress) -> tuple[SegmentedObject, ...]:
        self.asked += 1
        return masks().segment(footage, progress=progress)


def test_a_stopped_preparation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, folder, recipe = CountingSegmenter(), tmp_path / "clip", {"segmenter": "own"}
    options = PreparationOptions(size=64, pictures="png")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(video_preparation, "write_labels", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare_video(source(), folder, segmenter=segmenter, options=options, recipe=recipe)
    first = prepare_video(source(), folder, segmenter=segmenter, options=options, recipe=recipe)
    assert segmenter.asked == 1
    again = prepare_video(source(), folder, segmenter=segmenter, options=options, recipe=recipe)
    assert again == first and segmenter.asked == 1
    whole = prepare(tmp_path / "whole", pictures="png")
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    assert len(names) == FRAMES * (2 + 3 + 1)
    for name in names:
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    prepare(tmp_path / "clip")
    with pytest.raises(AlreadyExists, match="other size"):
        prepare(tmp_path / "clip", size=32)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(AlreadyExists, match="not empty"):
        prepare(tmp_path / "mine")


class BlindSegmenter:
    """Finds nothing."""

    def segment(self, footage: Footage, *, progress: Progress) -> tuple[SegmentedObject, ...]:
        return ()


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidClip, match="no object was found"):
        prepare_video(source(), tmp_path / "clip", segmenter=BlindSegmenter(), recipe={})
    with pytest.raises(InvalidParameter, match="size 8"):
        PreparationOptions(size=8)
    with pytest.raises(InvalidClip, match="uint8"):
        source(rgb=np.zeros((FRAMES, HEIGHT, WIDTH, 3)))
    with pytest.raises(InvalidClip, match="increasing"):
        source(indices=[1, 2, 2, 3])
    with pytest.raises(InvalidClip, match="depth is"):
        source(depth=np.zeros((FRAMES, 3, 3), np.float32))


def foreign(folder: Path, *, masks: tuple[str, ...] = ("000001_object_003.png",)) -> Path:
    """A folder as other programs make it."""
    for frame in ("000001", "000002"):
        write_pixels(folder / "frames" / f"{frame}.jpg", np.zeros((8, 8, 3), np.uint8))
    for name in masks:
        write_pixels(folder / "masks" / name, np.full((8, 8), 255, np.uint8))
    return folder


def test_folders_of_others_are_read(tmp_path: Path) -> None:
    clip = read_prepared(foreign(tmp_path))
    assert list(clip.moving) == [3] and clip.camera is None and clip.depth(0) is None
    assert clip.mask(3, 0, moving=True).all() and not clip.mask(3, 1, moving=True).any()
    with pytest.raises(InvalidClip, match="no object 4"):
        clip.mask(4, 0, moving=True)


def test_folders_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidClip, match="no pictures in frames/"):
        read_prepared(tmp_path)
    with pytest.raises(InvalidClip, match="no masks"):
        read_prepared(foreign(tmp_path / "bare", masks=()))
    with pytest.raises(InvalidClip, match="not in frames/"):
        read_prepared(foreign(tmp_path / "stray", masks=("000009_object_001.png",)))
    with pytest.raises(InvalidClip, match="named otherwise"):
        read_prepared(foreign(tmp_path / "names", masks=("000001.png",)))
    sizes = foreign(tmp_path / "sizes")
    write_pixels(sizes / "masks" / "000001_object_003.png", np.zeros((9, 8), np.uint8))
    with pytest.raises(InvalidClip, match="8 x 9 pixels, its frame has 8 x 8"):
        read_prepared(sizes).mask(3, 0, moving=True)
    (sizes / "masks" / "000001_object_003.png").write_bytes(b"no picture")
    with pytest.raises(InvalidClip, match="no readable picture"):
        read_prepared(sizes).mask(3, 0, moving=True)
    (sizes / "masks" / "object_labels.txt").write_text("three\tball\n")
    with pytest.raises(InvalidClip, match="tabulator"):
        read_prepared(sizes)
    write_labels(sizes / "masks", {3: "a\tball\n"})
    assert read_prepared(sizes).labels == {(True, 3): "a ball"}
    (sizes / "preparation.json").write_text(json.dumps({"K": [1, 2], "size": 8}))
    with pytest.raises(InvalidCamera, match="no calibration"):
        _ = read_prepared(sizes).camera


def test_the_command_takes_masks_beside_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for frame in range(5):
        write_pixels(tmp_path / "rgb" / f"{frame:03d}.png", rng.integers(0, 255, (20, 30, 3)).astype(np.uint8))
        mask = np.zeros((20, 30), np.uint8)
        mask[4:9, 3 + frame : 9 + frame] = 1
        write_pixels(tmp_path / "masks" / f"{frame:03d}.png", mask)
    line = ["prepare-video", str(tmp_path / "rgb"), "--out", str(tmp_path / "out"), "--masks", str(tmp_path / "masks")]
    assert cli.main([*line, "--start", "1", "--end", "3", "--size", "32", "--lossless", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["indices"] == [1, 2, 3] and facts["moving"] == [1]
    clip = read_prepared(tmp_path / "out")
    assert clip.mask(1, 0, moving=True).sum() > 0
    assert cli.main([*line, "--sam2", "nowhere"]) == 1
    assert "masks are given" in capsys.readouterr().err
    assert cli.main([*line[:4], "--moving", "a ball."]) == 1
    assert "are for --sam2" in capsys.readouterr().err


def test_the_command_finds_objects_in_the_demo_bag(tmp_path: Path) -> None:
    bag = Path(__file__).parent.parent / "demo" / "bag"
    line = ["prepare-video", str(bag), "--out", str(tmp_path / "out"), "--camera", "front", "--size", "160"]
    assert cli.main([*line, "--stride", "8", "--max-frames", "4", "--json"]) == 0
    clip = read_prepared(tmp_path / "out")
    assert clip.camera is not None and clip.depth(0) is not None
    assert len(clip.moving) + len(clip.static) >= 4
