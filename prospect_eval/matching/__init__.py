"""Which predicted utterance belongs to which reference, and the parameters of that matching."""
