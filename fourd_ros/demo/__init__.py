"""The demo: a bag is replayed, its futures are imagined, judged, and shown on one page."""
