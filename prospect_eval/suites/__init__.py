"""Suites: the data, strategies, budgets and gate rules of an evaluation."""
