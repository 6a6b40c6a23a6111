"""Which checks run, and how: from the command line, variables and pyproject.toml to a plan."""
