"""Speed and exactness of hazgate compared with PyTorch and others; see README.md."""
