"""The motion that a bag holds: what was commanded, and what was measured."""

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from fourd_ros.bridge.joints import joint_positions
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_from_message
from fourd_ros.data.bag_inputs import WorldModelInputs
from fourd_ros.data.bags import BagReader
from fourd_ros.data.command_series import CommandSeries
from fourd_ros.errors import InvalidInput


def read_measured(reader: BagReader, inputs: WorldModelInputs) -> CommandSeries:
    """Joint positions as they were measured; messages that cannot be used are passed over."""
    series = CommandSeries()
    for raw in reader.raw([inputs.joint_states] if inputs.joint_states else ()):
        message = deserialize_message(raw.data, JointState)
        try:
            series.add_sample(joint_positions(message), stamp_to_ns(message.header.stamp) or raw.stamp_ns)
        except InvalidInput:
            continue
    return series


def read_commanded(reader: BagReader, inputs: WorldModelInputs, measured: CommandSeries) -> CommandSeries:
    """Set points put together from all command messages; those that cannot be used are passed over.

    Args:
        reader: an open bag.
        inputs: names the topic.
        measured: where joints were when they got their first command.
    """
    series = CommandSeries()
    for raw in reader.raw([inputs.command] if inputs.command else ()):
        message = deserialize_message(raw.data, JointTrajectory)
        stamp_ns = stamp_to_ns(message.header.stamp) or raw.stamp_ns
        try:
            series.add(trajectory_from_message(message), stamp_ns, measured=measured)
        except InvalidInput:
            continue
    return series
