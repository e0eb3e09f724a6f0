"""Models: fetched files, and adapters merged into their base."""
