"""``report.html``: one self-contained file made from records and metrics."""
