"""PyTorch and hazgate on the same texts, side by side."""
