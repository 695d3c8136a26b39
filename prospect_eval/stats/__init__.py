"""Intervals, tests, power and agreement over clusters (videos), from stored sufficient counts."""
