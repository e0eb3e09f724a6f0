"""The files of a LoRA adapter: its configuration, read field by field, and its tensors' shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from safetensors import safe_open

from hazgate.documents.files import read_bytes
from hazgate.documents.jsonl import parse_json
from hazgate_export.errors import SourceError
from hazgate_export.model.sources import Fetched

PREFIX = "base_model.model."
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
# The last linear layer of a classification head, as the supported families name it.
HEADS = ("classifier.out_proj", "classifier", "score")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")

# Fields that PEFT computes with, and that tests compare with PEFT in merged models and graphs.
_COMPUTED = (
    "alpha_pattern",
    "bias",
    "exclude_modules",
    "fan_in_fan_out",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_bias",
    "modules_to_save",
    "r",
    "rank_pattern",
    "target_modules",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_rslora",
)
# Fields that are checked here, and tell PEFT nothing.
_CHECKED = (
    "auto_mapping",
    "base_model_name_or_path",
    "init_lora_weights",
    "peft_type",
    "revision",
    "task_type",
)
# Fields without effect on the logits of a trained adapter: they are for training, for starting it,
# or name versions and devices. A start that changes the base's weights is refused by
# `init_lora_weights`.
_IRRELEVANT = (
    "corda_config",
    "eva_config",
    "inference_mode",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "runtime_config",
)
# Fields that must be off (null, false or empty): the reason.
_MUST_BE_OFF = {
    "alora_invocation_tokens": "such an adapter works on some tokens only",
    "arrow_config": "it routes between several adapters",
    "ensure_weight_tying": "it ties weights that the graph stores apart",
    "kasa_config": "it changes the base's weights",
    "layer_replication": "it repeats layers of the base",
    "loftq_config": "it was trained on quantised weights of the base",
    "megatron_config": "it is for layers of Megatron",
    "monteclora_config": "it samples weights at random",
    "use_bdlora": "hazgate does not know its mathematics",
    "use_qalora": "it was trained on quantised weights of the base",
    "velora_config": "hazgate does not know its mathematics",
}
# Starts of training that leave the base's weights as they are. Others (pissa, olora, corda, loftq,
# lora_ga) replace them by what a decomposition leaves over.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterHead:
    """The classification head in an adapter's tensors.

    `name` is that of the last linear layer. `is_whole` is False if the adapter has a LoRA product
    for it, which needs the base's own trained layer.
    """

    name: str
    n_outputs: int
    is_whole: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterFiles:
    """An adapter's configuration as it stands in the file, and the shape of each tensor."""

    id: str
    config: Mapping[str, object]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def base(self) -> str:
        """The name of the base that it was trained on; empty if it names none."""
        return str(self.config.get("base_model_name_or_path") or "")

    @property
    def computed(self) -> dict[str, object]:
        """The fields that PEFT computes with."""
        return {n: self.config[n] for n in _COMPUTED if self.config.get(n) is not None}

    @property
    def head(self) -> AdapterHead | None:
        """The classification head; None if the adapter has none."""
        for name in HEADS:
            for suffix, is_whole in (("weight", True), ("lora_B.weight", False)):
                shape = self.shapes.get(f"{PREFIX}{name}.{suffix}")
                if shape is not None:
                    return AdapterHead(name=name, n_outputs=shape[0], is_whole=is_whole)
        return None


def read_adapter(adapter: Fetched) -> AdapterFiles:
    """Read an adapter's configuration and the shapes of its tensors, no values.

    Raises:
        SourceError: a file is missing, or is not JSON or safetensors.
    """
    source = f"{adapter.id}: {_CONFIG}"
    file = adapter.directory / _CONFIG
    config = parse_json(read_bytes(file, error=SourceError), source=source, error=SourceError)
    if not isinstance(config, dict):
        raise SourceError(f"{source}: expected an object, got {type(config).__name__}")
    try:
        with safe_open(adapter.directory / _WEIGHTS, framework="pt") as tensors:
            shapes = {
                name: tuple(tensors.get_slice(name).get_shape())
                for name in tensors.keys()  # noqa: SIM118 - it is no mapping
            }
    except Exception as error:  # the binding has an error of its own, next to OSError
        raise SourceError(f"{adapter.id}: {_WEIGHTS} cannot be read: {error}") from error
    return AdapterFiles(id=adapter.id, config=config, shapes=shapes)


def adapter_problems(
    files: AdapterFiles,
    base: Fetched,
    accept_base: str | None,
    labels: tuple[str, ...],
    *,
    per_token: bool = False,
) -> list[str]:
    """List all reasons not to apply an adapter to a base, each beginning with a field or tensor.

    Args:
        files: the adapter's files.
        base: the base that the recipe names.
        accept_base: another name of the same base that the adapter may give.
        labels: the labels of the head's outputs.
        per_token: True if the head labels each token, False if the text.
    """
    task = _tokens_problems(files) if per_token else _task_problems(files, labels)
    problems = [*_field_problems(files.config), *task]
    problems.extend(base_problems(files, base, accept_base))
    head = files.head
    if head is None:
        problems.append(
            f"it has no trained classification head ({', '.join(HEADS)}; PEFT saves the modules "
            "named in modules_to_save)"
        )
    elif head.n_outputs != len(labels):
        problems.append(
            f"its head has {head.n_outputs} outputs, but {len(labels)} labels are named: "
            f"{', '.join(labels)}"
        )
    return problems


def base_problems(files: AdapterFiles, base: Fetched, accept_base: str | None) -> list[str]:
    """List the reasons to think that an adapter was trained on another base."""
    problems = []
    if files.base not in (base.id, accept_base):
        stated = "" if accept_base is None else f' and accepts "{accept_base}"'
        problems.append(
            f"base_model_name_or_path: it was trained on {files.base or 'a base without a name'}, "
            f"the recipe's base is {base.id}{stated}. If that is a name of the same weights, "
            f'write accept_base = "{files.base}" into the level'
        )
    revision = files.config.get("revision")
    pinned = isinstance(revision, str) and _COMMIT.fullmatch(revision)
    if pinned and base.revision is not None and not base.revision.startswith(str(revision)):
        problems.append(
            f"revision: it was trained on commit {revision} of its base, the recipe's base is at "
            f"{base.revision}; pin that commit"
        )
    return problems


def _field_problems(config: Mapping[str, object]) -> list[str]:
    problems = []
    if config.get("peft_type") != "LORA":
        problems.append(f"peft_type: expected LORA, got {config.get('peft_type')}")
    if config.get("init_lora_weights") not in _PLAIN_STARTS:
        problems.append(
            f"init_lora_weights: {config.get('init_lora_weights')!r} changes the base's weights; "
            "convert the adapter to a plain one (PEFT: path_initial_model_for_weight_conversion)"
        )
    # Without them PEFT would take its own defaults.
    problems.extend(
        f"{name}: expected a number, got {config.get(name)!r}"
        for name in ("r", "lora_alpha")
        if type(config.get(name)) not in (int, float)
    )
    problems.extend(
        f"{name}: expected none, got {config[name]!r}: {reason}"
        for name, reason in _MUST_BE_OFF.items()
        if config.get(name)
    )
    known = {*_COMPUTED, *_CHECKED, *_IRRELEVANT, *_MUST_BE_OFF}
    # A null says that a feature of a later PEFT is off.
    problems.extend(
        f"{name}: hazgate-export does not know this field (got {value!r}); upgrade it, or remove "
        "the field if it changes no weight"
        for name, value in config.items()
        if name not in known and value is not None
    )
    return problems


def _tokens_problems(files: AdapterFiles) -> list[str]:
    """Check that nothing says that the head classifies texts: its tensors would be the same."""
    task, kind = files.config.get("task_type"), _base_class(files)
    problems = []
    if task not in ("TOKEN_CLS", None):
        problems.append(
            f"task_type: expected TOKEN_CLS, got {task}; a head of texts is no token level: leave "
            "output out"
        )
    if kind is not None and not kind.endswith("ForTokenClassification"):
        problems.append(
            f"auto_mapping.base_model_class: expected a ForTokenClassification, got {kind}"
        )
    return problems


def _base_class(files: AdapterFiles) -> str | None:
    """Return the class that the adapter was trained on; None if it names none."""
    mapping = files.config.get("auto_mapping")
    kind = mapping.get("base_model_class") if isinstance(mapping, Mapping) else None
    return None if kind is None else str(kind)


def _task_problems(files: AdapterFiles, labels: tuple[str, ...]) -> list[str]:
    """Check that the head classifies texts: by its task, or by its class where it states none."""
    task, kind = files.config.get("task_type"), _base_class(files)
    problems = []
    if task not in ("SEQ_CLS", None):
        hint = (
            '; for a token level, write output = "tokens" into the level'
            if task == "TOKEN_CLS"
            else ""
        )
        problems.append(f"task_type: expected SEQ_CLS, got {task}{hint}")
    if kind is not None and not kind.endswith("ForSequenceClassification"):
        problems.append(
            f"auto_mapping.base_model_class: expected a ForSequenceClassification, got {kind}"
        )
    # Heads for tokens have the same tensors; labels of kind B-NAME and I-NAME give them away.
    if task is None and kind is None and any(label.startswith(("B-", "I-")) for label in labels):
        problems.append(
            "task_type: expected SEQ_CLS, got none, and the labels are those of tokens "
            f'({", ".join(labels[:3])}); for a token level, write output = "tokens" into the level'
        )
    return problems
