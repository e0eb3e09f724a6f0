"""The capacity plan held against measurements."""
