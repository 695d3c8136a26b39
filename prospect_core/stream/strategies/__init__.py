"""Context strategies: what a stream keeps when its cache reaches the budget."""
