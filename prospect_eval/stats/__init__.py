"""Intervals, tests, power and agreement over clusters (videos), from sufficient statistics."""
