"""Pictures and vision features of videos: decoding, caches, sharded stores."""
