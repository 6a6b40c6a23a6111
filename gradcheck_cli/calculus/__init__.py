"""Graph to graph: derivatives and simplification. Nothing here computes a number."""
