"""Graph to numbers: the planner and the executor, on NumPy."""
