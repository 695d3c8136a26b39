"""The regression gate, its output formats and the verdict on a run."""
