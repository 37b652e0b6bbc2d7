"""The motion of camera and things, from tracks."""
