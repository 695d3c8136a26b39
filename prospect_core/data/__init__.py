"""Datasets on disk, readers of other formats, and video frames by presentation timestamp."""
