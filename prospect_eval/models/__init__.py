"""Everything that can be evaluated, behind one call: checkpoints, chat models, endpoints, baselines."""
