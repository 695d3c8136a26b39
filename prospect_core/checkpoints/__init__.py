"""The released checkpoints, and checkpoint folders by name. Needs no torch."""
