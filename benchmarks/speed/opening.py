"""Opens a system in the process that measures it."""

from benchmarks.speed.systems import BothLevels, ModelFiles, SpeedSpec


def open_system(spec: SpeedSpec, files: ModelFiles, threads: int) -> BothLevels:
    """Load a system that uses at most `threads` threads; call once per process."""
    # A process that measures ONNX Runtime must not hold PyTorch, and vice versa.
    if spec.kind == "bundle":
        from benchmarks.speed.bundle_system import BundleSystem

        return BundleSystem.open(files, spec.variant, threads)
    from benchmarks.speed.torch_system import TorchSystem

    return TorchSystem.open(files, threads, merged=spec.kind == "merged")
