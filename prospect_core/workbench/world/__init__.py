"""Procedural world: tasks, the actor, hand motion, scene and levels."""
