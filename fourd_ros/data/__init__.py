"""Data at rest: bags and episodes, read and written without a running ROS."""
