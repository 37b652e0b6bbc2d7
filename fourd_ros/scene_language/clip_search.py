"""Texts in a whole clip: its frames go through a stream once, and what texts mean is put together at the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidModel
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.scene_language.found_things import LEAST_PIXELS, FoundThing, joined, sightings
from fourd_ros.scene_language.live_language import LiveFrame, LiveLanguage
from fourd_ros.scene_language.metric_scale import MetricScale
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.placement import Placement
from fourd_ros.scene_language.presence import PresenceGate
from fourd_ros.scene_language.text_encoder import checked_texts
from fourd_ros.scene_language.text_search import TextSearch
from fourd_ros.scene_language.token_cache import CachePolicy

WORLD = "first_camera"
"""Name of the frame of everything: that of the first camera."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipAnswer:
    """Where P texts are in F frames.

    Args:
        texts: in their order.
        frames: without features.
        masks: where each is, shape [F, P, h, w].
        relevancy: 0..1, float16, shape [F, P, h, w].
        things: of every text, most relevant first, in the frame of the first camera.
        scale: of the stream; where it is not known, things are in its own unit.
    """

    texts: tuple[str, ...]
    frames: tuple[LiveFrame, ...]
    masks: NDArray[np.bool_]
    relevancy: NDArray[np.float16]
    things: tuple[tuple[FoundThing, ...], ...]
    scale: MetricScale


def search_clip(
    model: SceneLanguage,
    search: TextSearch,
    texts: Sequence[str],
    *,
    stamps_ns: NDArray[np.int64],
    rgb: NDArray[np.uint8],
    camera: PinholeCamera | None = None,
    depth: NDArray[np.floating] | None = None,
    policy: CachePolicy | None = None,
    gate: PresenceGate | None = None,
    least_pixels: int = LEAST_PIXELS,
    progress: Callable[[float], object] = lambda share: None,
) -> ClipAnswer:
    """Look for texts in every frame.

    Args:
        model: with language.
        search: of the same model.
        texts: one at least.
        stamps_ns: increasing [ns], shape [F].
        rgb: colours, shape [F, H, W, 3].
        camera: its calibration without distortion, if one is known.
        depth: measured, NaN where unknown [m], shape [F, H, W], if any was.
        policy: what the stream remembers.
        gate: what makes a text present; None for that of the model.
        least_pixels: of a thing in a frame.
        progress: called with the share that is done.

    Raises:
        InvalidModel: the model has no language.
        InvalidInput, InvalidText: no text, or one that is empty or too long.
        InvalidImage, InvalidCamera: see `LiveLanguage.add`.
    """
    wanted = checked_texts(texts)
    search.embeddings(wanted)
    if model.language is None:
        raise InvalidModel("the model has no language head, so that texts mean nothing to it")
    live = LiveLanguage(model, policy=policy)
    frames, masks, relevancy = [], [], []
    for number, stamp_ns in enumerate(stamps_ns.tolist()):
        frame = live.add(stamp_ns, rgb[number], camera=camera, depth=None if depth is None else depth[number])
        assert frame.features is not None
        found = search.search(frame.features.float(), wanted, gate=gate)
        frames.append(replace(frame, features=None))
        masks.append(found.masks.cpu().numpy())
        relevancy.append(found.relevancy.half().cpu().numpy())
        progress((number + 1) / len(stamps_ns))
    place = Placement.of(WORLD, np.eye(4), live.scale)
    limit = (gate or search.told.gate).relevancy
    things = tuple(
        _things(
            frames,
            [mask[text] for mask in masks],
            [one[text] for one in relevancy],
            place=place,
            limit=limit,
            least_pixels=least_pixels,
        )
        for text in range(len(wanted))
    )
    return ClipAnswer(
        texts=tuple(wanted),
        frames=tuple(frames),
        masks=np.stack(masks),
        relevancy=np.stack(relevancy),
        things=things,
        scale=live.scale,
    )


def _things(
    frames: Sequence[LiveFrame],
    masks: Sequence[NDArray[np.bool_]],
    relevancy: Sequence[NDArray[np.float16]],
    *,
    place: Placement,
    limit: float,
    least_pixels: int,
) -> tuple[FoundThing, ...]:
    chains: list[FoundThing] = []
    for frame, mask, relevant in reversed(list(zip(frames, masks, relevancy, strict=True))):
        seen = sightings(frame, mask, relevant, place=place.points, limit=limit, least_pixels=least_pixels)
        chains = joined(chains, seen)
    return tuple(sorted(chains, key=lambda thing: -thing.relevancy))
