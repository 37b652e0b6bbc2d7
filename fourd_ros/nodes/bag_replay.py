"""A bag as a source of live topics, for graphs: ``fourd bag play`` as a managed node."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fourd_ros.bridge.parameters import parameter
from fourd_ros.data.bags import BagReader
from fourd_ros.nodes.bag_player import BagPlayer, PlaySettings
from fourd_ros.nodes.base import FourdNode, NodeParameters, run


@dataclass(frozen=True, kw_only=True)
class BagReplayParameters(NodeParameters):
    """Parameters of the bag replay node."""

    bag: str = parameter("", "bag folder or MCAP file", fixed_while="configured")
    rate: float = parameter(
        1.0, "recorded seconds per second, 0 for as fast as it goes", minimum=0.0, maximum=100.0, fixed_while="active"
    )
    loop: bool = parameter(True, "start over at the end; time then jumps back", fixed_while="active")
    start_offset: float = parameter(
        0.0, "seconds after the first message to start at", minimum=0.0, maximum=1e6, fixed_while="active"
    )
    wait_for: tuple[str, ...] = parameter(
        (), "topics that must have a subscriber before the first message", fixed_while="active"
    )


class BagReplayNode(FourdNode):
    """Lifecycle node ``bag_replay``: while it is active it publishes what a bag holds, and ``/clock``."""

    Parameters = BagReplayParameters
    parameters: BagReplayParameters

    def __init__(self, **options: Any) -> None:
        super().__init__("bag_replay", **options)
        self._played = 0.0

    def load(self) -> None:
        self._reader = BagReader(Path(self.parameters.bag).expanduser())
        self.defer(self._reader.close)

    def start(self) -> None:
        settings = self.parameters
        play = PlaySettings(
            rate=settings.rate, loop=settings.loop, start=settings.start_offset, wait_for=settings.wait_for
        )
        self._player = BagPlayer(self, self._reader, play)
        self.worker("replay").submit(self._play)

    def stop(self) -> None:
        self._player.stop()

    def status(self) -> Mapping[str, object]:
        return {"bag": self.parameters.bag, "played_seconds": f"{self._played:.1f}"}

    def _play(self) -> None:
        report = self._player.play(self._note)
        for topic, typename in report.skipped.items():
            self.get_logger().warning(f"left out {topic}: no Python class for {typename}")
        self.get_logger().info(f"played {report.messages} messages, {report.passes} times whole")

    def _note(self, seconds: float) -> None:
        self._played = seconds


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros bag_replay``."""
    return run(BagReplayNode, args)
