"""The checks of COM4D, importable as one module: every kind of file has its own."""

from fourd_ros.verify import com4d_meshes, com4d_networks, com4d_pipeline, com4d_training, com4d_video, com4d_weights

__all__ = ["com4d_meshes", "com4d_networks", "com4d_pipeline", "com4d_training", "com4d_video", "com4d_weights"]
