"""Diagnostic passes in addition to the replay: teacher-forced scores, latency."""
