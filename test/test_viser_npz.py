"""The npz of Kinema4D's viewer: the reference vectors, and what rollouts and films become."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rollout_rig import HEIGHT, STEPS, WIDTH, make_rollout, make_view
from safetensors.numpy import load_file

from fourd_ros.cli import main
from fourd_ros.data.video import FORMATS, encode
from fourd_ros.data.viser_npz import (
    CENTRE,
    SCALE,
    ViserOptions,
    content_of_videos,
    content_of_view,
    load_content,
    reproject,
    save_content,
)
from fourd_ros.errors import InvalidDataset, InvalidParameter, InvalidRollout, TooLarge
from fourd_ros.geometry.pointmap_range import PointmapRange
from fourd_ros.geometry.transforms import apply, rotation_about
from fourd_ros.world_model.rollout_file import save_rollout

GOLDEN = Path(__file__).parent / "golden" / "kinema4d" / "aux"
FILMS = GOLDEN / "viser"
EXPECTED = load_file(GOLDEN / "viser.safetensors")
KEYS = {"video", "pointmap", "images", "depths", "cam_c2w", "intrinsic"}


def test_two_films_give_what_the_original_makes_of_them() -> None:
    content = content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4")
    assert set(content) == KEYS
    assert content["images"].dtype == np.uint8
    np.testing.assert_allclose(content["images"].astype(int), EXPECTED["images"], atol=2)
    for name in ("depths", "cam_c2w", "intrinsic"):
        assert content[name].dtype == np.float32
        np.testing.assert_allclose(content[name], EXPECTED[name], atol=1e-5)
    assert content["video"].shape == content["pointmap"].shape == (6, 3, 32, 48)
    np.testing.assert_allclose(content["video"][0], EXPECTED["video_t0"], atol=1e-5)
    np.testing.assert_allclose(content["pointmap"][0], EXPECTED["pointmap_t0"], atol=1e-5)


def test_its_viewer_shows_what_the_original_shows() -> None:
    content = content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4")
    shown = reproject(content, 1, stride=2, time_stride=2)
    np.testing.assert_allclose(shown.points, EXPECTED["viewer_pts_t1"], atol=1e-5)
    np.testing.assert_allclose(shown.colours, EXPECTED["viewer_cols_t1"], atol=1e-5)
    np.testing.assert_allclose([shown.fov, shown.aspect], EXPECTED["viewer_fov_aspect"], atol=1e-5)


def test_options_choose_frames_and_pixels() -> None:
    whole = content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4")
    options = ViserOptions(max_frames=2, frame_gap=3, downsample_factor=2, depth_mode="norm", depth_min=0.3)
    content = content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4", options)
    np.testing.assert_array_equal(content["images"], whole["images"][[0, 3], ::2, ::2])
    np.testing.assert_array_equal(content["video"], whole["video"][[0, 3]])
    far = np.linalg.norm(whole["pointmap"][[0, 3]], axis=1)[:, ::2, ::2]
    np.testing.assert_allclose(content["depths"], np.maximum(far, 0.3), atol=1e-6)
    np.testing.assert_allclose(content["intrinsic"], [[1.2 * 24, 0, 12], [0, 1.2 * 16, 8], [0, 0, 1]], rtol=1e-6)
    for wrong in ({"max_frames": 0}, {"depth_mode": "y"}, {"depth_min": 0.0}, {"frame_gap": -1}):
        with pytest.raises(InvalidParameter, match=next(iter(wrong))):
            ViserOptions(**wrong)


def test_films_that_do_not_go_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.mp4"
    encode([np.zeros((16, 32, 3), np.uint8)] * 2, other, rate=24.0, video=FORMATS["faithful"])
    with pytest.raises(InvalidDataset, match=r"is 48 x 32, .* is 32 x 16"):
        content_of_videos(FILMS / "rgb.mp4", other)
    other.write_bytes((FILMS / "xyz.mp4").read_bytes()[:500])
    with pytest.raises(InvalidDataset, match="not the film"):
        content_of_videos(FILMS / "rgb.mp4", other)
    monkeypatch.setattr("fourd_ros.data.viser_npz.MAX_BYTES", 100_000)
    with pytest.raises(TooLarge, match=r"3 frames of 48 x 32 pixels .*lower max_frames"):
        content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4")


def test_a_rollout_keeps_its_metres_and_its_camera() -> None:
    view = replace(make_view(3), camera=replace(make_view(3).camera, distortion=np.zeros(0)))
    view.points[:] = view.camera.rays() * view.points[..., 2:]
    poses = view.T_world_camera.copy()
    poses[1:, :3, :3] = rotation_about((0, 0, 1), 0.2) @ poses[1:, :3, :3]
    view = replace(view, T_world_camera=poses)
    content = content_of_view(view)
    assert set(content) == KEYS | {CENTRE, SCALE}
    known = np.isfinite(view.points).all(axis=-1)
    in_first = apply(np.linalg.inv(poses[0]) @ poses, view.points.reshape(STEPS, -1, 3)).reshape(view.points.shape)
    for step in range(STEPS):
        shown = reproject(content, step).points.reshape(HEIGHT, WIDTH, 3)
        np.testing.assert_allclose(shown[known[step]], in_first[step][known[step]], atol=1e-4)
    cube = PointmapRange(centre=content[CENTRE], scale=float(content[SCALE]))
    metres = cube.to_metres(content["pointmap"].transpose(0, 2, 3, 1))
    inside = known & (np.abs(in_first - cube.centre) < cube.scale).all(axis=-1)
    assert inside.sum() > 0.8 * known.sum()
    np.testing.assert_allclose(metres[inside], in_first[inside], atol=1e-4)
    assert (content["pointmap"].transpose(0, 2, 3, 1)[~known] == 0).all()
    assert (content["depths"][~known] == np.float32(1e-4)).all()
    thin = content_of_view(view, ViserOptions(downsample_factor=2))
    np.testing.assert_array_equal(
        reproject(thin, 2).points, reproject(content, 2, stride=2).points.reshape(reproject(thin, 2).points.shape)
    )


def test_a_rollout_of_which_nothing_is_known_is_refused() -> None:
    view = make_view(3)
    with pytest.raises(InvalidRollout, match="no point of the 4 frames of 16 x 12 pixels is known"):
        content_of_view(replace(view, points=np.full_like(view.points, np.nan)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": None}, r"lacks \['depths'\]; it has"),
        ({"depths": np.zeros((6, 32, 48))}, "'depths' is float64"),
        ({"images": np.zeros((6, 32, 48), np.uint8)}, "'images' is uint8"),
        ({"video": np.zeros((0, 3, 32, 48), np.float32)}, "'video' is"),
        ({"cam_c2w": np.zeros((5, 4, 4), np.float32)}, r"needed float32\[6, 4, 4\]"),
        ({"intrinsic": np.zeros((3, 3), np.float32)}, "singular"),
        ({"pointmap": np.array([{}], object)}, "pickled objects are never read"),
    ],
)
def test_files_of_others_are_checked(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    content = {**content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4"), **change}
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **{name: array for name, array in content.items() if array is not None})
    with pytest.raises(InvalidRollout, match=message) as caught:
        load_content(path)
    assert str(path) in str(caught.value)


def test_files_are_read_back_in_any_order_of_memory(tmp_path: Path) -> None:
    content = dict(content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4"))
    save_content(content, tmp_path / "ours.npz")
    np.savez(tmp_path / "theirs.npz", extra=np.zeros(3), **{**content, "depths": np.asfortranarray(content["depths"])})
    for name in ("ours.npz", "theirs.npz"):
        found = load_content(tmp_path / name)
        assert set(found) == KEYS
        for key in KEYS:
            np.testing.assert_array_equal(found[key], content[key])


def test_the_command_converts_pairs_of_films_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "alone"):
        (tmp_path / "rgb").mkdir(exist_ok=True)
        shutil.copyfile(FILMS / "rgb.mp4", tmp_path / "rgb" / f"{name}.mp4")
    (tmp_path / "xyz").mkdir()
    shutil.copyfile(FILMS / "xyz.mp4", tmp_path / "xyz" / "a.mp4")
    (tmp_path / "xyz" / "b.mp4").write_bytes(b"no film")
    words = ["convert", "rollout", str(tmp_path / "rgb"), str(tmp_path / "out"), "--xyz", str(tmp_path / "xyz")]
    assert main([*words, "--max-frames", "3"]) == 1
    said = capsys.readouterr()
    assert "a.npz: 3 frames of 48 x 32" in said.out
    assert "counterpart: alone (1 films)" in said.err and "left out: " in said.err
    stamp = (tmp_path / "out" / "a.npz").stat().st_mtime_ns
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.npz"]
    main(words)
    assert "a.npz: is there already" in capsys.readouterr().out
    assert (tmp_path / "out" / "a.npz").stat().st_mtime_ns == stamp
    main([*words, "--overwrite"])
    assert "a.npz: 6 frames" in capsys.readouterr().out
    np.testing.assert_allclose(load_content(tmp_path / "out" / "a.npz")["depths"], EXPECTED["depths"], atol=1e-5)


def test_the_command_converts_a_rollout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_rollout(make_rollout(), tmp_path / "rollout.npz")
    words = ["convert", "rollout", str(tmp_path / "rollout.npz"), str(tmp_path / "viser.npz")]
    assert main([*words, "--view", "wrist/colour"]) == 0
    assert "viser.npz: 4 frames of 16 x 12" in capsys.readouterr().out
    np.testing.assert_array_equal(load_content(tmp_path / "viser.npz")["images"], make_view(2).rgb)
    for options, message in (
        (["--view", "side", "--overwrite"], "the rollout has ['front', 'wrist/colour']"),
        (["--xyz", "x"], "is no folder of them"),
        (["--dtype", "fp16"], "--dtype has no meaning for 'rollout'"),
    ):
        assert main([*words, *options]) == 1
        assert message in capsys.readouterr().err
    assert main(["convert", "lpips", "a", "b", "--frame-gap", "2"]) == 1
    assert "--frame-gap has no meaning for 'lpips'" in capsys.readouterr().err
    folder = tmp_path / "empty"
    folder.mkdir()
    for options, message in (
        ([], "name that of the points: --xyz DIR"),
        (["--xyz", str(folder)], "no .mp4 films of the same name"),
        (["--view", "front"], "is a folder of films"),
    ):
        assert main(["convert", "rollout", str(folder), str(tmp_path / "o"), *options]) == 1
        assert message in capsys.readouterr().err
