"""The truth that exports are held against: PyTorch, one text at a time, no padding."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hazgate.cli.progress import track
from hazgate_export.proof.texts import Case


def torch_logits(
    model: torch.nn.Module, cases: Sequence[Case], description: str
) -> NDArray[np.float32]:
    """Logits of each case, run alone and unpadded, so that no mask takes part.

    Returns:
        Shape [len(cases), n_labels].
    """
    rows = []
    with torch.inference_mode():
        for case in track(cases, description):
            input_ids = torch.tensor([case.input_ids])
            output = model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids))
            rows.append(output.logits[0].float().numpy())
    return np.stack(rows)
