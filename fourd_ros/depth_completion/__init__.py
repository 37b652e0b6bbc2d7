"""A small network that fills the holes of depth images."""
