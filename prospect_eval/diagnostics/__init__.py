"""Diagnostic passes in addition to the replay: teacher-forced pass and latency pass."""
