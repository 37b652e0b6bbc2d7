"""The TF tree and its recent past: who hangs on whom, and where it was when."""

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.times import readable
from fourd_ros.errors import InvalidTransform, TransformUnavailable
from fourd_ros.geometry.transforms import interpolate

Pose = NDArray[np.float64]

MAX_FRAMES = 10_000
MAX_SAMPLES = 20_000


@dataclass
class Edge:
    """The history of one child frame in its parent; a static one holds a single pose for all times."""

    parent: str
    child: str
    static: bool
    stamps: list[int] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)
    leaping: bool = False

    def insert(self, stamp_ns: int, T_parent_child: Pose, *, keep_ns: int) -> None:
        """Add a sample in any order; the same stamp replaces, what is older than `keep_ns` falls out.

        Raises:
            InvalidTransform: it is ahead of all others by more than `keep_ns`, so it would displace them; the next
                one that says the same is taken.
        """
        ahead_ns = stamp_ns - self.stamps[-1] if self.stamps else 0
        self.leaping = ahead_ns > keep_ns and not self.leaping
        if self.leaping:
            raise InvalidTransform(
                f"'{self.parent}' -> '{self.child}' is stamped {readable(stamp_ns)}, {ahead_ns * 1e-9:.1f} s after the "
                "sample before it; such a leap counts from the second sample on"
            )
        position = bisect_left(self.stamps, stamp_ns)
        if position < len(self.stamps) and self.stamps[position] == stamp_ns:
            self.poses[position] = T_parent_child
            return
        self.stamps.insert(position, stamp_ns)
        self.poses.insert(position, T_parent_child)
        outdated = max(bisect_left(self.stamps, self.stamps[-1] - keep_ns), len(self.stamps) - MAX_SAMPLES)
        del self.stamps[:outdated], self.poses[:outdated]

    def check(self, stamp_ns: int, max_gap_ns: int) -> None:
        """Whether the pose at `stamp_ns` is known.

        Raises:
            TransformUnavailable: before the oldest sample, after the newest, or inside a gap.
        """
        if self.static:
            return
        position = bisect_left(self.stamps, stamp_ns)
        if position < len(self.stamps) and self.stamps[position] == stamp_ns:
            return
        if position in (0, len(self.stamps)):
            self._refuse(stamp_ns, "not yet" if position else "no longer")
        gap_ns = self.stamps[position] - self.stamps[position - 1]
        if gap_ns > max_gap_ns:
            self._refuse(stamp_ns, f"in a gap of {gap_ns * 1e-9:.3f} s (at most {max_gap_ns * 1e-9:.3f} s are bridged)")

    def at(self, stamp_ns: int) -> Pose:
        """``T_parent_child`` at a stamp that passed `check`, interpolated between its neighbours."""
        if self.static:
            return self.poses[0]
        position = bisect_left(self.stamps, stamp_ns)
        if self.stamps[position] == stamp_ns:
            return self.poses[position]
        before, after = self.stamps[position - 1], self.stamps[position]
        fraction = (stamp_ns - before) / (after - before)
        return interpolate(self.poses[position - 1], self.poses[position], fraction)

    def _refuse(self, stamp_ns: int, why: str) -> None:
        raise TransformUnavailable(
            f"'{self.parent}' -> '{self.child}' is {why} known at {readable(stamp_ns)}; "
            f"available: {readable(self.stamps[0])} to {readable(self.stamps[-1])}"
        )


@dataclass(frozen=True)
class Path:
    """The way from `source` up to the common ancestor and from there down to `target`."""

    target: str
    source: str
    from_source: tuple[Edge, ...]
    from_target: tuple[Edge, ...]

    @property
    def edges(self) -> tuple[Edge, ...]:
        return self.from_source + self.from_target

    def latest(self) -> int:
        """Newest stamp at which every edge is known [ns]; 0 when all are static."""
        return min((edge.stamps[-1] for edge in self.edges if not edge.static), default=0)

    def check(self, stamp_ns: int, max_gap_ns: int) -> None:
        """Raises TransformUnavailable, naming both ends and the edge that fails."""
        try:
            for edge in self.edges:
                edge.check(stamp_ns, max_gap_ns)
        except TransformUnavailable as error:
            raise TransformUnavailable(f"no transform from '{self.source}' to '{self.target}': {error}") from None


class FrameTree:
    """Edges by child frame.

    Args:
        keep_ns: how long a history is remembered [ns].
    """

    def __init__(self, *, keep_ns: int) -> None:
        self._keep_ns = keep_ns
        self._edges: dict[str, Edge] = {}

    def insert(self, parent: str, child: str, stamp_ns: int, T_parent_child: Pose, *, static: bool) -> bool:
        """Add a sample; returns True when the child moved to another parent, which begins a new history.

        A late sample of a former parent is ignored.

        Raises:
            InvalidTransform: the edge would close a circle, there are too many frames, or one sample leaps ahead.
        """
        edge = self._edges.get(child)
        if edge is not None and edge.parent == parent and edge.static == static:
            if static:
                edge.poses[0] = T_parent_child
            else:
                edge.insert(stamp_ns, T_parent_child, keep_ns=self._keep_ns)
            return False
        if edge is not None and not static and edge.stamps and stamp_ns < edge.stamps[-1]:
            return False
        self._check_new_edge(parent, child)
        self._edges[child] = Edge(parent, child, static, [] if static else [stamp_ns], [T_parent_child])
        return edge is not None

    def path(self, target: str, source: str) -> Path:
        """The edges between two frames.

        Raises:
            TransformUnavailable: a frame is unknown or they are not connected.
        """
        for frame in (target, source):
            if not self._knows(frame):
                known = ", ".join(sorted(self.frames())[:20]) or "nothing; is /tf published?"
                raise TransformUnavailable(f"frame '{frame}' is not in TF; known: {known}")
        up_source, up_target = self.chain(source), self.chain(target)
        while up_source and up_target and up_source[-1] is up_target[-1]:
            up_source.pop()
            up_target.pop()
        ends = [chain[-1].parent if chain else frame for chain, frame in ((up_source, source), (up_target, target))]
        if ends[0] != ends[1]:
            raise TransformUnavailable(
                f"'{source}' and '{target}' are not connected in TF; their roots are '{ends[0]}' and '{ends[1]}'"
            )
        return Path(target, source, tuple(up_source), tuple(up_target))

    def chain(self, frame: str) -> list[Edge]:
        """Edges from a frame up to its root."""
        edges = []
        while (edge := self._edges.get(frame)) is not None:
            edges.append(edge)
            frame = edge.parent
        return edges

    def frames(self) -> set[str]:
        """All frame names."""
        return set(self._edges) | {edge.parent for edge in self._edges.values()}

    def forget_motion(self) -> None:
        """Drop every edge that is not static."""
        self._edges = {child: edge for child, edge in self._edges.items() if edge.static}

    def _knows(self, frame: str) -> bool:
        return frame in self._edges or any(edge.parent == frame for edge in self._edges.values())

    def _check_new_edge(self, parent: str, child: str) -> None:
        if len(self._edges) >= MAX_FRAMES and child not in self._edges:
            raise InvalidTransform(f"frame '{child}' would be number {len(self._edges) + 1}; {MAX_FRAMES} are kept")
        if child == parent or any(edge.parent == child for edge in self.chain(parent)):
            raise InvalidTransform(f"'{parent}' -> '{child}' would close a circle in the TF tree")
