"""StreamingBench, multiple choice: real-time, omni-source and sequential questions, with their official scores."""
