"""QEVD-FIT-COACH: the temporal F-score of feedback during exercise."""
