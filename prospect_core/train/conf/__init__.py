"""Hydra configuration files of `prospect train`."""
