"""ONNX graphs: converted, cut into windows, cast and quantized."""
