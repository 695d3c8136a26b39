"""`prospect watch`: live sources, the session, the terminal screen."""
