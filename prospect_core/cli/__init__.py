"""Command line `prospect`."""

from prospect_core.cli.commands import prospect as main

__all__ = ["main"]
