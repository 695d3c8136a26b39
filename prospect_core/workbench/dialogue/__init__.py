"""Reference dialogue of workbench videos."""
