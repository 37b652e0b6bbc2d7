"""Training of every model: one loop, tasks beside it."""
