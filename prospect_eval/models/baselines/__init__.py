"""Predictions without a model: the oracle, trivial and learned baselines, limited observers."""
