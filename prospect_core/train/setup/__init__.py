"""Set-up of a training before its first step: model, connector fit, trainer arguments, memory estimate."""
