"""Files and their contents, read strictly: every problem of a file at once."""
