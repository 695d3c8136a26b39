"""Training: stateless windows of episodes, four objectives, `transformers.Trainer`."""
