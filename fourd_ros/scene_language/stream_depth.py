"""Depth of a stream of images, for whoever asks for one image after the other."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.errors import InvalidModel, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.model_io.folder import find_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.scene_language.camera_view import CameraView
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.token_cache import CachePolicy

COMPACT = "scene_language_compact"


class StreamDepth:
    """Says depth as the reconstruction wants it (a `DepthSource`), remembering earlier images.

    The network's unit of length is not metres, but one and the same for a stream: what is reconstructed with it is
    right up to one factor, unless `metres` is known.

    Args:
        model: with a depth head.
        metres: in a unit of the network.
        policy: what is remembered, see `GeometryStream`.

    Raises:
        InvalidModel: no depth head.
        InvalidParameter: `metres` is not a positive number.
    """

    def __init__(self, model: SceneLanguage, *, metres: float = 1.0, policy: CachePolicy | None = None) -> None:
        if model.geometry.depth_head is None:
            raise InvalidModel("the model has no depth head")
        if not 0 < metres < float("inf"):
            raise InvalidParameter(f"a unit of {metres} m; needed is a positive length")
        self._stream, self._metres, self._side = model.stream(policy=policy), metres, model.geometry.sizes.img_size
        self._device = next(model.geometry.parameters()).device
        self._size: tuple[int, ...] = ()

    def depth(self, rgb: NDArray[np.uint8], camera: PinholeCamera | None = None) -> NDArray[np.float32]:
        """Depth of the next image; where its size is another one, a stream begins anew.

        Args:
            rgb: colour, shape [H, W, 3].
            camera: not asked: the network guesses the field of view.

        Returns:
            Along the optical axis, shape [H, W]; NaN above and below what the network sees of high images.

        Raises:
            InvalidImage: no 8-bit colours, or so small or narrow that no patch is left.
        """
        if rgb.shape != self._size:
            self._stream.reset()
            self._size = rgb.shape
        height, width = rgb.shape[:2]
        view = CameraView.of_size(width, height, side=self._side)
        said = self._stream.step(torch.from_numpy(view.prepared(rgb)).to(self._device)).depth
        assert said is not None
        return _spread(said[0].float().cpu().numpy() * np.float32(self._metres), view)


def compact_depth() -> StreamDepth:
    """Of the shipped model; raises UnknownModel where the package came without it."""
    model: SceneLanguage = load_model(find_model(COMPACT))
    return StreamDepth(model)


def _spread(depth: NDArray[np.float32], view: CameraView) -> NDArray[np.float32]:
    """The nearest of the depth [h, w] that the network saw, in the camera's own pixels, shape [H, W]."""
    seen, camera = view.seen, view.camera
    across, down = (
        ((np.arange(length) - camera.K[axis, 2]) * seen.K[axis, axis] / camera.K[axis, axis] + seen.K[axis, 2])
        for axis, length in ((0, camera.width), (1, camera.height))
    )
    x, y = np.meshgrid(across.clip(0, seen.width - 1).astype(np.float32), down.astype(np.float32))
    spread = cv2.remap(depth, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    spread[(y < -0.5) | (y > seen.height - 0.5)] = np.nan
    return np.asarray(spread, np.float32)
