"""Training data: sampling of windows, batches, sources of episodes and frames."""
