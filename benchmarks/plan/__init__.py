"""The capacity plan, compared with measurements."""
