"""Worker pool for long jobs, on processes of this machine or actors of a Ray cluster."""
