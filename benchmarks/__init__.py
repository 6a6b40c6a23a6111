"""Speed, measured: one module a comparison; README.md says how to run them."""
