"""Dense flow, what moves by itself, and sources of depth."""

from pathlib import Path

import numpy as np
import pytest
from texture import shifted, texture

from fourd_ros.errors import InvalidClip, InvalidImage, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.depth_source import depth_from_file, depth_of_clip, find_depth_source, own_depth
from fourd_ros.reconstruction.tracking.flow import FLOWS, dis, farneback, find_flow
from fourd_ros.reconstruction.tracking.residual_flow import confirmed, moving_regions, residual_flow, static_flow

NETWORKS = {"raft"}


@pytest.mark.parametrize("name", sorted(set(FLOWS) - NETWORKS))
def test_every_flow_finds_a_shift(name: str) -> None:
    first = texture(120, 160)
    flow = find_flow(name)(first, shifted(first, 2.5, -1.25))
    assert flow.shape == (120, 160, 2) and flow.dtype == np.float32
    assert np.abs(np.median(flow[20:-20, 20:-20], axis=(0, 1)) - (2.5, -1.25)).max() < 0.25


def test_better_presets_are_nearer() -> None:
    first = texture(120, 160)
    second = shifted(first, 3.3, 1.7)
    errors = [
        np.linalg.norm(dis(preset=preset)(first, second) - (3.3, 1.7), axis=-1)[20:-20, 20:-20].mean()
        for preset in ("medium", "ultrafast")
    ]
    assert errors[0] < errors[1]


def test_still_pictures_have_no_flow() -> None:
    picture = texture(60, 80)
    assert not dis()(picture, picture).any()
    assert np.median(np.abs(farneback(picture, picture))) < 0.01


@pytest.mark.parametrize(
    "second", [np.zeros((50, 80, 3), np.uint8), np.zeros((60, 80), np.uint8), np.zeros((60, 80, 3), np.float32)]
)
def test_what_is_no_pair_of_pictures_is_refused(second: np.ndarray) -> None:
    with pytest.raises(InvalidImage):
        dis()(texture(60, 80), second)


@pytest.mark.parametrize("size", [(12, 12), (12, 40), (24, 96), (24, 200), (20, 1000), (30, 640), (300, 14)])
@pytest.mark.parametrize("preset", ["ultrafast", "medium"])
def test_thin_pictures_are_borne(size: tuple[int, int], preset: str) -> None:
    picture = texture(*size)
    flow = dis(preset=preset)(picture, picture)
    assert flow.shape == (*size, 2) and np.abs(flow).max() < 0.01


def test_pictures_of_a_few_pixels_are_refused() -> None:
    with pytest.raises(InvalidImage, match="at least 12 pixels"):
        farneback(np.zeros((4, 80, 3), np.uint8), np.zeros((4, 80, 3), np.uint8))


def test_unknown_flows_and_models_without_use_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="'farneback'"):
        find_flow("lucas")
    with pytest.raises(InvalidParameter, match="no network"):
        find_flow("dis", model=Path("weights"))
    with pytest.raises(InvalidParameter, match="medium"):
        dis(preset="slow")


def test_flow_of_a_user() -> None:
    flow = find_flow(f"{__name__}:_still")
    assert not flow(texture(20, 20), texture(20, 20)).any()


def _still(model: Path | None, allow_noncommercial: bool):
    return lambda first, second: np.zeros((*first.shape[:2], 2), np.float32)


CAMERA = PinholeCamera(width=160, height=120, K=np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]]))


def walk() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two frames of a camera that goes right, before a wall and a box that goes up: colour, depth, box, transform."""
    wall = texture(120, 200, seed=1)
    first, second = wall[:, :160].copy(), shifted(wall, -3, 0)[:, :160].copy()
    box = np.zeros((120, 160), bool)
    box[50:90, 60:110] = True
    depth = np.where(box, 2.0, 4.0).astype(np.float32)
    front = texture(40, 50, seed=2)
    first[50:90, 60:110], second[45:85, 54:104] = front, front
    T_second_first = np.eye(4)
    T_second_first[0, 3] = -0.08
    return first, second, depth, box, T_second_first


def test_flow_of_a_world_at_rest() -> None:
    _, _, depth, box, T_second_first = walk()
    depth[0, 0] = np.nan
    flow = static_flow(depth, CAMERA, T_second_first)
    assert np.isnan(flow[0, 0]).all()
    np.testing.assert_allclose(flow[box], np.tile([-6, 0], (box.sum(), 1)), atol=1e-4)
    np.testing.assert_allclose(flow[100, 5], [-3, 0], atol=1e-4)
    behind = np.eye(4)
    behind[2, 3] = -3
    assert np.isnan(static_flow(depth, CAMERA, behind)[box]).all()


def test_what_moves_by_itself_is_found() -> None:
    first, second, depth, box, T_second_first = walk()
    flow = confirmed(dis()(first, second), dis()(second, first))
    regions = moving_regions(residual_flow(flow, depth, CAMERA, T_second_first))
    assert regions.max() == 1
    assert ((regions > 0) & box).sum() / ((regions > 0) | box).sum() > 0.75
    still = np.where(box[..., None], [-6.0, 0], [-3.0, 0])
    assert not moving_regions(residual_flow(still, depth, CAMERA, T_second_first)).any()


def test_regions_are_numbered_by_size_without_specks() -> None:
    residual = np.zeros((60, 80))
    residual[5:15, 5:15] = 3
    residual[30:50, 30:60] = 3
    residual[38:41, 30:60] = np.nan  # a crack
    residual[55, 70] = 9
    regions = moving_regions(residual)
    assert set(np.unique(regions)) == {0, 1, 2}
    assert regions[35, 40] == regions[48, 40] == 1 and regions[10, 10] == 2 and regions[55, 70] == 0
    assert not moving_regions(residual, min_pixels=1000).any()
    raised = np.full((60, 80), 1.0)
    raised[:20] = 5
    assert set(np.unique(moving_regions(residual, threshold=raised))) == {0, 1}


def test_flow_that_does_not_come_back_is_not_confirmed() -> None:
    forward, backward = np.zeros((40, 60, 2), np.float32), np.zeros((40, 60, 2), np.float32)
    forward[..., 0], backward[..., 0] = 4, -4
    backward[10:20, 20:30, 1] = 7
    found = confirmed(forward, backward)
    assert np.isnan(found[12:18, 18:24]).all() and np.isnan(found[:, 57:]).all()
    np.testing.assert_array_equal(found[25:, :50], forward[25:, :50])


def some_clip(depth: np.ndarray | None = None) -> Clip:
    rgb = np.stack([texture(20, 30, seed=seed) for seed in range(3)])
    return Clip(name="c", rgb=rgb, stamps_ns=np.arange(3), depth=depth)


class Constant:
    """A source of depth."""

    shape = (20, 30)

    def depth(self, rgb: np.ndarray, camera: PinholeCamera | None) -> np.ndarray:
        return np.full(self.shape, 2.5)


class Narrow(Constant):
    shape = (20, 29)


def test_depth_from_sources(tmp_path: Path) -> None:
    shares: list[float] = []
    told = depth_of_clip(some_clip(), find_depth_source(f"{__name__}:Constant"), progress=shares.append)
    assert told.shape == (3, 20, 30) and (told == 2.5).all() and shares[-1] == 1
    with pytest.raises(InvalidClip, match="frame 0"):
        depth_of_clip(some_clip(), Narrow())
    for name in ("none", f"{__name__}:some_clip", f"{__name__}:CAMERA"):
        with pytest.raises(InvalidParameter):
            find_depth_source(name)
    assert own_depth(some_clip()) is None
    given = np.ones((3, 20, 30), np.float32)
    given[0, 0] = 0
    own = own_depth(some_clip(given))
    assert own is not None and np.isnan(own[0, 0]).all() and (own[1:] == 1).all()
    np.save(tmp_path / "depth.npy", np.full((3, 1, 10, 15), 3.0, np.float32))
    assert (depth_from_file(some_clip(), tmp_path / "depth.npy") == 3).all()
