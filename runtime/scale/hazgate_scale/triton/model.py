"""hazgate in Triton's Python backend: texts in; P(unsafe), flags and verdicts out.

`hazgate triton` writes this file into a repository. The server's Python runs it and needs hazgate
and an onnxruntime only. `hazgate_scale.triton.config` writes the configuration's parameters.

Tensors are those of `hazgate serve`, see hazgate.serving.open_inference, and `verdict`, a verdict
as JSON. A request may have the parameters `all_levels` and `tenant` of `Gate.check_many`.
"""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton
from numpy.typing import NDArray

from hazgate import (
    Bucket,
    Bundle,
    BundleError,
    Classifier,
    Gate,
    HazgateError,
    InferenceError,
    InputError,
    Reading,
    Shapes,
    Verdict,
)
from hazgate.bundle.manifest import TokenizerSpec
from hazgate.engine.canaries import check_canaries, tolerance_of
from hazgate.engine.engine import canaries_of
from hazgate.engine.options import EngineOptions
from hazgate.engine.session import Session
from hazgate.engine.static_shapes import BucketedSession
from hazgate.questions import Question
from hazgate.serving import open_inference as oip
from hazgate.text.reading import within
from hazgate.text.tokenization import Tokenizer

_VALUES: Mapping[str, Callable[[Verdict], object]] = {
    "unsafe": lambda verdict: verdict.unsafe,
    "flagged": lambda verdict: verdict.flagged,
    "verdict": lambda verdict: json.dumps(verdict.to_dict()).encode(),
}
_TYPES: Mapping[str, type] = {"unsafe": np.float32, "flagged": np.bool_, "verdict": np.object_}
_OPTIONS: Mapping[str, type] = {"all_levels": bool, "tenant": str}


class TritonPythonModel:
    """The model that Triton calls, one thread at a time."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the bundle next to this file.

        Raises:
            BundleError: the bundle is not the exported one, or cannot be served here. Triton then
                does not load the model and logs the reason.
        """
        parameters = {
            name: value["string_value"]
            for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        folder = Path(__file__).with_name("bundle")
        self._gate = open_gate(folder, parameters)
        self._is_proven = parameters["engine"] == "in-process"

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request with its verdicts, or with an error that holds no text."""
        try:
            self._prove()
            asked = [_ask(self._gate, request) for request in requests]
            answers = _answer(self._gate, asked)
        # Triton sends the caller, and logs, the whole message of any error that leaves here.
        except Exception as error:
            answers = [_told(error)] * len(requests)
        return [
            _response(request, answer) for request, answer in zip(requests, answers, strict=True)
        ]

    def _prove(self) -> None:
        """Run texts with known logits through the backend's models, once.

        Triton may load this model before the backend's models.
        """
        if not self._is_proven:
            for level in self._gate.levels:
                longest = level.tokenizer.window_tokens
                known = canaries_of(self._gate.bundle, level.level)
                fitting = [each for each in known.canaries if len(each.input_ids) <= longest]
                if fitting:
                    check_canaries(
                        level.session,
                        fitting,
                        name=level.level,
                        tolerance=tolerance_of(level.spec.variants[level.variant]),
                        columns=known.columns,
                    )
            self._is_proven = True


def open_gate(folder: Path, parameters: Mapping[str, str]) -> Gate:
    """Open the gate over the bundle in `folder`, with the engine that the parameters name.

    Raises:
        BundleError: it is not the exported bundle, or cannot be served here.
    """
    levels = json.loads(parameters["levels"])
    if parameters["engine"] == "in-process":
        rows = next(iter(levels.values()))
        gate = Gate.open(
            folder,
            engine=EngineOptions(
                variant=parameters["variant"],
                providers=parameters["provider"],
                threads=int(parameters["threads"]) if "threads" in parameters else None,
                shapes=Shapes(
                    buckets=_buckets(rows) or None,
                    programs=Path(parameters["programs"]) if "programs" in parameters else None,
                ),
            ),
        )
    else:
        gate = _open_over_backend(folder, parameters, levels)
    if gate.bundle.digest != parameters["digest"]:
        raise BundleError(
            f"expected the bundle with digest {parameters['digest']}, found "
            f"{gate.bundle.digest}; export the repository again"
        )
    return gate


def _open_over_backend(
    folder: Path, parameters: Mapping[str, str], models: Mapping[str, Sequence[Any]]
) -> Gate:
    """Open a gate whose graphs run as models of Triton's ONNX Runtime backend."""
    variant = parameters["variant"]
    bundle = Bundle.open_variant(folder, lambda _: variant)
    tokenizers: dict[TokenizerSpec, Tokenizer] = {}

    def open_level(name: str) -> Classifier:
        spec = bundle.manifest.levels[name]
        buckets = _buckets(models[name])
        read = spec.tokenizer
        if buckets:
            read = within(read, max(bucket.tokens for bucket in buckets))
        # Equal specifications share one tokenizer.
        tokenizer = tokenizers.setdefault(read, Tokenizer(bundle.read(read.file), read))
        return Classifier(
            level=name,
            spec=spec,
            variant=variant,
            provider=parameters["provider"],
            tokenizer=tokenizer,
            session=_session(models[name], spec.n_logits, read.pad_token_id),
            bundle=bundle,
        )

    cascade = bundle.manifest.cascade_for("a gate over Triton's backend")
    return Gate(
        bundle=bundle,
        level1=open_level(cascade.level1),
        hazard_level=open_level(cascade.level2),
        threshold=cascade.threshold,
        reading=Reading(),
    )


def _buckets(models: Sequence[Any]) -> tuple[Bucket, ...]:
    """List the shapes for one row and a full batch of models with fixed lengths."""
    return tuple(
        Bucket(batch, model["tokens"])
        for model in models
        if model["tokens"] is not None
        for batch in sorted({1, model["max_batch_size"]})
    )


def _session(models: Sequence[Any], n_labels: int, pad_token_id: int) -> Session:
    sessions = {
        model["tokens"]: BackendSession(
            model=model["model"], max_batch_size=model["max_batch_size"], n_labels=n_labels
        )
        for model in models
    }
    buckets = _buckets(models)
    if not buckets:
        return sessions[None]
    return BucketedSession(
        {bucket: [sessions[bucket.tokens]] for bucket in buckets}, pad_token_id=pad_token_id
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendSession:
    """A model of Triton's ONNX Runtime backend as a hazgate.engine.session.Session."""

    model: str
    max_batch_size: int
    n_labels: int

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Compute logits [batch, n_labels] from two arrays [batch, sequence].

        Raises:
            InferenceError: the model is missing or failed, a logit is not finite, or rows are to
                leave early, which this engine does not offer.
        """
        if may_leave is not None:
            raise InferenceError(f"model {self.model} has no early exits, and rows were to leave")
        starts = range(0, len(input_ids), self.max_batch_size)
        parts = [slice(start, start + self.max_batch_size) for start in starts]
        return np.concatenate([self._run(input_ids[p], attention_mask[p]) for p in parts])

    def _run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        request = triton.InferenceRequest(
            model_name=self.model,
            requested_output_names=["logits"],
            inputs=[
                triton.Tensor("input_ids", np.ascontiguousarray(input_ids)),
                triton.Tensor("attention_mask", np.ascontiguousarray(attention_mask)),
            ],
            preferred_memory=triton.PreferredMemory(triton.TRITONSERVER_MEMORY_CPU),
        )
        response = request.exec()
        shape = input_ids.shape
        if response.has_error():
            raise InferenceError(
                f"model {self.model} failed on shape {shape}: {response.error().message()}"
            )
        logits = triton.get_output_tensor_by_name(response, "logits").as_numpy()
        if logits.shape != (shape[0], self.n_labels) or not np.isfinite(logits).all():
            raise InferenceError(
                f"model {self.model} gave logits of shape {logits.shape}, or some that are not "
                f"finite, for rows of shape {shape}"
            )
        return np.asarray(logits, dtype=np.float32)


def _ask(gate: Gate, request: Any) -> list[Question] | HazgateError:  # noqa: ANN401
    """Read a request's questions, or the error to answer it with."""
    try:
        given = triton.get_input_tensor_by_name(request, oip.INPUT).as_numpy()
        texts = oip.texts_of_elements(given.ravel().tolist(), given.shape)
        return gate.ask(texts, **_options(json.loads(request.parameters() or "{}")))
    except InputError as error:
        return error


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names and types of a request's parameters.

    Raises:
        InputError: a name or type is not known.
    """
    n_wrong = sum(not isinstance(v, _OPTIONS.get(n, type(None))) for n, v in given.items())
    if n_wrong:
        known = ", ".join(f"{name} ({kind.__name__})" for name, kind in _OPTIONS.items())
        raise InputError(f"{n_wrong} parameters are not among {known}")
    return dict(given)


def _answer(
    gate: Gate, asked: Sequence[list[Question] | HazgateError]
) -> list[list[Verdict] | HazgateError]:
    """Answer all requests together, or one by one if that fails."""
    questions = [question for one in asked if isinstance(one, list) for question in one]
    try:
        verdicts = iter(gate.answer(questions))
    except Exception as error:
        if len(asked) == 1:
            return [_told(error)]
        # One request's failure must not fail the others: each is asked again by itself.
        return [answer for one in asked for answer in _answer(gate, [one])]
    return [[next(verdicts) for _ in one] if isinstance(one, list) else one for one in asked]


def _told(error: Exception) -> HazgateError:
    """Keep hazgate's own errors; reduce others to their type, as a message may hold a text."""
    if isinstance(error, HazgateError):
        return error
    frames = "".join(traceback.format_tb(error.__traceback__))
    triton.Logger.log_error(f"the engine failed: {type(error).__name__}\n{frames}")
    return InferenceError(f"the engine failed: {type(error).__name__}")


def _response(request: Any, answer: list[Verdict] | HazgateError) -> Any:  # noqa: ANN401
    """Build Triton's response: the requested outputs, [n, 1] each, or an error."""
    if isinstance(answer, HazgateError):
        codes = triton.TritonError
        code = codes.INVALID_ARG if isinstance(answer, InputError) else codes.INTERNAL
        return triton.InferenceResponse(error=triton.TritonError(str(answer), code))
    return triton.InferenceResponse(
        [
            triton.Tensor(name, np.array([[_VALUES[name](v)] for v in answer], dtype=_TYPES[name]))
            for name in _VALUES
            if name in request.requested_output_names()
        ]
    )
