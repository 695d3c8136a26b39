"""Configuration of `prospect train`: schema, composition, checks."""
