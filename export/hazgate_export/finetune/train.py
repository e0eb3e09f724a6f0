"""The training loop: one run from its rows to its weights, resumable and repeatable."""

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from peft import PeftModel
from torch import Tensor
from torch.optim import AdamW
from transformers import PreTrainedTokenizerBase, get_linear_schedule_with_warmup

from hazgate.cli.progress import track
from hazgate_export.finetune.data import add_noise, plan_epoch
from hazgate_export.finetune.frozen import FrozenStates, freeze, logits_above
from hazgate_export.finetune.model import set_trainable, trainable
from hazgate_export.finetune.predict import encode, pad
from hazgate_export.finetune.tasks import Lesson, texts_of
from hazgate_export.finetune_settings import RunSettings

# The running average follows more closely at first, or it would remember the random start:
# its decay at step n is at most (1 + n) / (10 + n).
_AVERAGE_WARMUP = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training run: its lessons, its settings and the place of its checkpoint.

    Two runs with the same `checkpoint` must be equal in everything else.
    """

    name: str
    lessons: tuple[Lesson, ...]
    epochs: int
    settings: RunSettings
    checkpoint: Path

    @property
    def texts(self) -> list[str]:
        """The texts of all lessons."""
        return texts_of(self.lessons)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Seed torch and make its operations deterministic; restore its settings at the end."""
    deterministic: Any = torch.utils.deterministic  # a module with properties, typed without
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_filling = deterministic.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        # Filling fresh buffers only helps to find bugs in operators.
        deterministic.fill_uninitialized_memory = False
        try:
            yield
        finally:
            deterministic.fill_uninitialized_memory = was_filling
            torch.use_deterministic_algorithms(was_deterministic)


class Losses(Protocol):
    """The summed losses of a run's tasks over batches of its texts."""

    def of(self, logits: Tensor, batch: Sequence[int]) -> Tensor:
        """Return the loss of a batch, float32 [].

        Args:
            logits: what the model computes of the batch's texts.
            batch: numbers of the texts.
        """


def train(model: PeftModel, tokenizer: PreTrainedTokenizerBase, run: Run, losses: Losses) -> None:
    """Train `model` in place, from the run's checkpoint if there is one; leave it in eval mode.

    Call it within `repeatable`, on a model from `new_adapter`. A run that was interrupted and
    continued then ends with the same weights as one that was not.
    """
    settings = run.settings
    state = _State.start(model, run)
    state.restore(run.checkpoint)
    # A finished run reads no more states.
    is_open = state.step < state.steps_per_epoch * run.epochs
    frozen = _freeze(model, tokenizer, run) if settings.frozen_layers and is_open else None
    for epoch in range(run.epochs):
        if state.step >= (epoch + 1) * state.steps_per_epoch:
            continue
        # Except for dropout, an epoch's randomness depends on its number alone.
        generator = random.Random(f"{settings.seed} {epoch}")  # noqa: S311 - not for secrets
        encoded = frozen.encoded if frozen else _encode_epoch(tokenizer, run, generator)
        batches = plan_epoch([len(ids) for ids in encoded], settings.batch_size, generator)
        n_done = state.step - epoch * state.steps_per_epoch
        model.train()
        for batch in track(batches[n_done:], f"{run.name}: epoch {epoch + 1} of {run.epochs}"):
            with _arithmetic(settings.precision):
                if frozen:
                    states, mask = frozen.states.pad(batch)
                    logits = logits_above(model, states, mask, settings.frozen_layers)
                else:
                    input_ids, mask = pad([encoded[i] for i in batch], tokenizer)
                    logits = model(input_ids=input_ids, attention_mask=mask).logits
            state.advance(losses.of(logits, batch))
            if state.step % settings.checkpoint_steps == 0:
                state.save(run.checkpoint)
    state.save(run.checkpoint)
    if frozen:
        frozen.file.unlink()
    if state.average is not None:
        set_trainable(model, state.average)
    model.eval()


@dataclass(kw_only=True, slots=True)
class _State:
    """State that changes from step to step; a checkpoint holds it."""

    model: PeftModel
    optimizer: AdamW
    schedule: Any
    average: dict[str, Tensor] | None
    average_decay: float
    max_gradient_norm: float
    steps_per_epoch: int
    step: int

    @classmethod
    def start(cls, model: PeftModel, run: Run) -> "_State":
        settings = run.settings
        steps_per_epoch = math.ceil(len(run.texts) / settings.batch_size)
        n_steps = steps_per_epoch * run.epochs
        optimizer = AdamW(
            trainable(model).values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        schedule = get_linear_schedule_with_warmup(
            optimizer,
            num_warmup_steps=round(settings.warmup_ratio * n_steps),
            num_training_steps=n_steps,
        )
        return cls(
            model=model,
            optimizer=optimizer,
            schedule=schedule,
            average=_snapshot(model) if settings.average_decay else None,
            average_decay=settings.average_decay,
            max_gradient_norm=settings.max_gradient_norm,
            steps_per_epoch=steps_per_epoch,
            step=0,
        )

    def advance(self, loss: Tensor) -> None:
        parameters = trainable(self.model)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), self.max_gradient_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.step += 1
        if self.average is not None:
            decay = min(self.average_decay, (1 + self.step) / (_AVERAGE_WARMUP + self.step))
            for name, parameter in parameters.items():
                self.average[name].lerp_(parameter.detach(), 1 - decay)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        torch.save(
            {
                "step": self.step,
                "trainable": _snapshot(self.model),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "generator": torch.get_rng_state(),
            },
            temporary,
        )
        temporary.replace(path)

    def restore(self, path: Path) -> None:
        if not path.exists():
            return
        stored = torch.load(path, weights_only=True)
        self.step = stored["step"]
        set_trainable(self.model, stored["trainable"])
        self.average = stored["average"]
        self.optimizer.load_state_dict(stored["optimizer"])
        self.schedule.load_state_dict(stored["schedule"])
        torch.set_rng_state(stored["generator"])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frozen:
    """A run's texts after the frozen layers; every epoch reads the same."""

    encoded: list[list[int]]
    states: FrozenStates
    file: Path


def _freeze(model: PeftModel, tokenizer: PreTrainedTokenizerBase, run: Run) -> _Frozen:
    generator = random.Random(f"{run.settings.seed}")  # noqa: S311 - not for secrets
    encoded = _encode_epoch(tokenizer, run, generator)
    file = run.checkpoint.with_suffix(".states")
    states = freeze(model, encoded, run.settings.frozen_layers, file, run.name)
    return _Frozen(encoded=encoded, states=states, file=file)


def _snapshot(model: PeftModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in trainable(model).items()}


def _encode_epoch(
    tokenizer: PreTrainedTokenizerBase, run: Run, generator: random.Random
) -> list[list[int]]:
    noise = run.settings.noise
    texts = [text if noise is None else add_noise(text, noise, generator) for text in run.texts]
    return encode(tokenizer, texts, run.settings.max_tokens)


def _arithmetic(precision: Literal["float32", "bfloat16"]) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")
