"""ROS messages <-> NumPy, transforms in time, parameters, QoS and diagnostics."""
