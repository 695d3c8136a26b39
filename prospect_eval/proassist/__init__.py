"""ProAssist's evaluation files: export, and its published scores next to PROSPECT's scores."""
