"""Scenes that were taken in: what was seen when, what was found, and the imagery, served to maps."""
