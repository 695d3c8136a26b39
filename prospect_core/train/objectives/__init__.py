"""The losses of the objectives and their weights."""
