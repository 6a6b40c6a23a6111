"""Spec files: YAML or JSON -> positions -> validated, frozen checks -> seeded inputs.

`load.py` is the way in, `check.py` what comes out, `sample.py` turns a check's inputs into arrays.
"""
