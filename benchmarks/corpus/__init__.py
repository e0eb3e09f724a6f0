"""Bulk jobs, compared with the engine's own peak."""
