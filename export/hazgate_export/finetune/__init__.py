"""Training of a level's LoRA adapter from labelled rows, by the recipe's own table."""

from hazgate_export.finetune.run import FinetuneResult, finetune_level
from hazgate_export.finetune.settings import FinetuneSettings

__all__ = ["FinetuneResult", "FinetuneSettings", "finetune_level"]
