"""Analyses of scored runs: comparison, leaderboard, thresholds, Pareto front, LLM judge."""
