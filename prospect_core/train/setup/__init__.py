"""What a training builds before its first step: model, connector fit, trainer arguments, memory estimate."""
