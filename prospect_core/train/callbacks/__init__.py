"""Callbacks of a training: log and memory."""
