"""Run folders: replay, schemas, import from other formats, environment."""
