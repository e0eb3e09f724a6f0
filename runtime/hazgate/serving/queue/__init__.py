"""The bounded, fair queue in front of an engine, and the thread that empties it."""
