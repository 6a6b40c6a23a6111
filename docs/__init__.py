"""The derivation gallery and what it is made from."""
