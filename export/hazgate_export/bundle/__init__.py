"""The bundle: assembled in a temporary folder, described, renamed."""
