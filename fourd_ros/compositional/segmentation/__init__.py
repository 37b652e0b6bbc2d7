"""Which pixels of a video show which object: one interface, several ways."""
