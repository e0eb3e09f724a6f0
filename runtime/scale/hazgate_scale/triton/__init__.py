"""A bundle as a model repository of NVIDIA's Triton Inference Server, and of AMD's builds of it."""
