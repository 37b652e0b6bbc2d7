"""Scene reconstruction: from video to camera path, static map and moving objects (DynamicVerse)."""
