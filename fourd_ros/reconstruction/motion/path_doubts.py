"""Whether a camera path can be believed."""

import numpy as np

from fourd_ros.reconstruction.motion.scene_motion import STATIC, SceneMotion
from fourd_ros.reconstruction.motion.tracks import Tracks

__all__ = ["doubts"]

FEWEST_STILL = 12
"""Still points that a frame should see, for its pose to be sure."""

MAJORITY = 0.5
"""Share of what is seen that should stand still."""

ROUGH = 0.003
"""Still points should fit within this, in longer sides of the image."""


def doubts(tracks: Tracks, motion: SceneMotion) -> tuple[str, ...]:
    """Reasons not to believe the path, in words.

    Args:
        tracks: that the motion was found from.
        motion: with the path.
    """
    found, seen = [], tracks.seen
    still = seen[:, motion.labels == STATIC]
    share = still.sum() / max(int(seen.sum()), 1)
    if share < MAJORITY:
        found.append(
            f"only {100 * share:.0f} % of what was tracked agrees on standing still: the camera path may be wrong, or "
            "that of a large thing that moves; masks of what moves (--masks) or more texture would help"
        )
    few = int((still.sum(axis=1) < FEWEST_STILL).sum())
    if few:
        found.append(
            f"{few} of {tracks.frames} frames see fewer than {FEWEST_STILL} still points: poses there are unsure"
        )
    if np.isfinite(motion.rms) and motion.rms > ROUGH * max(tracks.width, tracks.height):
        found.append(
            f"still points fit only to {motion.rms:.2f} px: a wrong focal length, a rolling shutter or distortion?"
        )
    return tuple(found)
