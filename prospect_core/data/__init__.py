"""Datasets on disk, the origin's formats, and video frames by presentation timestamp."""
