"""Texts asked of the frames that scene language remembers, and the ones that are asked of every frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fourd_msgs.msg import SceneObjectArray
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from fourd_ros.bridge.clouds import FIRST_OBJECT_LABEL, POINT, make_cloud
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.qos import RESULT
from fourd_ros.bridge.scene_objects import scene_object, scene_objects
from fourd_ros.bridge.times import make_header, stamp_to_ns
from fourd_ros.errors import InvalidThreshold, InvalidTime, NoObservation, TooLarge
from fourd_ros.geometry.transforms import from_parts
from fourd_ros.nodes.base import FourdNode
from fourd_ros.scene_language.found_things import FoundThing, Sighting, find_things, sightings
from fourd_ros.scene_language.frame_memory import FrameMemory
from fourd_ros.scene_language.live_language import LiveFrame
from fourd_ros.scene_language.placement import Placement
from fourd_ros.scene_language.presence import PresenceGate
from fourd_ros.scene_language.text_encoder import checked_texts
from fourd_ros.scene_language.text_search import TextSearch

MOST_TEXTS = 250
"""Standing texts, whose numbers are told in 8 bits."""


@dataclass(frozen=True, kw_only=True)
class QuestionLimits:
    """Bounds of an answer.

    Args:
        frames: of a span of time that are looked at.
        objects: that are told of, where a question does not say.
        least_pixels: of an object in a frame, as the network saw it.
        bytes: of masks and points.
    """

    frames: int
    objects: int
    least_pixels: int
    bytes: int


def answer_query(
    request: Any,
    response: Any,
    *,
    search: TextSearch,
    memory: FrameMemory,
    placement: Callable[[], Placement],
    limits: QuestionLimits,
) -> None:
    """Fill in a ``QueryScene.Response`` but for its error.

    Args:
        request: ``QueryScene.Request``.
        response: to fill in.
        search: that finds texts.
        memory: of frames with features.
        placement: frame of the answer, now.
        limits: bounds.

    Raises:
        InvalidText: empty, or too long.
        InvalidThreshold: not 0 to 1.
        InvalidTime: a span that ends before it begins.
        NoObservation: nothing is remembered of that span.
        TooLarge: more bytes than `limits` allow.
    """
    (text,) = checked_texts([request.text])
    gate = _gate(search, float(request.threshold))
    frames = _frames(request, memory, limits.frames)
    where = placement()
    things = find_things(search, frames, text, place=where.points, gate=gate, least_pixels=limits.least_pixels)
    things = things[: request.max_objects or limits.objects]
    needed = sum(_bytes(thing.last, masks=request.masks, points=request.points) for thing in things)
    if needed > limits.bytes:
        raise TooLarge(
            f"masks and points of {len(things)} objects take {needed / 1e6:.1f} MB; at most {limits.bytes / 1e6:.1f} "
            "are sent: ask for fewer objects, or raise answer_megabytes"
        )
    response.found = bool(things)
    response.relevancy = [thing.relevancy for thing in things]
    newest = make_header(frames[0].stamp_ns, where.name)
    for number, thing in enumerate(things, start=1):
        message = _message(newest, number, text, thing)
        if request.points:
            header = make_header(thing.last.frame.stamp_ns, where.name)
            message.points = make_cloud(
                header, thing.last.points, rgb=thing.last.rgb, label=FIRST_OBJECT_LABEL + number
            )
        response.objects.append(message)
        if request.masks:
            response.masks.append(_mask_image(thing.last))


class StandingQuestions:
    """Publishers of what texts mean in every frame with features, from a node's ``start`` to its ``stop``.

    ``~/found`` has the things of all texts, each with the text as its label, also where there are none;
    ``~/found/mask`` (mono8) has the number of the text at every pixel that the network saw, from 1, 0 for none.

    Args:
        node: that publishes.
        search: that finds texts.
        limits: bounds.
    """

    def __init__(self, node: FourdNode, search: TextSearch, limits: QuestionLimits) -> None:
        self._search, self._limits = search, limits
        self._found = node.advertise(SceneObjectArray, "~/found", RESULT)
        self._mask = node.advertise(Image, "~/found/mask", RESULT)

    def answer(self, frame: LiveFrame, texts: Sequence[str], camera_frame: str, placement: Placement) -> None:
        """Tell where texts are in a frame with features.

        Args:
            frame: what was seen.
            texts: one at least.
            camera_frame: of the camera.
            placement: frame of the things.

        Raises:
            InvalidText: one is empty or too long.
            TooLarge: more texts than a mask has numbers for.
        """
        if not (self._found.get_subscription_count() or self._mask.get_subscription_count()):
            return
        if len(texts) > MOST_TEXTS:
            raise TooLarge(f"{len(texts)} standing texts; at most {MOST_TEXTS}")
        assert frame.features is not None
        found = self._search.search(frame.features.float(), checked_texts(texts))
        masks, relevancy = found.masks.cpu().numpy(), found.relevancy.cpu().numpy()
        header = make_header(frame.stamp_ns, placement.name)
        numbers = np.zeros(frame.depth.shape, np.uint8)
        messages: list[Any] = []
        for place, text in enumerate(texts):
            for one in self._sightings(frame, masks[place], relevancy[place], placement):
                numbers[one.mask] = place + 1
                thing = FoundThing(last=one, first=one, frames=1, relevancy=one.relevancy)
                messages.append(_message(header, len(messages) + 1, text, thing))
        self._found.publish(scene_objects(header, messages))
        self._mask.publish(array_to_image(numbers, "mono8", make_header(frame.stamp_ns, camera_frame)))

    def _sightings(
        self, frame: LiveFrame, mask: NDArray[np.bool_], relevancy: NDArray[np.floating], placement: Placement
    ) -> list[Sighting]:
        return sightings(
            frame,
            mask,
            relevancy,
            place=placement.points,
            limit=self._search.told.gate.relevancy,
            least_pixels=self._limits.least_pixels,
        )[: self._limits.objects]


def _gate(search: TextSearch, threshold: float) -> PresenceGate:
    if not 0 <= threshold <= 1:
        raise InvalidThreshold(f"a threshold of {threshold}; needed is a relevancy of 0 to 1, 0 for that of the model")
    gate = search.told.gate
    return replace(gate, relevancy=threshold) if threshold else gate


def _frames(request: Any, memory: FrameMemory, most: int) -> list[LiveFrame]:
    begin, end = stamp_to_ns(request.from_time), stamp_to_ns(request.to_time)
    if end and begin > end:
        raise InvalidTime(f"from {begin * 1e-9:.3f} s to {end * 1e-9:.3f} s; the span ends before it begins")
    frames = memory.between(begin, end or 2**63, most=most)
    if not frames:
        newest = memory.newest()
        seen = "nothing was seen yet" if newest is None else f"the last frame is of {newest.stamp_ns * 1e-9:.3f} s"
        raise NoObservation(f"no frame of that time is remembered ({seen}, {len(memory)} frames in all)")
    return frames


def _bytes(sighting: Sighting, *, masks: bool, points: bool) -> int:
    camera = sighting.frame.view.camera
    return camera.width * camera.height * masks + len(sighting.points) * POINT.itemsize * points


def _mask_image(sighting: Sighting) -> Any:
    """In the camera's own image."""
    mask = sighting.frame.view.image_of(sighting.mask)
    return array_to_image(mask, "mono8", make_header(sighting.frame.stamp_ns, ""))


def _message(header: Any, number: int, text: str, thing: FoundThing) -> Any:
    return scene_object(
        header,
        number=number,
        name=text,
        T_frame_object=from_parts(np.eye(3), thing.last.centre),
        covariance=np.zeros((6, 6)),
        linear=np.zeros(3),
        angular=np.zeros(3),
        size=thing.last.size,
        dynamic=thing.moved,
        confidence=thing.relevancy,
        last_seen_ns=thing.last.frame.stamp_ns,
    )
