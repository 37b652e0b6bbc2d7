"""A calibrated camera in place of what the network guesses of it."""

from dataclasses import replace

import torch

from fourd_ros.errors import InvalidCamera
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.scene_language.frames import PATCH, SIDE, Mode, check_side, whole_patches
from fourd_ros.scene_language.geometry_stream import GeometryFrame
from fourd_ros.scene_language.pose_encoding import FIELD_OF_VIEW


def calibrated(frame: GeometryFrame, camera: PinholeCamera) -> GeometryFrame:
    """The frame with the field of view of a known camera; poses, depth and points stay as they are.

    Pixels are then lifted along their true rays. What the network guessed wrong of the field of view it may have put
    into depth and poses too; nothing here corrects that.

    Args:
        frame: of B streams of this camera, H x W.
        camera: without distortion, of the prepared image (see `prepared_camera`). Its principal point cannot be told
            in an encoding; `lift` takes `camera.K`.

    Raises:
        InvalidCamera: of another image size, or with distortion.
    """
    height, width = frame.tokens.image_size
    if (camera.height, camera.width) != (height, width):
        raise InvalidCamera(f"a camera of {camera.width} x {camera.height} pixels; the frame has {width} x {height}")
    if camera.distorted:
        raise InvalidCamera("the camera has distortion; rectify the image and give its pinhole camera")
    sides = torch.tensor([height, width], dtype=torch.float64) / 2
    focal = torch.tensor([camera.K[1, 1], camera.K[0, 0]], dtype=torch.float64)
    pose = frame.pose.clone()
    pose[..., FIELD_OF_VIEW] = 2 * torch.atan(sides / focal).to(pose)
    return replace(frame, pose=pose)


def prepared_camera(camera: PinholeCamera, *, mode: Mode, side: int = SIDE) -> PinholeCamera:
    """The camera of an image as `prepare_frames` leaves it, when it was the only one or all had its size.

    Args:
        camera: of the image as it came, without distortion.
        mode: of the preparation.
        side: of the preparation [px].

    Raises:
        InvalidCamera: with distortion.
        InvalidParameter: a side that is not whole patches.
    """
    check_side(side)
    if camera.distorted:
        raise InvalidCamera("the camera has distortion; rectify the image and give its pinhole camera")
    if mode == "gt":
        return camera
    if mode == "original":
        width, height = (length // PATCH * PATCH for length in (camera.width, camera.height))
        return _cut(camera, (camera.width - width) // 2, (camera.height - height) // 2, width, height)
    if mode == "crop" or camera.width >= camera.height:
        resized = camera.scaled(side, whole_patches(camera.height * (side / camera.width)))
    else:
        resized = camera.scaled(whole_patches(camera.width * (side / camera.height)), side)
    if mode == "crop":
        return _cut(resized, 0, max(0, (resized.height - side) // 2), side, min(resized.height, side))
    left, above = (side - resized.width) // 2, (side - resized.height) // 2
    return _cut(resized, -left, -above, side, side)


def _cut(camera: PinholeCamera, left: int, above: int, width: int, height: int) -> PinholeCamera:
    """Without columns at the left and rows above; with more of them where they are negative."""
    K = camera.K.copy()
    K[:2, 2] -= left, above
    return PinholeCamera(width=width, height=height, K=K)
