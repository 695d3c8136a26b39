"""Recipes that reproduce released files."""
