"""The files of Kinema4D's viewer in the live viewer: the points that were predicted, or what the original shows."""

from collections.abc import Callable

import numpy as np

from fourd_ros.data.viser_npz import CENTRE, SCALE, Content, reproject, vertical_field_of_view
from fourd_ros.geometry.pointmap_range import PointmapRange
from fourd_ros.geometry.transforms import FloatArray, from_parts
from fourd_ros.geometry.voxel import reduce
from fourd_ros.records import Pixels
from fourd_ros.viewer.point_scene import RGB, PointScene, SceneCamera, SceneFrame, SceneOptions, frame_of

VIEW = "film"
RATE = 24.0
"""Of the films [Hz]."""

T_SCENE_OPTICAL = from_parts([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.zeros(3))
"""The first camera looks along y, and z is up."""

_GUESSED_PLACE = (0.5, 0.5, -0.6)
"""Of the camera against points of 0..1, where no scale is known."""


def scene_of_content(content: Content, *, title: str, options: SceneOptions | None = None) -> PointScene:
    """What a file holds, in the frame of the first camera turned so that z is up.

    Args:
        content: of the file.
        title: what it is.
        options: what is shown; a file has one view.

    Raises:
        InvalidRollout: no point is known, or a camera pose is not finite.
    """
    options = options or SceneOptions()
    frames, height, width, _ = content["images"].shape
    shown = frames if options.reprojection else len(content["pointmap"])
    steps = range(0, shown, options.time_stride)
    budget = max(1, options.max_points // len(steps))
    make: Callable[[Content, int, int], SceneFrame] = _reprojected if options.reprojection else _predicted
    camera = SceneCamera(
        view=VIEW,
        true=False,
        frames=tuple(make(content, step, budget) for step in steps),
        fov=vertical_field_of_view(height, float(content["intrinsic"][0, 0])),
        aspect=width / height,
    )
    return PointScene(
        title=title, times=np.array(steps) / RATE, cameras=(camera,), rate=RATE, notes=(_note(content, options),)
    )


def _note(content: Content, options: SceneOptions) -> str:
    if options.reprojection:
        return "depth before the camera of the file, as the viewer of Kinema4D shows it"
    if SCALE in content:
        return "predicted points in metres"
    return "predicted points without unit: the file has no scale, and the camera stands at a guessed place"


def _reprojected(content: Content, step: int, budget: int) -> SceneFrame:
    _, height, width, _ = content["images"].shape
    stride = max(1, int(np.ceil(np.sqrt(height * width / budget))))
    found = reproject(content, step, stride=stride)
    known = np.isfinite(found.points).all(axis=-1)
    return frame_of(
        found.points[known],
        {RGB: np.rint(255 * found.colours[known]).astype(np.uint8)},
        T_scene_points=T_SCENE_OPTICAL,
        T_scene_camera=T_SCENE_OPTICAL @ content["cam_c2w"][step].astype(np.float64),
        image=content["images"][step],
    )


def _predicted(content: Content, step: int, budget: int) -> SceneFrame:
    unit = content["pointmap"][step].transpose(1, 2, 0).reshape(-1, 3)
    image = _to_pixels(content, step)
    chosen = reduce(unit, max_points=len(unit))
    chosen = chosen[unit[chosen].any(axis=-1)]  # black is where nothing was predicted
    chosen = chosen[reduce(unit[chosen], max_points=budget)]
    return frame_of(
        _in_metres(content, unit[chosen]),
        {RGB: image.reshape(-1, 3)[chosen]},
        T_scene_points=T_SCENE_OPTICAL,
        T_scene_camera=T_SCENE_OPTICAL @ _camera_pose(content, step),
        image=image,
    )


def _to_pixels(content: Content, step: int) -> Pixels:
    colours = np.nan_to_num(content["video"][step].transpose(1, 2, 0))
    return np.asarray(np.rint(255 * np.clip(colours, 0, 1)), np.uint8)


def _in_metres(content: Content, unit: FloatArray) -> FloatArray:
    if SCALE not in content:
        return unit
    cube = PointmapRange(centre=content[CENTRE], scale=float(content[SCALE]))
    return np.asarray(cube.to_metres(unit))


def _camera_pose(content: Content, step: int) -> FloatArray:
    if SCALE not in content:
        return from_parts(np.eye(3), _GUESSED_PLACE)
    return np.asarray(content["cam_c2w"][min(step, len(content["cam_c2w"]) - 1)], np.float64)
