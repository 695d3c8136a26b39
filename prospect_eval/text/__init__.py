"""Text similarity: sentence embeddings, METEOR, CIDEr, WordNet, and their caches on disk."""
