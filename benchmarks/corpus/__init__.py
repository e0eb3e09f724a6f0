"""Corpora beside the engine's own peak."""
