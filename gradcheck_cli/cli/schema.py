"""`gradcheck schema`: the spec format as JSON Schema, for editors and other programs."""


def schema() -> int:
    """Print the JSON Schema of spec files."""
    import json

    from gradcheck_cli.errors import ExitCode
    from gradcheck_cli.spec.model import json_schema

    print(json.dumps(json_schema(), indent=2))  # noqa: T201 -- the answer itself
    return ExitCode.PASSED
