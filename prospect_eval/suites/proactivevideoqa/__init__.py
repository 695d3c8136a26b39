"""ProactiveVideoQA: replies to a standing question, scored by the area under their quality over time (PAUC)."""
