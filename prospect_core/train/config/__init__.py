"""The configuration of `prospect train`: schema, composition, checks."""
