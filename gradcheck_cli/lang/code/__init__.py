"""Formulas as code that runs by itself: with real PyTorch, or with NumPy and SciPy."""
