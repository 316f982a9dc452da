"""Weights, version by version: added, replayed on what is stored, promoted by a person, taken back."""
