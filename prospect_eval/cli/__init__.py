"""The command line `prospect-eval`."""

from prospect_eval.cli.commands import prospect_eval as main

__all__ = ["main"]
