"""The step from a text to rows of token ids: tokens, windows, batches, conversations."""
