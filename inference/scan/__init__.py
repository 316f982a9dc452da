"""Scan a pair of scenes of any size, window by window, from files to polygons in map coordinates."""
