"""ViSpeak-Bench: its tests for a reply in time and for an option letter."""
