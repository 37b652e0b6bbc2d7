"""The checks of PartRM, importable as one module: every kind of file has its own."""

from fourd_ros.verify.partrm import cameras, data, losses, metrics, networks, rendering

__all__ = ["cameras", "data", "losses", "metrics", "networks", "rendering"]
