"""One file per architecture and kind of graph."""
