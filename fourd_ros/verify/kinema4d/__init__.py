"""The checks of Kinema4D, importable as one module: every kind of file has its own."""

from fourd_ros.verify.kinema4d import auxiliary, forward, native, pipeline, training, weights

__all__ = ["auxiliary", "forward", "native", "pipeline", "training", "weights"]
