"""Rotary positions as constants: frequencies and tables of cosines and sines.

Plain rotation is from arXiv 2104.09864; YaRN from arXiv 2309.00071, section 3.4, with the ends
of the ramp rounded outwards as transformers' `modeling_rope_utils` rounds them.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from hazgate_export.model.architecture import Rotary, Yarn


def inverse_frequencies(rotary: Rotary, width: int) -> torch.Tensor:
    """Compute radians per token of each pair of channels, float32 [width / 2].

    Args:
        rotary: base and stretching.
        width: channels of an attention head.
    """
    # In float32, as PyTorch's models: at 32,768 tokens half a unit in the last place is visible.
    powers = rotary.theta ** (torch.arange(0, width, 2).float() / width)
    if rotary.yarn is None:
        return 1.0 / powers
    kept = _kept(rotary.yarn, rotary.theta, width)
    return 1.0 / (rotary.yarn.factor * powers) * (1 - kept) + 1.0 / powers * kept


def attention_factor(rotary: Rotary) -> float:
    """Return the factor of cosines and sines."""
    return 1.0 if rotary.yarn is None else rotary.yarn.attention_factor


def rotary_tables(
    rotary: Rotary, width: int, positions: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute cosines and sines of every position, each float32 [positions, width / 2]."""
    angles = torch.arange(positions).float()[:, None] * inverse_frequencies(rotary, width)
    factor = attention_factor(rotary)
    return (
        np.asarray((angles.cos() * factor).numpy()),
        np.asarray((angles.sin() * factor).numpy()),
    )


def _kept(yarn: Yarn, theta: float, width: int) -> torch.Tensor:
    """Compute the share of its own frequency that each pair keeps, float32 [width / 2]."""

    def pair_of(rotations: float) -> float:
        """Find the pair that rotates so often over the original context, between pairs."""
        length = yarn.original_max_position_embeddings / (rotations * 2 * math.pi)
        return width * math.log(length) / (2 * math.log(theta))

    first = max(math.floor(pair_of(yarn.beta_fast)), 0)
    last = float(min(math.ceil(pair_of(yarn.beta_slow)), width - 1))
    if first == last:
        last += 0.001
    ramp = (torch.arange(width // 2).float() - first) / (last - first)
    return 1 - ramp.clamp(0, 1)
