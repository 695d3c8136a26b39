"""Pictures and videos of a workbench plan."""
