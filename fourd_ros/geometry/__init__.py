"""Cameras, rigid transforms, pointmaps and voxels. NumPy only."""
