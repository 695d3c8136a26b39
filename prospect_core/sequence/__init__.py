"""Episodes as token sequences: tokenizer, layout, labels, context noise."""
