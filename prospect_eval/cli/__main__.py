"""Entry point of `python -m prospect_eval.cli`."""

from prospect_eval.cli import main

main()
