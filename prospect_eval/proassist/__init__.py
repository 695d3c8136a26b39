"""ProAssist's evaluation files both ways, and its published scores next to ours.

python -c "from prospect_core.stream.proassist_outputs import make_proassist_outputs; help(make_proassist_outputs)"
"""
