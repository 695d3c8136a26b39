"""Suites: what is replayed, under which strategies and budgets, and what a gate requires."""
