"""All models that can be evaluated: checkpoints, chat models, endpoints and baselines."""
