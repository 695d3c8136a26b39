"""OVO-Bench: polls of streaming video understanding, with its official offline scores."""
