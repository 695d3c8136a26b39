"""StreamingBench, Proactive Output: one output at the right moment, with its official scores."""
