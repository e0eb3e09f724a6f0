"""PyTorch and ONNX Runtime on the same texts, side by side."""
