"""The checks of DynamicVerse, importable as one module: every kind of file has its own."""

from fourd_ros.verify.dynamicverse import bundle, cameras, depth, flow, fusion, scene, tracks

__all__ = ["bundle", "cameras", "depth", "flow", "fusion", "scene", "tracks"]
