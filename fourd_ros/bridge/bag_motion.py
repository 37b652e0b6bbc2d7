"""The motion that a bag holds: what was commanded, and what was measured."""

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
    for found in reader.messages([inputs.joint_states] if inputs.joint_states else ()):
        try:
            series.add_sample(joint_positions(found.message), stamp_to_ns(found.message.header.stamp) or found.stamp_ns)
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
    for found in reader.messages([inputs.command] if inputs.command else ()):
        stamp_ns = stamp_to_ns(found.message.header.stamp) or found.stamp_ns
        try:
            series.add(trajectory_from_message(found.message), stamp_ns, measured=measured)
        except InvalidInput:
            continue
    return series
