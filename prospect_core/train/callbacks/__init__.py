"""Log and memory of a training while it runs."""
