"""How fast and how exact hazgate is beside PyTorch; `benchmarks/README.md` says how."""
