"""Benchmarks of speed, memory and scaling."""
