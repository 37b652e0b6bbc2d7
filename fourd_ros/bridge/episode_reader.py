"""Bags of any robot with cameras, joints and transforms, read as episodes; no ROS installation is needed."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fourd_ros.bridge.episode_builder import EpisodeBuilder
from fourd_ros.bridge.episode_frames import FRAMES, Frame, FrameMaker
from fourd_ros.bridge.episode_inputs import find_episode_inputs
from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.episode_streams import EpisodeStreams
from fourd_ros.bridge.times import NS_PER_S, seconds_to_ns
from fourd_ros.data.bags import BagReader
from fourd_ros.data.dropped import Dropped, DropTally
from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_bag import read_facts
from fourd_ros.errors import InvalidBag

__all__ = ["Dropped", "EpisodeOptions", "bag_id", "read_episodes"]

MISSING_FRAME = 1.5
"""Frames that are further apart than this many periods have one missing between them."""

FASTEST = 1.5
"""Cameras may be quicker than their rate by this factor for a while."""

_TAIL_BYTES = 65536
_BAG_FILES = {".mcap", ".db3", ".yaml"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+=@-]+")
_NAME_LENGTH = 100


def read_episodes(
    bag: Path | str, options: EpisodeOptions | None = None, *, progress: Callable[[float], None] | None = None
) -> Iterator[Episode | Dropped]:
    """The episodes of a bag in the order of time, then what was left out and why.

    Memory holds one episode, and as much of the bag as joints, transforms and images may be late.

    Args:
        bag: rosbag2 folder, ``.mcap`` or ``.db3`` file.
        options: how frames are made, and where episodes begin and end.
        progress: called now and then with the share of the bag that was read.

    Raises:
        InvalidBag: unreadable, or without a camera, its calibration, or joints. Damage that shows only later ends the
            episodes, and is told as something dropped.
        InvalidInput: the robot description or an option does not fit the bag.
    """
    with BagReader(bag) as reader:
        yield from _EpisodeReader(reader, options or EpisodeOptions(), progress or (lambda share: None)).read()


def bag_id(bag: Path | str) -> str:
    """A name for a bag that can name files: its own, and a hash of the ends of its files.

    Raises:
        InvalidBag: there is no bag.
    """
    path = Path(bag)
    files = [path] if path.is_file() else sorted(f for f in path.glob("*") if f.suffix in _BAG_FILES)
    if not files:
        raise InvalidBag(f"there is no bag '{path}'; needed: a rosbag2 folder or an .mcap file")
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        with file.open("rb") as content:
            content.seek(max(0, size - _TAIL_BYTES))
            digest.update(f"{size}:".encode() + content.read())
    name = _NOT_IN_NAMES.sub("_", path.stem if path.is_file() else path.resolve().name).lstrip("-.+=@")
    return f"{name[:_NAME_LENGTH] or 'bag'}_{digest.hexdigest()[:8]}"


class _EpisodeReader:
    """One pass over one bag."""

    def __init__(self, bag: BagReader, options: EpisodeOptions, progress: Callable[[float], None]) -> None:
        self._bag, self._options, self._progress = bag, options, progress
        self._id = bag_id(bag.path)
        self._tally = DropTally()
        self._inputs = find_episode_inputs(bag, options, self._tally)
        self._streams = EpisodeStreams(bag, self._inputs, options, self._tally)
        self._maker = FrameMaker(self._inputs, self._streams, options, self._tally)
        self._builder: EpisodeBuilder | None = None
        self._facts = read_facts(bag.custom_data)
        self._begun = 0
        period = 1 / self._inputs.rate
        self._gap_ns = seconds_to_ns(max(options.gap, MISSING_FRAME * period))

    def read(self) -> Iterator[Episode | Dropped]:
        recorded_ns = self._bag.start_ns
        span_ns = max(1, self._bag.end_ns - self._bag.start_ns)
        try:
            for raw in self._bag.raw(self._streams.topics):
                recorded_ns = raw.stamp_ns
                if self._streams.take(raw):
                    yield from self._restart(recorded_ns)
                    self._streams.take(raw)
                yield from self._episodes(self._maker.frames(recorded_ns))
                self._progress((recorded_ns - self._bag.start_ns) / span_ns)
        except InvalidBag as error:
            self._tally.add(error.kind, "the rest of the bag", recorded_ns, str(error))
        yield from self._episodes(self._maker.frames(recorded_ns, final=True))
        self._streams.close()
        self._maker.close()
        yield from self._finished(last=True)
        yield from self._tally.result()

    def _restart(self, recorded_ns: int) -> Iterator[Episode]:
        yield from self._episodes(self._maker.frames(recorded_ns, final=True))
        yield from self._finished()
        self._streams.restart()
        self._maker.restart()

    def _episodes(self, frames: Iterator[Frame]) -> Iterator[Episode]:
        """What the next frames complete."""
        for frame in frames:
            if self._builder is not None and self._begins(frame, self._builder):
                yield from self._finished()
            if self._builder is None:
                self._builder = EpisodeBuilder(self._inputs, frame, capacity=self._capacity(frame))
                self._begun += 1
            else:
                self._builder.add(frame)

    def _begins(self, frame: Frame, former: EpisodeBuilder) -> bool:
        """Whether an episode begins with a frame."""
        return (
            frame.stamp_ns - former.last_ns > self._gap_ns
            or not former.is_like(frame)
            or (frame.stamp_ns - former.start_ns) / NS_PER_S >= self._options.max_duration
            or former.full
        )

    def _capacity(self, frame: Frame) -> int:
        """The most frames of an episode that begins with a frame: those of the whole bag, if they are not too large."""
        in_bag = math.ceil(self._bag.duration * self._inputs.rate * FASTEST) + 1
        return max(1, min(in_bag, self._options.max_bytes // frame.nbytes))

    def _finished(self, *, last: bool = False) -> Iterator[Episode]:
        builder, self._builder = self._builder, None
        if builder is None:
            return
        if len(builder) < self._options.min_frames:
            why = f"an episode of {len(builder)} frames; at least {self._options.min_frames} are needed"
            self._tally.add("short_episode", FRAMES, builder.start_ns, why, count=len(builder))
            return
        yield builder.build(
            name=f"{self._id}_{builder.start_ns}",
            source=self._id,
            facts=self._facts_of(whole=last and self._begun == 1),
            tally=self._tally,
        )

    def _facts_of(self, *, whole: bool) -> dict[str, Any]:
        """What the metadata say about an episode; a part of what was recorded is neither success nor failure."""
        facts = dict(self._facts)
        if not whole:
            facts.pop("success", None)
        return facts
