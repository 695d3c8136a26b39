"""Streaming: the KV cache, context strategies, the runner of one stream, and replay of recorded episodes."""

#: default number of parallel streams in a replay
STREAMS = 16
#: largest number of frames that a stream prefetches: several streams already share the fixed cost
#: of a forward pass, so frames read in vain weigh more
SPAN = 8
