"""Diagnostic passes beside the replay: teacher-forced scores, latency."""
