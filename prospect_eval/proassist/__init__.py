"""ProAssist's evaluation files both ways, and its published scores next to ours.

python -c "from prospect_eval.proassist.streams import stream_of; help(stream_of)"
"""
