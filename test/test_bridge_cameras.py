"""CameraInfo <-> camera, and calibrations that are none."""

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from fourd_ros.bridge.cameras import camera_from_info, camera_to_info
from fourd_ros.errors import InvalidCamera
from fourd_ros.geometry.camera import PinholeCamera

K = [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]


def info(**changes):
    return CameraInfo(**{"width": 640, "height": 480, "k": K, "distortion_model": "plumb_bob", **changes})


@pytest.mark.parametrize(
    ("model", "coefficients"), [("plumb_bob", [0.1, -0.2, 0.001, 0.002, 0.05]), ("rational_polynomial", [0.1] * 8)]
)
def test_calibration_goes_there_and_back(model, coefficients):
    camera = PinholeCamera(
        width=640,
        height=480,
        K=np.array(K).reshape(3, 3),
        distortion_model=model,
        distortion=np.array(coefficients),
    )
    message = camera_to_info(camera, Header(frame_id="optical"))
    again = camera_from_info(message)
    assert (again.width, again.height, again.distortion_model) == (640, 480, model)
    np.testing.assert_array_equal(again.K, camera.K)
    np.testing.assert_array_equal(again.distortion, coefficients)
    np.testing.assert_array_equal(np.array(message.p).reshape(3, 4), np.hstack([camera.K, np.zeros((3, 1))]))


@pytest.mark.parametrize("coefficients", [[], [0.0] * 5])
def test_no_model_and_no_coefficients_is_no_distortion(coefficients):
    camera = camera_from_info(info(distortion_model="", d=coefficients))
    assert not camera.distortion.any()


def test_region_of_interest_moves_the_principal_point():
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=320, height=200)
    camera = camera_from_info(info(roi=roi))
    assert (camera.width, camera.height) == (320, 200)
    np.testing.assert_allclose(camera.K[:2, 2], [219.5, 199.5])


def test_binning_keeps_rays():
    """The centre of a binned pixel is where the centre of its sensor pixels was."""
    full, binned = camera_from_info(info()), camera_from_info(info(binning_x=2, binning_y=2))
    assert (binned.width, binned.height) == (320, 240)
    sensor_pixel = np.array([20.5, 30.5, 1.0])
    np.testing.assert_allclose(
        np.linalg.inv(binned.K) @ [10.0, 15.0, 1.0], np.linalg.inv(full.K) @ sensor_pixel, atol=1e-12
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"k": [0.0] * 9},
        {"k": [float("nan"), *K[1:]]},
        {"k": [500.0, 0.0, 1.0, 0.0, 500.0, 1.0, 0.0, 0.0, 0.0]},
        {"width": 0},
        {"distortion_model": "equidistant", "d": [0.1] * 4},
        {"d": [0.1] * 3},
        {"d": [float("nan")] * 5},
        {"d": [0.0] * 100_000},
        {"distortion_model": "", "d": [0.1] * 5},
        {"roi": RegionOfInterest(x_offset=600, width=100, height=100)},
        {"binning_x": 1000},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_unusable_calibrations_are_refused(changes):
    with pytest.raises(InvalidCamera):
        camera_from_info(info(**changes))
