"""Bags of ROS messages as files; no ROS installation is needed to read or write them."""

from fourd_ros.data.bag_reader import BagMessage, BagReader, RawMessage, Topic
from fourd_ros.data.bag_salvage import recover
from fourd_ros.data.bag_writer import BagWriter

__all__ = ["BagMessage", "BagReader", "BagWriter", "RawMessage", "Topic", "recover"]
