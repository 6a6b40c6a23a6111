"""From gradients to a verdict: pure functions, no file, no terminal, no PyTorch."""
