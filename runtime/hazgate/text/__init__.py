"""From a text to rows of token ids: tokenization, windows, batches, conversations."""
