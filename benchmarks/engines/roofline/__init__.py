"""Operators of hazgate-kernels beside ONNX Runtime's, and beside what the processor can do."""
