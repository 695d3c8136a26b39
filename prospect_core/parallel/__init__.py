"""One worker pool for long jobs: processes of this machine or actors of a Ray cluster."""
