"""A fingerprint of what a clip holds."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.motion.tracks import Tracks

__all__ = ["hash_of_arrays", "hash_of_clip", "hash_of_tracks"]


def hash_of_clip(clip: Clip) -> dict[str, str]:
    """Hashes of name and frames, ``rgb``, and where there are any of ``camera``, ``depth`` and ``masks``."""
    found = {"rgb": hash_of_arrays(np.frombuffer(clip.name.encode(), np.uint8), clip.rgb, clip.stamps_ns)}
    if clip.camera is not None:
        found["camera"] = hash_of_arrays(clip.camera.K)
    for name, array in (("depth", clip.depth), ("masks", clip.masks)):
        if array is not None:
            found[name] = hash_of_arrays(array)
    return found


def hash_of_tracks(tracks: Tracks | None) -> str:
    """Of tracks; empty for none."""
    return "" if tracks is None else hash_of_arrays(tracks.positions, tracks.visible, tracks.born)


def hash_of_arrays(*arrays: NDArray[Any]) -> str:
    """Of shapes, types and values."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
