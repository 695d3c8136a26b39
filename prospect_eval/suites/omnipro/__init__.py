"""OmniPro, online mode: emissions are paired with triggers in time, and the content of the pairs is judged."""
