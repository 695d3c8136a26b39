"""The HTML pages: a run, a comparison, a sweep, an index of runs."""
