"""Results of a stream with a calibrated camera and in metres, or with a word that the scale is not known."""

from typing import Any

import numpy as np
import pytest
import torch

from fourd_ros.errors import InvalidCamera, InvalidInput
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_rpy, invert
from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.calibration import calibrated, prepared_camera
from fourd_ros.scene_language.frames import Mode, prepare_frames
from fourd_ros.scene_language.geometry_stream import GeometryFrame
from fourd_ros.scene_language.lifting import lift
from fourd_ros.scene_language.metric_scale import UNKNOWN, in_metres, scale_from_baselines, scale_from_depth
from fourd_ros.scene_language.pose_encoding import decode_intrinsics, decode_poses

HEIGHT, WIDTH = 42, 56
METRES = 1.7


def frame(**others: Any) -> GeometryFrame:
    shape = (1, HEIGHT, WIDTH)
    generator = torch.Generator().manual_seed(0)
    content: dict[str, Any] = {
        "tokens": FrameTokens(layers={}, camera=torch.zeros(1, 1, 8), special=3, image_size=(HEIGHT, WIDTH)),
        "pose": torch.tensor([[0.2, -0.1, 0.3, 0.0, 0.1, 0.0, 1.0, 0.9, 1.1]]),
        "depth": 1 + torch.rand(shape, generator=generator),
        "depth_confidence": 1 + torch.rand(shape, generator=generator),
        "points": torch.rand((*shape, 3), generator=generator),
        "points_confidence": 1 + torch.rand(shape, generator=generator),
    }
    return GeometryFrame(**(content | others))


def test_a_third_of_wrong_depths_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0.5, 2, (2, 30, 40))
    measured = predicted * METRES * rng.normal(1, 0.01, predicted.shape)
    wrong = rng.random(predicted.shape) < 0.3
    measured[wrong] = rng.choice([0.0, np.nan, -1.0, 9.0, 0.01], wrong.sum())
    scale = scale_from_depth(predicted, measured)
    assert scale.source == "depth" and scale.metres == pytest.approx(METRES, rel=0.01) and scale.spread < 0.05


def test_what_the_network_is_not_sure_of_does_not_count() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0.5, 2, (30, 40))
    doubtful = rng.random(predicted.shape) < 0.4
    measured = predicted * np.where(doubtful, 5 * METRES, METRES)
    scale = scale_from_depth(predicted, measured, confidence=np.where(doubtful, 1.0, 3.0))
    assert scale.metres == pytest.approx(METRES) and scale.spread == pytest.approx(0)


def test_a_scale_that_nothing_tells_is_unknown_and_gives_no_metres() -> None:
    nothing = np.full((30, 40), np.nan)
    assert scale_from_depth(np.ones((30, 40)), nothing) is UNKNOWN
    few = nothing.copy()
    few[0] = 1.0
    assert not scale_from_depth(np.ones((30, 40)), few, confidence=np.ones((30, 40))).is_known
    at_rest = np.repeat(np.eye(4)[None], 5, axis=0)
    assert scale_from_baselines(at_rest, at_rest) is UNKNOWN
    assert scale_from_baselines(np.zeros((0, 4, 4)), np.zeros((0, 4, 4))) is UNKNOWN
    said = in_metres(frame(), UNKNOWN)
    assert said.depth is not None and said.depth.isnan().all() and said.pose[..., :3].isnan().all()
    assert torch.equal(said.pose[..., 3:], frame().pose[..., 3:])


def test_baselines_of_any_world_tell_the_scale() -> None:
    rng = np.random.default_rng(0)
    T_world_camera = np.stack([from_rpy(rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 3)) for _ in range(8)])
    T_first_camera = invert(T_world_camera[0]) @ T_world_camera
    predicted = T_first_camera.copy()
    predicted[:, :3, 3] /= METRES
    predicted[7, :3, 3] += 4.0
    known = T_world_camera.copy()
    known[3] = np.nan
    scale = scale_from_baselines(invert(predicted), known)
    assert scale.source == "baselines" and scale.metres == pytest.approx(METRES)
    still = np.repeat(T_world_camera[:1], 8, axis=0)
    assert not scale_from_baselines(invert(predicted), still).is_known


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one shape"):
        scale_from_depth(np.ones((3, 4)), np.ones((4, 3)))
    with pytest.raises(InvalidInput, match="needed is"):
        scale_from_baselines(np.zeros((2, 4, 4)), np.zeros((3, 4, 4)))


def test_metres_scale_poses_depth_and_points_alike() -> None:
    """What is lifted from depth and pose in metres is what is lifted without, times the scale."""
    plain = frame()
    metric = in_metres(plain, scale_from_depth(np.ones((20, 20)), np.full((20, 20), METRES)))

    def lifted(one: GeometryFrame) -> Any:
        pose = one.pose.numpy()
        K = decode_intrinsics(pose, height=HEIGHT, width=WIDTH)
        assert one.depth is not None
        return lift(one.depth.numpy(), intrinsics=K, T_camera_world=decode_poses(pose))

    np.testing.assert_allclose(lifted(metric), METRES * lifted(plain), atol=1e-5)
    assert metric.points is not None and plain.points is not None
    torch.testing.assert_close(metric.points, METRES * plain.points)
    nothing = in_metres(frame(depth=None, points=None), UNKNOWN)
    assert nothing.depth is None and nothing.points is None


def test_a_calibrated_camera_takes_the_place_of_the_guessed_one() -> None:
    camera = PinholeCamera(width=WIDTH, height=HEIGHT, K=np.array([[50.0, 0, 27], [0, 48, 22], [0, 0, 1]]))
    known = calibrated(frame(), camera)
    K = decode_intrinsics(known.pose.numpy(), height=HEIGHT, width=WIDTH)[0]
    np.testing.assert_allclose(np.diag(K)[:2], (50, 48), rtol=1e-5)
    assert torch.equal(known.pose[:, :7], frame().pose[:, :7])
    with pytest.raises(InvalidCamera, match="56 x 42"):
        calibrated(frame(), camera.scaled(28, 21))
    bent = PinholeCamera(width=WIDTH, height=HEIGHT, K=camera.K, distortion=np.array([0.1, 0, 0, 0, 0]))
    for refused in (lambda: calibrated(frame(), bent), lambda: prepared_camera(bent, mode="crop")):
        with pytest.raises(InvalidCamera, match="rectify"):
            refused()


@pytest.mark.parametrize("mode", ["crop", "pad", "original", "gt"])
@pytest.mark.parametrize("size", [(640, 480), (300, 700), (90, 61)])
def test_a_prepared_camera_sees_a_mark_where_it_is(mode: Mode, size: tuple[int, int]) -> None:
    """A black mark on white: its middle in the prepared image is where the prepared camera projects it."""
    width, height = size
    camera = PinholeCamera(width=width, height=height, K=np.array([[200.0, 0, 40], [0, 210, 30], [0, 0, 1]]))
    left, top, side = width // 3, height // 2, 9
    image = np.full((height, width, 3), 255, np.uint8)
    image[top : top + side, left : left + side] = 0
    pixels = prepare_frames([image], mode=mode).pixels[0, 0]
    prepared = prepared_camera(camera, mode=mode)
    assert pixels.shape == (prepared.height, prepared.width)
    u, v = left + (side - 1) / 2, top + (side - 1) / 2
    ray = np.linalg.inv(camera.K) @ (u, v, 1)
    weights = np.clip(1 - pixels, 0, 1)
    rows, columns = np.mgrid[: prepared.height, : prepared.width]
    seen = (weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()
    np.testing.assert_allclose(prepared.project(ray), seen, atol=0.3)
