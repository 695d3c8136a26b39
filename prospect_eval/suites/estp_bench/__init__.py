"""ESTP-Bench: the timing part of its F1, after notes of third parties; no official scorer is public."""
