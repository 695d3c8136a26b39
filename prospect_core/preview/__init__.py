"""What a person looks at before training: filmstrips of episodes and training windows."""
