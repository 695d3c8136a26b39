"""From video files to pictures and vision features: decoding, caches, sharded stores."""
