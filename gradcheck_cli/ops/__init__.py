"""The operators, one record each, a file per domain. Importing this fills the table.

`domains.py` lists the files: a new one is added there, in its domain.
"""

from importlib import import_module

from gradcheck_cli.ops.domains import DOMAINS

for _domain in DOMAINS:
    for _file in _domain.files:
        import_module(f"gradcheck_cli.ops.{_file}")
