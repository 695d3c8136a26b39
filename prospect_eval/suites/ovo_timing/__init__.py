"""OVO-Timing: the times of responses on OVO-Bench's forward tasks, with its official scores."""
