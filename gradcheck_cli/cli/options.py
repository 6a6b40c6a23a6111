"""What several commands share in judging their options."""

from __future__ import annotations

from gradcheck_cli.suite.values import refuse as misused
from gradcheck_cli.suite.values import separated

__all__ = ["misused", "separated"]
