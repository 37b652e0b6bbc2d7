"""Points followed from frame to frame, and dense flow."""
