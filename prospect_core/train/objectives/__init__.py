"""The four losses and their weights."""
