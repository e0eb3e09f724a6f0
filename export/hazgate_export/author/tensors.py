"""Tensors of a merged PyTorch model, as the authored graphs store them."""

import numpy as np
import torch

from hazgate_export.author.sites import Array


class ModelTensors:
    """A model's tensors by name, in float32."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._tensors: dict[str, torch.Tensor] = {
            name: tensor.detach().float() for name, tensor in model.state_dict().items()
        }

    def tensor(self, name: str) -> torch.Tensor:
        """Return the tensor of that name."""
        return self._tensors[name]

    def vector(self, name: str) -> Array:
        """Return the tensor of that name as an array of its shape."""
        return np.asarray(self._tensors[name].numpy())

    def matrix(self, layer: str) -> Array:
        """Return the weight of a linear layer, as [in, out]."""
        return np.asarray(self._tensors[f"{layer}.weight"].T.contiguous().numpy())
