"""The CPU graph, written node by node from a merged model's weights.

Exporters trace what PyTorch happens to run; this package writes what the architecture is: layers of
norm, attention and MLP in ONNX Runtime's fused operators, the same answers from a tenth of the
nodes. `architecture` reads a configuration and refuses what it does not know, `modernbert` and
`bert` write the families, `linear` and `attention` the two kernels that take the time.
"""
