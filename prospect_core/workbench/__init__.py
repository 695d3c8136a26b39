"""The workbench: procedural first-person episodes, real H.264 files with exact annotation, deterministic by seed."""
