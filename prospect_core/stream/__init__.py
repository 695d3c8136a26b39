"""Streaming: the KV cache, context strategies, the runner of one stream, and replay of recorded episodes."""

#: streams that are replayed at once, where nobody says otherwise
STREAMS = 16
#: frames that one of them reads ahead at most: what a forward costs beyond its tokens is shared by all streams already,
#: so what is read in vain weighs more
SPAN = 8
