"""Checks of a person's own code: loading it, judging it, with and without an expression."""
