"""Entry point of `python -m prospect_core.cli`."""

from prospect_core.cli import main

main()
