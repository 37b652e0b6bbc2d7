"""Parameters of every node that looks through cameras."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fourd_ros.bridge.parameters import parameter
from fourd_ros.nodes.base import NodeParameters
from fourd_ros.nodes.observer import ObserverLimits
from fourd_ros.nodes.robot_watch import WatchSettings


@dataclass(frozen=True, kw_only=True)
class CameraParameters(NodeParameters):
    """What is listened to, and how patiently."""

    cameras: tuple[str, ...] = parameter(
        ("camera",), "camera namespaces: <camera>/image, camera_info, depth", fixed_while="active"
    )
    use_depth: bool = parameter(True, "wait for a depth image beside every colour image", fixed_while="active")
    compressed: bool = parameter(
        False, "take <camera>/image/compressed and <camera>/depth/compressedDepth instead", fixed_while="active"
    )
    image_reliability: str = parameter(
        "best_effort", "of the camera subscriptions", choices=("best_effort", "reliable"), fixed_while="active"
    )
    sync_slop: float = parameter(
        0.02, "images of one instant differ by less [s]", minimum=0.0, maximum=1.0, fixed_while="active"
    )
    history: int = parameter(
        10, "instants remembered for observation_stamp", minimum=1, maximum=1000, fixed_while="active"
    )
    observation_timeout: float = parameter(
        0.5, "a question waits this long for inputs that are on their way [s]", minimum=0.0, maximum=60.0
    )
    max_pixels: int = parameter(
        16_777_216, "larger images are refused", minimum=1, maximum=2**31 - 1, fixed_while="active"
    )

    def watch_settings(
        self, *, robot: bool = True, mesh_roots: Sequence[Path] | None = None, max_joint_age: float = 0.5
    ) -> WatchSettings:
        """What to subscribe to.

        Args:
            robot: its joints and description too.
            mesh_roots: see `WatchSettings`.
            max_joint_age: see `ObserverLimits`.
        """
        return WatchSettings(
            cameras=self.cameras,
            use_depth=self.use_depth,
            compressed=self.compressed,
            reliability=self.image_reliability,
            robot=robot,
            mesh_roots=mesh_roots,
            limits=ObserverLimits(
                sync_slop=self.sync_slop,
                history=self.history,
                max_pixels=self.max_pixels,
                max_joint_age=max_joint_age,
            ),
        )
