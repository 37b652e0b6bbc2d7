"""The ROS 2 nodes: lifecycle, topics, services and actions around the rooms below."""
