"""Operators of hazgate-kernels, compared with ONNX Runtime's and the processor's limits."""
