"""The checks of 4DLangVGGT, importable as one module: every kind of file has its own."""

from fourd_ros.verify.langvggt import cameras, frames, geometry, language, query, training, weights

__all__ = ["cameras", "frames", "geometry", "language", "query", "training", "weights"]
