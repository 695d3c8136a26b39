"""Fault drill: kills, fuzzing, long streams, and the strength of the tests."""
