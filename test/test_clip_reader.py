"""Clips from videos, folders, scenes of DynamicVerse and bags."""

import struct
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import IMAGE, NS, START_NS, make_header
from PIL import Image
from texture import texture

from fourd_ros.bridge.bag_clip import find_clip_topics, read_bag_clip
from fourd_ros.data.bags import BagReader, BagWriter
from fourd_ros.data.video import FORMATS, encode
from fourd_ros.errors import InvalidBag, InvalidCamera, InvalidClip, InvalidImage, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.clip_reader import ClipOptions, clip_frames, read_clip
from fourd_ros.reconstruction.clips.picture_size import fitting_size, nearest
from fourd_ros.reconstruction.clips.undistortion import undistorted

HEIGHT, WIDTH, FRAMES = 48, 64, 8
PICTURES = np.stack([texture(HEIGHT, WIDTH, seed=seed) for seed in range(FRAMES)])
DEPTH = np.random.default_rng(0).uniform(1, 4, (FRAMES, HEIGHT, WIDTH)).astype(np.float32)
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])


def write_pictures(folder: Path, *, ending: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, rgb in enumerate(PICTURES):
        Image.fromarray(rgb).save(folder / f"{number:05d}{ending}")
    return folder


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "hand held.mp4"
    encode(PICTURES, path, rate=20.0, video=FORMATS["lossless"])
    return path


def test_frames_of_a_film_come_with_their_times(film: Path) -> None:
    clip = read_clip(film)
    np.testing.assert_array_equal(clip.rgb, PICTURES)
    np.testing.assert_allclose(np.diff(clip.stamps_ns), 5e7, atol=1e6)
    assert clip.name == "hand_held" and clip.camera is None and clip.depth is None


def test_some_frames_of_a_film_smaller(film: Path) -> None:
    clip = read_clip(film, ClipOptions(start=1, stride=3, max_frames=2, max_side=32))
    assert clip.rgb.shape == (2, 24, 32, 3)
    assert int(clip.stamps_ns[1] - clip.stamps_ns[0]) == pytest.approx(1.5e8, abs=1e6)
    assert np.abs(clip.rgb[0].astype(float).mean(axis=(0, 1)) - PICTURES[1].mean(axis=(0, 1))).max() < 1


def test_films_are_turned_upright(film: Path) -> None:
    data = bytearray(film.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, WIDTH << 16, 0, 1 << 30)
    film.write_bytes(data)
    clip = read_clip(film, ClipOptions(max_frames=1))
    np.testing.assert_array_equal(clip.rgb[0], np.rot90(PICTURES[0], -1))


def test_frames_are_read_one_at_a_time(film: Path) -> None:
    frames = clip_frames(film, ClipOptions(stride=2))
    assert [frame.index for frame in islice(frames, 2)] == [0, 2]


def test_damaged_films_are_refused(film: Path, tmp_path: Path) -> None:
    film.write_bytes(film.read_bytes()[:1000])
    with pytest.raises(InvalidClip, match="not the film"):
        read_clip(film)
    with pytest.raises(InvalidClip, match="there is no video"):
        read_clip(tmp_path / "none.mp4")


def test_clips_that_begin_after_the_end_are_refused(film: Path) -> None:
    with pytest.raises(InvalidClip, match="behind its end"):
        read_clip(film, ClipOptions(start=100))


@pytest.mark.parametrize("ending", [".png", ".jpg", ".PNG"])
def test_pictures_in_a_folder(tmp_path: Path, ending: str) -> None:
    folder = write_pictures(tmp_path / "walk", ending=ending)
    (folder / "notes.txt").write_text("none of them")
    clip = read_clip(folder, ClipOptions(rate=10.0, stride=2))
    assert np.abs(clip.rgb.astype(int) - PICTURES[::2]).mean() < (12 if ending == ".jpg" else 1e-9)
    np.testing.assert_array_equal(clip.stamps_ns, np.arange(0, FRAMES, 2) * 10**8)
    assert clip.name == "walk"


def test_pictures_named_after_their_times(tmp_path: Path) -> None:
    for number, rgb in enumerate(PICTURES[:3]):
        Image.fromarray(rgb).save(tmp_path / f"1305031102.{175304 + 33 * number:06d}.png")
    assert read_clip(tmp_path).stamps_ns.tolist() == [1305031102175304000 + 33000 * n for n in range(3)]


def test_folders_without_pictures_and_with_damaged_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidClip, match="no pictures"):
        read_clip(tmp_path)
    write_pictures(tmp_path)
    (tmp_path / "00003.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InvalidClip, match=r"00003\.png"):
        read_clip(tmp_path)
    Image.fromarray(PICTURES[0, :20]).save(tmp_path / "00003.png")
    with pytest.raises(InvalidClip, match="64 x 20 pixels, the first one has 64 x 48"):
        read_clip(tmp_path)


def write_scene(root: Path) -> Path:
    write_pictures(root / "rgb")
    (root / "unidepth").mkdir()
    depth = DEPTH.copy()
    depth[1, :3] = (0, -1, np.inf) * (WIDTH // 3) + (0,)
    np.save(root / "unidepth" / "depth.npy", depth[:, None])
    np.save(root / "unidepth" / "intrinsics.npy", K.astype(np.float32))
    annotations = root / "qwen" / "Annotations"
    annotations.mkdir(parents=True)
    for number in range(FRAMES):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[10:20, 5 + number : 25] = 2
        Image.fromarray(mask).save(annotations / f"frame_{number:05d}.png")
    return root


def test_scene_of_dynamicverse(tmp_path: Path) -> None:
    clip = read_clip(write_scene(tmp_path / "scene"), ClipOptions(start=1, stride=2))
    assert clip.frames == 4 and clip.camera == PinholeCamera(width=WIDTH, height=HEIGHT, K=K)
    assert clip.depth is not None and np.isnan(clip.depth[0, :3]).all()
    np.testing.assert_array_equal(clip.depth[1:], DEPTH[3::2])
    assert clip.masks is not None and clip.masks.dtype == np.int32
    assert [int(mask.max()) for mask in clip.masks] == [2] * 4
    assert (clip.masks[2] > 0).sum() == 10 * (20 - 5)


def test_scene_in_another_size(tmp_path: Path) -> None:
    clip = read_clip(write_scene(tmp_path), ClipOptions(max_side=32))
    assert clip.rgb.shape == (FRAMES, 24, 32, 3)
    assert clip.camera is not None and clip.camera.K[0].tolist() == [30.0, 0.0, 15.5]
    assert clip.depth is not None and np.isin(clip.depth[3], DEPTH[3]).all()
    assert clip.masks is not None and set(np.unique(clip.masks)) == {0, 2}


def test_calibration_of_the_data_comes_before_that_of_a_network(tmp_path: Path) -> None:
    write_scene(tmp_path)
    np.save(tmp_path / "K.npy", np.stack([K * [[2], [2], [1]]] * FRAMES))
    camera = read_clip(tmp_path).camera
    assert camera is not None and camera.K[0, 0] == 120


@pytest.mark.parametrize(
    ("name", "array", "error"),
    [
        ("unidepth/depth.npy", DEPTH[:3, None], InvalidClip),
        ("unidepth/depth.npy", np.zeros(3), InvalidClip),
        ("unidepth/depth.npy", np.array([{}], dtype=object), InvalidClip),
        ("K.npy", np.stack([K, K + 1]), InvalidClip),
        ("K.npy", np.zeros((3, 3)), InvalidCamera),
        ("qwen/Annotations/frame_00009.npy", np.zeros((HEIGHT, WIDTH), np.int32), InvalidClip),
    ],
)
def test_scenes_whose_parts_do_not_fit_are_refused(
    tmp_path: Path, name: str, array: np.ndarray, error: type[Exception]
) -> None:
    write_scene(tmp_path)
    np.save(tmp_path / name, array)
    with pytest.raises(error):
        read_clip(tmp_path)


@pytest.mark.parametrize("change", [{"start": -1}, {"stride": 0}, {"max_frames": 0}, {"max_side": 2}, {"rate": 0.0}])
def test_senseless_options_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        ClipOptions(**change)


def test_sizes() -> None:
    assert fitting_size(1280, 720, 640) == (640, 360)
    assert fitting_size(320, 240, 640) == (320, 240)
    np.testing.assert_array_equal(nearest(np.arange(12).reshape(2, 6), (3, 1)), [[7, 9, 11]])
    np.testing.assert_array_equal(nearest(np.array([[1, 2]]), (4, 2)), [[1, 1, 2, 2]] * 2)


def test_distortion_is_taken_out() -> None:
    bent = PinholeCamera(width=WIDTH, height=HEIGHT, K=K, distortion=np.array([-0.2, 0.05, 0.0, 0.0, 0.0]))
    points = np.array([[-0.4, 0.2, 1.0], [0.3, -0.3, 1.0], [0.0, 0.0, 1.0]])
    rgb = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    masks = np.zeros((1, HEIGHT, WIDTH), np.int32)
    for number, (x, y) in enumerate(np.rint(bent.project(points)).astype(int), start=1):
        rgb[0, y - 1 : y + 2, x - 1 : x + 2] = 250
        masks[0, y, x] = number
    depth = np.ones((1, HEIGHT, WIDTH), np.float32)
    stamps = np.zeros(1, np.int64)
    clip = Clip(name="bent", rgb=rgb, stamps_ns=stamps, camera=bent, depth=depth, masks=masks)
    straight = undistorted(clip)
    assert straight.camera == PinholeCamera(width=WIDTH, height=HEIGHT, K=K)
    assert straight.masks is not None and straight.depth is not None
    for number, place in enumerate(straight.camera.project(points), start=1):
        y, x = np.nonzero(straight.masks[0] == number)
        assert np.abs(np.stack([x, y], axis=1) - place).max() < 1.2
        assert straight.rgb[0, y, x].min() > 200
    assert undistorted(straight) is straight
    bulging = PinholeCamera(width=WIDTH, height=HEIGHT, K=K, distortion=np.array([0.3, 0, 0, 0, 0.0]))
    seen = undistorted(Clip(name="b", rgb=rgb + 99, stamps_ns=stamps, camera=bulging, depth=depth))
    assert seen.depth is not None
    assert np.isnan(seen.depth[0, 0, 0]) and not seen.rgb[0, 0, 0].any() and seen.depth[0, 24, 32] == 1


def write_bag(path: Path, *, image: str = "/head/image", depth: str = "/head/depth", late_ns: int = 3_000_000) -> Path:
    """Frames at 10 Hz; depth of half the size comes a little later, none for frame 2; masks for every second frame."""
    with BagWriter(path) as bag:
        types = bag.types
        region = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)

        def picture(pixels: np.ndarray, encoding: str, stamp_ns: int) -> Any:
            data = np.ascontiguousarray(pixels).view(np.uint8).ravel()
            height, width = pixels.shape[:2]
            return types[IMAGE](
                header=make_header(types, stamp_ns, "head_optical"),
                height=height,
                width=width,
                encoding=encoding,
                is_bigendian=0,
                step=len(data) // height,
                data=data,
            )

        info = types[CAMERA_INFO](
            header=make_header(types, START_NS, "head_optical"),
            height=HEIGHT,
            width=WIDTH,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=K.ravel(),
            r=np.eye(3).ravel(),
            p=np.zeros(12),
            binning_x=0,
            binning_y=0,
            roi=region,
        )
        bag.write(f"{image.rsplit('/', 1)[0]}/camera_info", CAMERA_INFO, info, START_NS)
        for number, rgb in enumerate(PICTURES):
            stamp_ns = START_NS + number * NS // 10
            bag.write(image, IMAGE, picture(rgb, "rgb8", stamp_ns), stamp_ns)
            bag.write("/wrist/image", IMAGE, picture(rgb[:8], "rgb8", stamp_ns), stamp_ns)
            if number != 2:
                millimetres = np.rint(DEPTH[number, ::2, ::2] * 1000).astype(np.uint16)
                bag.write(depth, IMAGE, picture(millimetres, "16UC1", stamp_ns + late_ns), stamp_ns + late_ns)
            if number % 2 == 0:
                mask = np.full((HEIGHT, WIDTH), number, np.uint8)
                bag.write("/masks", IMAGE, picture(mask, "mono8", stamp_ns), stamp_ns)
        back = picture(PICTURES[0], "rgb8", START_NS)
        bag.write(image, IMAGE, back, START_NS + NS)
    return path


def test_clip_of_a_bag(tmp_path: Path) -> None:
    clip = read_bag_clip(write_bag(tmp_path / "kitchen"), masks="/masks")
    np.testing.assert_array_equal(clip.rgb, PICTURES)
    np.testing.assert_array_equal(clip.stamps_ns, START_NS + np.arange(FRAMES) * NS // 10)
    assert clip.name == "kitchen" and clip.camera == PinholeCamera(
        width=WIDTH, height=HEIGHT, K=K, distortion=np.zeros(5)
    )
    assert clip.depth is not None and clip.masks is not None
    assert np.isnan(clip.depth[2]).all() and not np.isnan(clip.depth[[0, 1, 3]]).any()
    np.testing.assert_allclose(clip.depth[3, ::2, ::2], DEPTH[3, ::2, ::2], atol=6e-4)
    assert clip.masks[:, 0, 0].tolist() == [0, 0, 2, 0, 4, 0, 6, 0]


def test_some_frames_of_a_bag_smaller(tmp_path: Path) -> None:
    clip = read_bag_clip(write_bag(tmp_path / "bag"), ClipOptions(start=1, stride=2, max_frames=3, max_side=32))
    assert clip.rgb.shape == (3, 24, 32, 3) and clip.depth is not None
    np.testing.assert_array_equal(clip.stamps_ns, START_NS + np.array([1, 3, 5]) * NS // 10)
    np.testing.assert_allclose(clip.depth[1], DEPTH[3, ::2, ::2], atol=6e-4)
    assert clip.camera is not None and clip.camera.width == 32


def test_depth_of_another_time_is_not_taken(tmp_path: Path) -> None:
    clip = read_bag_clip(write_bag(tmp_path / "bag", late_ns=NS // 2), ClipOptions(max_frames=3))
    assert clip.depth is not None and np.isnan(clip.depth).all()


def test_camera_of_a_bag_can_be_chosen(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag")
    assert read_bag_clip(bag, camera="wrist").height == 8
    assert read_bag_clip(bag, camera="/wrist/image").camera is None
    with pytest.raises(InvalidBag, match="no camera 'knee'"):
        read_bag_clip(bag, camera="knee")
    with pytest.raises(InvalidBag, match="no masks on"):
        read_bag_clip(bag, masks="/labels")
    with pytest.raises(InvalidImage):
        read_bag_clip(bag, masks="/wrist/image")


def test_names_of_drivers_are_known(tmp_path: Path) -> None:
    names = {"image": "/camera/color/image_raw", "depth": "/camera/aligned_depth_to_color/image_raw"}
    with BagReader(write_bag(tmp_path / "bag", **names)) as bag:
        topics = find_clip_topics(bag)
        assert (topics.image, topics.depth) == (names["image"], names["depth"])
        assert topics.camera_info == "/camera/color/camera_info"
        assert find_clip_topics(bag, camera=names["image"]) == topics


def test_bags_are_read_by_their_own_reader(tmp_path: Path) -> None:
    with pytest.raises(InvalidClip, match="is a bag"):
        read_clip(write_bag(tmp_path / "bag"))
