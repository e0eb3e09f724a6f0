"""The same model in PyTorch: the base with its adapter, or merged into a plain model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from benchmarks.speed.systems import ModelFiles
from hazgate.classifier import DEFAULT_MAX_BATCH_TOKENS
from hazgate.text.batching import pad, plan_batches
from hazgate_export.model.merge import load_adapted
from hazgate_export.model.sources import Fetched
from hazgate_export.recipe import CascadeRecipe, Recipe
from hazgate_export.recipe_file import load_recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchSystem:
    """Both levels as float32 modules, with transformers' own tokenizer."""

    recipe: Recipe
    models: Mapping[str, PeftModel | PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    pad_token_id: int
    size_bytes: int

    @classmethod
    def open(cls, files: ModelFiles, threads: int, *, merged: bool) -> "TorchSystem":
        """Load both levels.

        Args:
            files: places of the weights.
            threads: of one operator; operators run in sequence.
            merged: load plain models with fused attention (`sdpa`), as one would deploy them;
                else the base with PEFT's adapter and eager attention, once per level: the
                reference of every parity figure.
        """
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        recipe = load_recipe(Path(files.recipe)).recipe
        folders = {name: Path(files.merged) / name for name in recipe.levels}
        models: Mapping[str, PeftModel | PreTrainedModel]
        if merged:
            models = {name: _load_merged(folder) for name, folder in folders.items()}
            weights = [file for folder in folders.values() for file in folder.glob("*.safetensors")]
        else:
            models = {name: adapted_model(recipe, name, files) for name in recipe.levels}
            places = (files.base, *files.adapters.values())
            weights = [file for place in places for file in Path(place).glob("*.safetensors")]
        pad_token_id = models[_cascade(recipe).level1].config.pad_token_id
        assert pad_token_id is not None, "the exporter refuses a base that has none"
        return cls(
            recipe=recipe,
            models=models,
            tokenizer=AutoTokenizer.from_pretrained(
                folders[_cascade(recipe).level1], local_files_only=True
            ),
            pad_token_id=pad_token_id,
            size_bytes=sum(file.stat().st_size for file in weights),
        )

    def run_ids(self, input_ids: Sequence[int]) -> None:
        """Run Level 1's module."""
        self._logits_of_row(_cascade(self.recipe).level1, input_ids)

    def run_text(self, text: str) -> None:
        """Compute Level 1's probabilities."""
        encoded = self._tokenize(text).convert_to_tensors("pt", prepend_batch_axis=True)
        with torch.inference_mode():
            self.models[_cascade(self.recipe).level1](**encoded).logits.softmax(-1).numpy()

    def run_bulk(self, texts: Sequence[str]) -> None:
        """Run the cascade in batches of texts of similar length, chosen as the runtime does."""
        cascade = _cascade(self.recipe)
        rows = self._tokenize(list(texts))["input_ids"]
        unsafe = self._logits_in_batches(cascade.level1, rows).softmax(-1)
        positive = self.recipe.levels[cascade.level1].labels.index(cascade.positive_label)
        flagged = (unsafe[:, positive] >= cascade.threshold).nonzero()[:, 0].tolist()
        if flagged:
            opened = [rows[i] for i in flagged]
            self._logits_in_batches(cascade.level2, opened).softmax(-1).numpy()

    def logits(self, level: str, rows: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        """Return logits of each text alone and unpadded, as the exporter's reference does."""
        return np.stack([self._logits_of_row(level, row) for row in rows])

    def _tokenize(self, text: str | list[str]) -> BatchEncoding:
        limits = self.recipe.tokenizer
        encoded: BatchEncoding = self.tokenizer(
            text,
            truncation=True,
            max_length=limits.window,
            split_special_tokens=limits.special_tokens_in_text == "text",
        )
        return encoded

    def _logits_of_row(self, level: str, row: Sequence[int]) -> NDArray[np.float32]:
        input_ids = torch.tensor([row])
        with torch.inference_mode():
            output = self.models[level](
                input_ids=input_ids, attention_mask=torch.ones_like(input_ids)
            )
        logits: NDArray[np.float32] = output.logits[0].numpy()
        return logits

    def _logits_in_batches(self, level: str, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        model = self.models[level]
        result = torch.empty(len(rows), len(self.recipe.levels[level].labels))
        with torch.inference_mode():
            for batch in plan_batches(
                [len(row) for row in rows], DEFAULT_MAX_BATCH_TOKENS, "padded"
            ):
                arrays = pad([rows[i] for i in batch], self.pad_token_id)
                input_ids, mask = (torch.from_numpy(array) for array in arrays)
                result[batch] = model(input_ids=input_ids, attention_mask=mask).logits
        return result


def adapted_model(recipe: Recipe, level: str, files: ModelFiles) -> PeftModel:
    """Load one level as published: the base with its adapter applied."""

    def fetched(directory: str, name: str) -> Fetched:
        # The parent has fetched them and compared their digests with the bundle's.
        return Fetched(directory=Path(directory), id=name, revision=None, sha256="")

    settings = recipe.levels[level]
    model: PeftModel = load_adapted(
        fetched(files.base, recipe.base.id),
        fetched(files.adapters[level], settings.id),
        recipe.base,
        settings.labels,
        accept_base=settings.accept_base,
    )
    return model


def _load_merged(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation="sdpa", dtype=torch.float32, local_files_only=True
    )
    model.eval()
    return model


def _cascade(recipe: Recipe) -> CascadeRecipe:
    assert recipe.cascade is not None, "this benchmark compares cascades"
    return recipe.cascade
