"""The command line: one thin file per command. The only importer of typer.

Commands import what they need inside their functions, because `gradcheck --help` must not wait for
NumPy, nor `gradcheck validate` for PyTorch. A command returns its exit code.
"""
