"""``report.html``: one self-contained file from records and metrics."""
