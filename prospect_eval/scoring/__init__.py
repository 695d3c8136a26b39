"""From prediction records to metric values: sufficient statistics, shards, worker processes."""
