"""The reference dialogue of a workbench video."""
