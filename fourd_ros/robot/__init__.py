"""Robot descriptions, forward kinematics and ray-cast rendering. No ROS needed."""
