"""Clips: reading them, their pictures, their depth."""
