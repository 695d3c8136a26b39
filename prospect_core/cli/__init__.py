"""The command line `prospect`."""
