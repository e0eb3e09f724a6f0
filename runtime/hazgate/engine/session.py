"""The only file that knows ONNX Runtime: a graph, one execution provider, arrays in and out."""

import ctypes
import importlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import GraphKind
from hazgate.engine.buckets import Bucket
from hazgate.engine.early_graph import POOLED, EarlyGraph
from hazgate.engine.exits import Exits
from hazgate.engine.kernels import kernels_library
from hazgate.engine.linked_weights import release_pages, use_linked_weights, use_maps
from hazgate.engine.ownership import OUTPUT, prove_ownership, says_owners
from hazgate.engine.providers.choose import ON_CPU, Placement
from hazgate.engine.providers.host import Host, this_host
from hazgate.engine.providers.table import CPU, BuiltIn, PlugIn, ProviderSpec
from hazgate.engine.sealed_graph import SealedGraph
from hazgate.engine.signature import check_signature
from hazgate.engine.telemetry import disable_telemetry, is_telemetry_disabled
from hazgate.errors import BundleError, HazgateError, InferenceError, ProviderError

if TYPE_CHECKING:
    import onnxruntime


class Session(Protocol):
    """The interface that a classifier needs from an engine."""

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Return logits for two arrays of shape [batch, sequence].

        Their shape is [batch, n_labels], of a token level [batch, sequence, n_labels]. Of a graph
        with early exits it is [batch, n_labels + 1], and only such a graph takes `may_leave`, shape
        [batch]; None lets no row leave. See `OrtSession.run` for the last column.
        """
        ...


class OrtSession:
    """An ONNX Runtime session of one graph on one execution provider. Thread-safe.

    `owners` counts the graph's nodes by the provider that owns them; it is empty on the CPU.
    """

    def __init__(
        self,
        graph: Path,
        *,
        data: Sequence[Path] = (),
        sealed: SealedGraph | None = None,
        kind: GraphKind,
        n_labels: int,
        threads: int,
        per_token: bool = False,
        placement: Placement = ON_CPU,
        bucket: Bucket | None = None,
        programs: Path | None = None,
        exits: Exits | None = None,
    ) -> None:
        """Open `graph`, whose external data are next to it, where the graph says.

        Args:
            graph: the ONNX file.
            data: its external data, which may be links then.
            sealed: the same files as they were checked. On the CPU they are all that ONNX Runtime
                gets, from the release on that maps what it is given; elsewhere it opens the paths,
                which must still be the same files afterwards. None trusts the paths.
            kind: an authored or fused graph runs as it is written; ONNX Runtime fuses a portable
                one first.
            n_labels: the number of labels of which it must have logits.
            threads: intra-op threads of one run.
            per_token: True if it has logits of each token.
            placement: the provider and its source on this host.
            bucket: the only shape that the session will take; None for any.
            programs: the folder for the provider's compiled programs of this graph and shape.
            exits: probes and limits of a graph with early exits; None for another.

        Raises:
            ProviderError: the provider is not in this onnxruntime, or did not take the graph.
            BundleError: the graph cannot be loaded or has another signature; or it is fused and
                hazgate-kernels is not installed; or it names weights that `sealed` does not have.
            IntegrityError: a file of `sealed` was changed or replaced meanwhile.
        """
        ort = load_onnxruntime()
        spec = placement.spec
        early = None if exits is None else EarlyGraph.of(graph.name, exits)
        options = session_options(ort, kind, threads)
        if bucket is not None:
            # ONNX Runtime ignores a name that the graph does not have; _check_signature finds it.
            options.add_free_dimension_override_by_name("batch", bucket.batch)
            options.add_free_dimension_override_by_name("sequence", bucket.tokens)
        by_path = sealed is None or spec.name != CPU or not _maps_what_it_gets(ort)
        try:
            content = None if sealed is None else sealed.content()
            # ONNX Runtime reads from the maps as long as the session lives.
            if sealed is None or by_path:
                self._maps = use_linked_weights(options, graph, data)
            else:
                self._maps = sealed.maps()
                use_maps(options, self._maps)
            model = str(graph) if content is None or by_path else content
            session = _create(ort, model, options, placement, programs)
            if sealed is not None:
                sealed.check(by_path=by_path)
        except HazgateError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            kind_of_error = BundleError if spec.name == CPU else ProviderError
            raise kind_of_error(f"{graph.name} cannot be loaded on {spec.name}: {error}") from error
        # Without this, ONNX Runtime silently runs on the CPU when a provider fails.
        session.disable_fallback()
        if session.get_providers()[0] != spec.name:
            raise ProviderError(
                f"{spec.name} was requested, but {graph.name} runs on {session.get_providers()}"
            )
        n_columns = n_labels if early is None else n_labels + 1
        check_signature(session, graph.name, n_columns, bucket, per_token=per_token, early=early)
        release_pages(self._maps)
        self._session = session
        self._name = graph.name
        self._n_columns = n_columns
        self._per_token = per_token
        self._early = early
        self.owners: Mapping[str, int] = {}
        if spec.name != CPU:
            self.owners = prove_ownership(ort, session, graph.name, spec, bucket)

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Return the logits of a padded batch.

        Args:
            input_ids: shape [batch, sequence].
            attention_mask: the same shape; 1 on tokens, 0 on padding.
            may_leave: shape [batch], True for rows that may leave early; None for no row. Only a
                graph with early exits takes it.

        Returns:
            Finite logits, shape [batch, n_labels], in the order of the labels; of a token level
            [batch, sequence, n_labels]. With early exits [batch, n_labels + 1]; see
            hazgate.engine.early_graph for the last column.

        Raises:
            InferenceError: ONNX Runtime failed, a logit is not finite, or an exit cannot be.
        """
        return self._run([OUTPUT], input_ids, attention_mask, may_leave)[0]

    def pooled(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the logits of a padded batch that is read whole, and what its probes read.

        Args:
            input_ids: as of `run`.
            attention_mask: as of `run`.

        Returns:
            The logits, as of `run`, and the pooled states, shape [batch, n_exits, hidden].

        Raises:
            InferenceError: as of `run`, or the graph does not give pooled states.
        """
        logits, states = self._run([OUTPUT, POOLED], input_ids, attention_mask, None)
        if not np.isfinite(states).all():
            raise InferenceError(f"{self._name} gave pooled states that are not finite")
        return logits, states

    def _run(
        self,
        outputs: list[str],
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None,
    ) -> list[NDArray[np.float32]]:
        """Return some outputs, the first of which are the logits, which are checked."""
        feeds: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._early is not None:
            feeds |= self._early.feeds(len(input_ids), may_leave)
        elif may_leave is not None:
            raise InferenceError(f"{self._name} has no early exits, and rows were to leave it")
        shape = input_ids.shape
        try:
            results = self._session.run(outputs, feeds)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise InferenceError(f"{self._name} failed on shape {shape}: {error}") from error
        logits = results[0]
        expected = (*(shape if self._per_token else shape[:1]), self._n_columns)
        if logits.shape != expected:
            raise InferenceError(
                f"{self._name}: expected logits of shape {expected}, got {logits.shape}"
            )
        if not np.isfinite(logits).all():
            raise InferenceError(f"{self._name} gave logits that are not finite, shape {shape}")
        if self._early is not None:
            self._early.check_column(logits[:, -1], feeds["may_leave"])
        return [np.asarray(result, dtype=np.float32) for result in results]


def load_onnxruntime() -> Any:  # noqa: ANN401 - a module without type information
    """Import ONNX Runtime, with its telemetry off.

    Raises:
        ProviderError: it is not installed.
    """
    disable_telemetry()
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            "no onnxruntime distribution is installed. Install exactly one: "
            "`pip install hazgate[cpu]` on a CPU host, AMD's wheel on a ROCm host."
        ) from error
    # The host program may have imported it before; older releases have no such function.
    switch_off = getattr(onnxruntime, "disable_telemetry_events", None)
    if switch_off is not None and is_telemetry_disabled():
        switch_off()
    return onnxruntime


def session_options(
    ort: Any,  # noqa: ANN401 - a module without type information
    kind: GraphKind,
    threads: int,
) -> "onnxruntime.SessionOptions":
    """Return options for a session on a graph of that kind, with `threads` threads per run.

    Raises:
        BundleError: there is no thread, or hazgate-kernels is needed and cannot be loaded.
    """
    if threads < 1:
        raise BundleError(f"threads must be at least 1, got {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Spinning threads start sooner within a run, but between two runs they would take processors
    # from the caller.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Errors come back as exceptions; a library does not write to its host's terminal.
    options.log_severity_level = 4
    if kind == "fused":
        library = kernels_library()
        try:
            options.register_custom_ops_library(str(library))
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BundleError(f"{library.name} cannot be loaded: {error}") from error
    if kind in ("authored", "fused"):
        # The graph is fused already. Above this level ONNX Runtime copies mapped weights: slower to
        # open, larger, and no faster to run.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return options


def _maps_what_it_gets(ort: Any) -> bool:  # noqa: ANN401 - a module without type information
    """Return True for releases that read from a caller's map instead of copying it.

    1.32 does; 1.24 and 1.26 copy, which costs the size of the weights in every process.
    """
    major, minor = ort.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (1, 32)


def ort_host() -> Host:
    """Return the facts about this host, including its onnxruntime.

    Raises:
        ProviderError: no onnxruntime is installed.
    """
    ort = load_onnxruntime()
    return this_host(ort.__version__, tuple(ort.get_available_providers()))


# The process has one environment and one registry of plug-ins.
_CREATING = threading.Lock()


def _create(
    ort: Any,  # noqa: ANN401
    model: str | bytes,
    options: "onnxruntime.SessionOptions",
    placement: Placement,
    programs: Path | None,
) -> "onnxruntime.InferenceSession":
    """Create a session on the placement's provider, without a fallback to the CPU."""
    spec, source = placement.spec, placement.source
    if spec.name == CPU:
        # With a fallback, ONNX Runtime would print a message and run on the CPU.
        return ort.InferenceSession(model, options, providers=[CPU], enable_fallback=False)
    if spec.owns_shapes:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if says_owners(ort):
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    else:
        # Imported here because `import hazgate` does not need it.
        import tempfile

        # The first run's profile has the owners instead.
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(tempfile.mkdtemp(prefix="hazgate-")) / "profile")
    given = dict(source.options)
    if source.device_option is not None:
        given[source.device_option] = str(placement.device_id)
    if source.cache_option is not None and programs is not None:
        given[source.cache_option] = str(programs)
    with _CREATING:
        if isinstance(source, BuiltIn):
            # The CPU is left out: ONNX Runtime would use it if it were in the list.
            return ort.InferenceSession(
                model, options, providers=[(spec.name, given)], enable_fallback=False
            )
        device = _plugged_in(ort, spec, source, placement.device_id)
        options.add_provider_for_devices([device], given)
        # If `providers` were also given, ONNX Runtime would ignore the device.
        return ort.InferenceSession(model, options, enable_fallback=False)


def _plugged_in(
    ort: Any,  # noqa: ANN401
    spec: ProviderSpec,
    source: PlugIn,
    device_id: int,
) -> Any:  # noqa: ANN401
    """Register a provider's library if it is not registered yet, and return its device.

    Raises:
        ProviderError: the library cannot be loaded, or has no such device.
    """
    try:
        module = importlib.import_module(source.module)
        for library in source.preloads:
            ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
        # Under its own name: it looks for its options by the registered name.
        ort.register_execution_provider_library(module.get_ep_name(), module.get_library_path())
    except Exception as error:  # an import, the linker, or ONNX Runtime
        if "already registered" not in str(error):
            raise ProviderError(
                f"{spec.name}: its library cannot be loaded: {error}; {source.cure}"
            ) from error
    devices = [device for device in ort.get_ep_devices() if device.ep_name == spec.name]
    if not 0 <= device_id < len(devices):
        raise ProviderError(
            f"{spec.name}: device {device_id} was requested, but its library finds {len(devices)}"
        )
    return devices[device_id]
