"""Run folders: replay into them, their schemas, import from other formats, the environment they were made in."""
