"""A small annotation table in the form that a person writes."""

from __future__ import annotations

TABLE = """\
# video: clip.mp4
# goal: make tea
# step S1: boil the water
# step S2: pour it
# user: talk_some
time\tkind\twhat
0:02\tstart\tS1
4.5\tcomplete\tS1
0:05\tsay\tNow pour it, "slowly": please.
0:06\tuser\tWhat is left?
0:06.5\tsay\tOnly the pouring.
"""
