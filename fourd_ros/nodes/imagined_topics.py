"""Imagined frames on ordinary topics: cloud, image, camera_info, joints, and TF with the prefix ``imagined/``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.joints import make_joint_state
from fourd_ros.bridge.qos import RESULT, transform_qos
from fourd_ros.bridge.rollouts import IMAGINED_PREFIX, FrameFields, make_frame
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.playback import PlaybackSettings
from fourd_ros.records import Rollout
from fourd_ros.robot.model import RobotModel


@dataclass(frozen=True, kw_only=True)
class ImaginedFrame:
    """The messages of one instant."""

    points: PointCloud2
    image: Image
    camera_info: CameraInfo
    joints: JointState
    transforms: TFMessage


class ImaginedTopics:
    """Publishers of the playback.

    Args:
        node: made in its ``load``; messages leave while it is active.
        robot: the robot whose links are published, None while it is not known.
    """

    def __init__(self, node: FourdNode, *, robot: Callable[[], RobotModel | None]) -> None:
        self._robot = robot
        self._points = node.advertise(PointCloud2, "~/imagined/points", RESULT)
        self._image = node.advertise(Image, "~/imagined/image", RESULT)
        self._camera_info = node.advertise(CameraInfo, "~/imagined/camera_info", RESULT)
        self._joints = node.advertise(JointState, "~/imagined/joint_states", RESULT)
        self._transforms = node.advertise(TFMessage, "/tf", transform_qos())

    def prepare(self, rollout_id: str, rollout: Rollout, index: int, settings: PlaybackSettings) -> ImaginedFrame:
        """The messages of frame `index` in the chosen view."""
        name = settings.view if settings.view in rollout.views else next(iter(rollout.views))
        view = rollout.views[name]
        stamp_ns = rollout.stamp_ns + round(float(rollout.times[index]) * 1e9)
        optical = make_header(stamp_ns, IMAGINED_PREFIX + name)
        frame = make_frame(
            rollout,
            rollout_id,
            index,
            name,
            fields=FrameFields.POINTS,
            voxel_size=settings.voxel_size,
            max_bytes=settings.max_bytes,
        )
        transforms = [make_transform(rollout.frame, optical.frame_id, stamp_ns, view.T_world_camera[index])]
        transforms += self._link_transforms(rollout, index, stamp_ns)
        return ImaginedFrame(
            points=frame.points,
            image=array_to_image(view.rgb[index], "rgb8", optical),
            camera_info=camera_to_info(view.camera, optical),
            joints=make_joint_state(frame.header, rollout.joints.joint_names, rollout.joints.positions[index]),
            transforms=TFMessage(transforms=transforms),
        )

    def publish(self, frame: ImaginedFrame) -> None:
        """Send all messages of one instant."""
        self._transforms.publish(frame.transforms)
        self._points.publish(frame.points)
        self._image.publish(frame.image)
        self._camera_info.publish(frame.camera_info)
        self._joints.publish(frame.joints)

    def _link_transforms(self, rollout: Rollout, index: int, stamp_ns: int) -> list[Any]:
        robot = self._robot()
        if robot is None:
            return []
        positions = dict(zip(rollout.joints.joint_names, rollout.joints.positions[index].tolist(), strict=True))
        poses = robot.kinematics.link_poses(robot.kinematics.positions_from(positions))
        return [
            make_transform(rollout.frame, IMAGINED_PREFIX + link, stamp_ns, rollout.T_world_robot @ pose)
            for link, pose in poses.items()
        ]
