"""Training windows: sampling, batches, sources of episodes and frames."""
