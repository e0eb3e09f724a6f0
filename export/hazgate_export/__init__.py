"""Merge LoRA adapters, export to ONNX, prove parity and assemble a hazgate bundle."""

__version__ = "0.1.0"
