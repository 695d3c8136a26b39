"""OmniMMI: proactive alerting (PA), proactive turn-taking (PT) and dynamic state grounding (SG)."""
