"""Whether an execution provider will take a whole graph, told without its hardware."""
