"""Conclusions from scored runs: comparison, leaderboard, thresholds, Pareto front, LLM judge."""
