"""Maps: what stands still, and depth that agrees with it."""
