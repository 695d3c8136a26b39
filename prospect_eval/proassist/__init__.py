"""ProAssist's evaluation files both ways, and its published scores next to ours.

python -c "from prospect_core.stream.frame_outputs import stream_of; help(stream_of)"
"""
