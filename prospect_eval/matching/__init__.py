"""Matching of predicted utterances with references, and its parameters."""
