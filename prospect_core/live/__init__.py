"""Live watching (`prospect watch`): frame sources, the session, the terminal screen."""
