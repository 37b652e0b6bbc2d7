"""Where depth comes from: the clip itself, files, a network of another room, or nowhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidClip, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.depth_files import known_depth, read_unidepth
from fourd_ros.registries import find_registered

__all__ = ["DEPTH_SOURCES", "DepthSource", "depth_from_file", "depth_of_clip", "find_depth_source", "own_depth"]


class DepthSource(Protocol):
    """Something that tells depth from colour."""

    def depth(self, rgb: NDArray[np.uint8], camera: PinholeCamera | None) -> NDArray[np.floating]:
        """Depth of one frame; frames of a stream come in their order.

        Args:
            rgb: colour, shape [H, W, 3].
            camera: that took it, where it is known.

        Returns:
            z-depth [m], NaN where unknown, shape [H, W].
        """
        ...


DEPTH_SOURCES: dict[str, str] = {"scene_language": "fourd_ros.scene_language.stream_depth:compact_depth"}
"""Name -> ``module:function`` that makes a `DepthSource`, called without arguments. A room adds its line."""


def find_depth_source(name: str) -> DepthSource:
    """A source of depth, imported and made now.

    Args:
        name: registered in `DEPTH_SOURCES`, or ``module:function`` of a user's own.

    Raises:
        InvalidParameter: nothing of that name, or it makes something else.
        MissingDependency: it needs a module that is not installed.
    """
    make = find_registered(DEPTH_SOURCES, name, what="depth source", error=InvalidParameter, others=True)
    source: DepthSource | None = make() if callable(make) else None
    if source is None or not callable(getattr(source, "depth", None)):
        raise InvalidParameter(f"depth source '{name}' makes nothing with a function depth(rgb, camera)")
    return source


def own_depth(clip: Clip) -> NDArray[np.float32] | None:
    """Depth that came with a clip, shape [F, H, W]; None where there is none, as for structure from motion alone."""
    return None if clip.depth is None else known_depth(clip.depth)


def depth_from_file(clip: Clip, path: Path) -> NDArray[np.float32]:
    """Depth of all frames from an array file such as ``unidepth/depth.npy``, in the size of the clip, shape [F, H, W].

    Raises:
        InvalidClip: missing, damaged, or of another number of frames than the clip.
    """
    return read_unidepth(path, frames=clip.frames, chosen=range(clip.frames), size=(clip.width, clip.height))


def depth_of_clip(
    clip: Clip, source: DepthSource, *, progress: Callable[[float], None] | None = None
) -> NDArray[np.float32]:
    """Depth of all frames from a source, shape [F, H, W].

    Args:
        clip: the frames.
        source: asked for one frame after the other.
        progress: told the share that is done.

    Raises:
        InvalidClip: the source answers with another shape.
    """
    depth = np.empty(clip.rgb.shape[:3], np.float32)
    for frame, rgb in enumerate(clip.rgb):
        told = np.asarray(source.depth(rgb, clip.camera))
        if told.shape != depth.shape[1:]:
            raise InvalidClip(f"depth of frame {frame} has shape {list(told.shape)}, needed {list(depth.shape[1:])}")
        depth[frame] = known_depth(told)
        if progress is not None:
            progress((frame + 1) / clip.frames)
    return depth
