"""The cube of the shapes before the camera: by depth, by size, not at all; hidden, cropped and wrong depth."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from placement_rig import CAMERA, ball, corner, seen

from fourd_ros.compositional.placement import (
    R_CAMERA_CUBE,
    UNPLACED,
    Placement,
    SeenObject,
    place_cube,
    rotations_around,
)
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidClip
from fourd_ros.geometry.transforms import rotation_about

FloatArray = NDArray[np.float64]
SCALE, PLACE = 0.3, [0.02, -0.03, 1.0]


def pose(*, tilt: float = 0.0, yaw: float = 0.0) -> FloatArray:
    T = np.eye(4)
    T[:3, :3] = SCALE * R_CAMERA_CUBE @ rotation_about([1.0, 0, 0], tilt) @ rotation_about([0, 1.0, 0], yaw)
    T[:3, 3] = PLACE
    return T


TRUTH = pose(tilt=0.15, yaw=-0.2)


@pytest.fixture(scope="module")
def scene() -> list[SeenObject]:
    return seen([corner(), ball()], TRUTH)


def corner_error(placement: Placement, truth: FloatArray = TRUTH) -> float:
    """How far the corners of a cube of half the size are off, in units of the cube."""
    corners = np.array([[x, y, z, 2] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    return float(np.linalg.norm(corners @ (placement.T_camera_cube - truth)[:3].T, axis=1).max() / SCALE)


def test_by_depth(scene: list[SeenObject]) -> None:
    found = place_cube(scene, CAMERA)
    assert found.source == "depth"
    assert corner_error(found) < 0.06
    assert found.scale == pytest.approx(SCALE, rel=0.03)
    assert found.residual < 0.006
    assert found.confidence > 0.9
    again = place_cube(scene, CAMERA)
    np.testing.assert_array_equal(found.T_camera_cube, again.T_camera_cube)


def test_a_quarter_of_the_depth_may_be_wrong_and_some_missing(scene: list[SeenObject]) -> None:
    rng = np.random.default_rng(0)
    depth = np.array(scene[0].depth)
    wrong = rng.random(depth.shape) < 0.25
    depth[wrong] = rng.uniform(0.3, 4.0, wrong.sum())
    depth[rng.random(depth.shape) < 0.2] = np.nan
    found = place_cube([replace(one, depth=depth) for one in scene], CAMERA)
    assert corner_error(found) < 0.1
    assert 0.5 < found.confidence < 0.9, "what is wrong is told"


def test_what_something_stands_before_does_no_harm(scene: list[SeenObject]) -> None:
    post = np.zeros((CAMERA.height, CAMERA.width), bool)
    post[:, 30:40] = True
    depth = np.where(post, 0.4, np.array(scene[0].depth))
    found = place_cube([replace(one, depth=depth, mask=one.mask & ~post) for one in scene], CAMERA)
    assert found.scale == pytest.approx(SCALE, rel=0.05)
    assert np.linalg.norm(found.T_camera_cube[:3, 3] - PLACE) < 0.03


def test_what_is_beyond_the_picture_does_no_harm() -> None:
    aside = TRUTH.copy()
    aside[:3, 3] += [-0.37, 0.0, 0.0]
    cut = seen([corner(), ball()], aside)
    assert cut[0].mask[:, 0].any(), "the picture must cut it, or nothing is tested"
    found = place_cube(cut, CAMERA)
    assert corner_error(found, aside) < 0.1
    assert found.scale == pytest.approx(SCALE, rel=0.03)


def test_a_cube_turned_anyhow_is_found_by_more_starts() -> None:
    truth = pose(tilt=0.35, yaw=2.3)
    found = place_cube(
        seen([corner(), ball()], truth), CAMERA, rotations=rotations_around(azimuths=4, elevations=(0.3,))
    )
    assert corner_error(found, truth) < 0.15


def test_by_known_size(scene: list[SeenObject]) -> None:
    straight = seen([corner(), ball()], pose(), with_depth=False)
    sized = [straight[0], replace(straight[1], size=0.6 * SCALE)]
    found = place_cube(sized, CAMERA)
    assert found.source == "size"
    assert found.scale == pytest.approx(SCALE, rel=1e-3)
    assert corner_error(found, pose()) < 0.05
    assert 0.3 < found.confidence <= 0.5
    wrong = place_cube([replace(one, size=0.6 * SCALE) for one in straight], CAMERA)
    assert wrong.confidence < found.confidence, "sizes that contradict each other"


def test_without_anything_it_is_the_identity_and_says_so(scene: list[SeenObject]) -> None:
    blind = [replace(one, depth=None) for one in scene]
    nothing = np.zeros_like(scene[0].mask)
    no_depth = np.full(nothing.shape, np.nan)
    for told in (
        [],
        blind,
        [replace(one, depth=no_depth) for one in scene],
        [replace(one, mask=nothing) for one in scene],
        [replace(one, mesh=SurfaceMesh.empty()) for one in scene],
    ):
        found = place_cube(told, CAMERA)
        assert found == UNPLACED
        assert (found.source, found.confidence) == ("identity", 0.0)
        np.testing.assert_array_equal(found.T_camera_cube, np.eye(4))


def test_a_frame_in_which_an_object_is_hidden_is_passed_over(scene: list[SeenObject]) -> None:
    hidden = replace(scene[0], mask=np.zeros_like(scene[0].mask))
    with_it, without = place_cube([*scene, hidden], CAMERA), place_cube(scene, CAMERA)
    np.testing.assert_array_equal(with_it.T_camera_cube, without.T_camera_cube)


def test_what_does_not_fit_is_refused(scene: list[SeenObject]) -> None:
    with pytest.raises(InvalidClip, match="scale either"):
        place_cube(scene, replace(CAMERA, width=2 * CAMERA.width))
    with pytest.raises(InvalidClip, match="one size"):
        replace(scene[0], depth=np.ones((4, 4)))
    with pytest.raises(InvalidClip, match="needed is bool"):
        replace(scene[0], mask=scene[0].mask.astype(np.uint8))
    with pytest.raises(InvalidClip, match="positive"):
        replace(scene[0], size=0.0)
