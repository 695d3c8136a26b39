"""The command line `prospect-eval`."""
