"""The Hydra configuration of `prospect train`."""
