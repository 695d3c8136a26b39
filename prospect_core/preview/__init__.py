"""Previews for people: filmstrips of episodes, and training windows."""
