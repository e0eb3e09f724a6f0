"""Size on disk, time to the first verdict, resident memory."""
