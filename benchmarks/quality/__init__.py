"""Benchmarks of the workbench, the released checkpoint, the recipe and the statistics."""
