"""ONNX Runtime sessions: providers, variants, compiled shapes, and the proof that they run."""
