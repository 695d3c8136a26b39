"""Model sizes of the Hydra configuration."""
