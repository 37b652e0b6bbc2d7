"""`fourd reconstruct`: a clip in stages that are kept."""
