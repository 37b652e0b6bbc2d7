"""How well policies do, in the imagination and in truth, and how far the one tells of the other."""
