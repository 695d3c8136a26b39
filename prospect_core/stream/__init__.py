"""Streaming: the KV cache, context strategies, the runner of one stream, and replay of recorded episodes."""
