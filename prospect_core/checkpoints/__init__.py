"""Released checkpoints and checkpoint folders by name, without torch."""
