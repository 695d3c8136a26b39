"""Workbench: procedural first-person episodes as H.264 files with exact annotation, deterministic by seed."""
