"""``sensor_msgs/CameraInfo`` <-> `PinholeCamera`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCamera
from fourd_ros.geometry.camera import PinholeCamera

MAX_COEFFICIENTS = 16


def camera_from_info(msg: Any) -> PinholeCamera:
    """The camera of the image that a ``CameraInfo`` travels with.

    K of a CameraInfo is that of the full sensor; a region of interest moves its principal point, binning scales it.
    Binned pixels are means of their sensor pixels, so their centres lie between them.

    Raises:
        InvalidCamera: K is zero, singular or not finite, the distortion is unknown or of the wrong length,
            or the region of interest leaves the sensor.
    """
    width, height, K = _region(msg, np.asarray(msg.k, dtype=np.float64))
    bins = np.array([max(1, int(msg.binning_x)), max(1, int(msg.binning_y))])
    if width < bins[0] or height < bins[1]:
        raise InvalidCamera(f"binning of {bins.tolist()} leaves nothing of {width} x {height} pixels")
    K[:2] /= bins[:, None]
    K[:2, 2] += 0.5 / bins - 0.5
    model, distortion = _distortion(msg)
    return PinholeCamera(
        width=width // int(bins[0]),
        height=height // int(bins[1]),
        K=K,
        distortion_model=model,
        distortion=distortion,
    )


def camera_to_info(camera: PinholeCamera, header: Any) -> Any:
    """``sensor_msgs/CameraInfo`` of a camera, with the optical frame and stamp of `header`."""
    from sensor_msgs.msg import CameraInfo

    projection = np.hstack([camera.K, np.zeros((3, 1))])
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=camera.distortion.tolist(),
        k=camera.K.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def _region(msg: Any, flat: NDArray[np.float64]) -> tuple[int, int, NDArray[np.float64]]:
    """Width, height and intrinsics of the region of interest (all zeros: the full sensor)."""
    if flat.shape != (9,):
        raise InvalidCamera(f"k has {flat.size} elements, needed 9")
    K = flat.reshape(3, 3).copy()
    width, height, roi = int(msg.width), int(msg.height), msg.roi
    left, top = int(roi.x_offset), int(roi.y_offset)
    inner = int(roi.width) or width - left, int(roi.height) or height - top
    if left + inner[0] > width or top + inner[1] > height:
        raise InvalidCamera(
            f"the region of interest {inner[0]} x {inner[1]} at ({left}, {top}) leaves the sensor of {width} x {height}"
        )
    K[:2, 2] -= (left, top)
    return *inner, K


def _distortion(msg: Any) -> tuple[str, NDArray[np.float64]]:
    """Model and coefficients; without a model or with zeros only, there is no distortion."""
    if len(msg.d) > MAX_COEFFICIENTS:
        raise InvalidCamera(f"{len(msg.d)} distortion coefficients; no model has more than {MAX_COEFFICIENTS}")
    coefficients = np.array(msg.d, dtype=np.float64)
    if not msg.distortion_model and not coefficients.any():
        return "plumb_bob", np.zeros(0)
    return str(msg.distortion_model), coefficients
