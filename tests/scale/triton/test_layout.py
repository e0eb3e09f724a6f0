"""The models of a repository and their Triton configurations."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from hazgate.bundle.manifest import Manifest
from hazgate.bundle.manifest_checks import parse_manifest
from hazgate.cli.extras import MissingExtra
from hazgate.engine.buckets import default_buckets
from hazgate.errors import BundleError, InputError
from hazgate_scale.triton import messages as own_messages
from hazgate_scale.triton.config import decides_config, level_config, to_text
from hazgate_scale.triton.layout import DECIDES, RepositoryLayout, choose_layout
from hazgate_scale.triton.messages import ModelConfig, messages
from hazgate_scale.triton.options import RepositoryOptions, TritonProvider
from tests.support.exits import manifest_with_exits
from tests.support.manifests import manifest_data, spell
from tests.support.tiny import LEVELS, MAX_TOKENS

DIGEST = "fedcba9876543210" * 4
KERNELS = PurePosixPath("/opt/libhazgate_kernels.so")
BATCHINGS = ("padded", "equal_length", "alone", "packed")


def _manifest(change: Callable[[dict[str, Any]], object] = lambda _: None) -> Manifest:
    """A manifest whose variant may run on both providers, every variant spoilt by `change`."""
    data = manifest_data()
    for level in data["levels"].values():
        for variant in level["variants"].values():
            variant["execution_providers"].append("MIGraphXExecutionProvider")
            change(variant)
    return parse_manifest(spell(data))


def _of_kind(batching: str, kind: str = "portable") -> Manifest:
    return _manifest(lambda variant: variant.update(batching=batching, kind=kind))


@st.composite
def options(draw: st.DrawFn, provider: TritonProvider = "cpu") -> RepositoryOptions:
    n_rows = draw(st.integers(1, 128))
    on_gpu = provider == "migraphx"
    return RepositoryOptions(
        provider=provider,
        engine=draw(st.sampled_from(["in-process", "backend"])),
        max_batch_size=n_rows,
        preferred_batch_sizes=tuple(draw(st.lists(st.integers(1, n_rows), max_size=4))),
        max_queue_delay_us=draw(st.integers(0, 10**6)),
        instances=draw(st.integers(1, 8)),
        threads=draw(st.none() | st.integers(1, 64)),
        buckets=tuple(draw(st.lists(st.integers(1, MAX_TOKENS), max_size=4))) if on_gpu else (),
        kernels=KERNELS,
        programs=draw(st.none() | st.just(PurePosixPath("/programs"))) if on_gpu else None,
    )


def _configs(layout: RepositoryLayout, chosen: RepositoryOptions) -> dict[str, ModelConfig]:
    levels = {m.name: level_config(m, layout, chosen, DIGEST) for m in layout.levels}
    return {**levels, DECIDES: decides_config(layout, chosen, DIGEST)}


def _level1(manifest: Manifest, chosen: RepositoryOptions) -> ModelConfig:
    return _configs(choose_layout(manifest, chosen), chosen)["level1"]


@given(options(), st.sampled_from(BATCHINGS), st.sampled_from(["portable", "authored", "fused"]))
def test_tritons_own_parser_reads_back_what_was_written(
    chosen: RepositoryOptions, batching: str, kind: str
) -> None:
    for config in _configs(choose_layout(_of_kind(batching, kind), chosen), chosen).values():
        assert text_format.Parse(to_text(config), messages().ModelConfig()) == config


@given(options(), st.sampled_from(BATCHINGS))
def test_rows_share_an_execution_only_as_their_variant_allows(
    chosen: RepositoryOptions, batching: str
) -> None:
    config = _level1(_of_kind(batching), chosen)
    n_rows = 1 if batching == "alone" else chosen.max_batch_size
    assert config.max_batch_size == n_rows
    assert config.HasField("dynamic_batching") == (n_rows > 1)
    # Triton would flatten ragged rows into one, which no graph takes.
    assert not any(tensor.allow_ragged_batch for tensor in config.input)


@given(options())
def test_the_batcher_waits_as_long_and_for_as_many_as_was_asked(chosen: RepositoryOptions) -> None:
    configs = _configs(choose_layout(_of_kind("padded"), chosen), chosen)
    for config in configs.values():
        batching = config.dynamic_batching
        sizes = list(batching.preferred_batch_size)
        if chosen.max_batch_size > 1:
            assert sizes == sorted(set(chosen.preferred_batch_sizes))
            assert batching.max_queue_delay_microseconds == chosen.max_queue_delay_us
        assert config.instance_group[0].count == chosen.instances
    level, decides = configs["level1"].parameters, configs[DECIDES].parameters
    threads = None if chosen.threads is None else str(chosen.threads)
    assert ("intra_op_thread_count" in level, "threads" in decides) == (bool(threads),) * 2
    if threads:
        assert level["intra_op_thread_count"].string_value == threads
        assert decides["threads"].string_value == threads


@given(options("migraphx"))
def test_a_compiling_provider_gets_a_model_for_each_length_and_no_free_axis(
    chosen: RepositoryOptions,
) -> None:
    layout = choose_layout(_of_kind("padded"), chosen)
    defaults = {bucket.tokens for bucket in default_buckets(MAX_TOKENS)}
    lengths = sorted(set(chosen.buckets) or defaults)
    configs = _configs(layout, chosen)
    names = [f"{level}_{n}" for level in LEVELS for n in lengths]
    assert sorted(configs) == sorted([*names, DECIDES])
    for model in layout.levels:
        config = configs[model.name]
        assert [list(tensor.dims) for tensor in config.input] == [[model.tokens]] * 2
        assert config.instance_group[0].kind == messages().ModelInstanceGroup.KIND_GPU
        (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
        assert accelerator.name == "migraphx"
        assert accelerator.parameters["migraphx_max_dynamic_batch"] == str(chosen.max_batch_size)
    told = json.loads(configs[DECIDES].parameters["levels"].string_value)
    assert [m["model"] for m in told["level1"]] == [f"level1_{n}" for n in lengths]


def test_programs_of_no_two_models_and_of_no_two_bundles_share_a_folder() -> None:
    chosen = RepositoryOptions(
        provider="migraphx", programs=PurePosixPath("/programs"), buckets=(8, 16)
    )
    layout = choose_layout(_of_kind("padded"), chosen)
    folders = {
        accelerator.parameters["migraphx_model_cache_dir"]
        for digest in (DIGEST, DIGEST[::-1])
        for model in layout.levels
        for accelerator in level_config(
            model, layout, chosen, digest
        ).optimization.execution_accelerators.gpu_execution_accelerator
    }
    assert len(folders) == 2 * len(layout.levels) == 8
    assert f"/programs/{DIGEST[:16]}/level2_16" in folders


@given(options(), st.sampled_from(BATCHINGS))
def test_warm_up_runs_whole_rows_within_the_largest_batch(
    chosen: RepositoryOptions, batching: str
) -> None:
    config = _level1(_of_kind(batching), chosen)
    assert {sample.batch_size for sample in config.model_warmup} == {1, config.max_batch_size}
    for sample in config.model_warmup:
        assert {tuple(i.dims) for i in sample.inputs.values()} == {(MAX_TOKENS,)}
        # All masked would be a row without a token.
        assert not sample.inputs["attention_mask"].zero_data


@pytest.mark.parametrize(("kind", "level"), [("portable", 0), ("authored", -1), ("fused", -1)])
def test_graphs_of_fused_operators_are_run_as_they_are_written(kind: str, level: int) -> None:
    config = _level1(_of_kind("padded", kind), RepositoryOptions(kernels=KERNELS))
    assert config.optimization.graph.level == level
    libraries = list(config.model_operations.op_library_filename)
    assert libraries == ([str(KERNELS)] if kind == "fused" else [])


def test_a_fused_variant_without_its_library_is_refused_with_both_cures() -> None:
    with pytest.raises(BundleError) as caught:
        choose_layout(_of_kind("packed", "fused"), RepositoryOptions())
    assert str(caught.value).count("uses hazgate-kernels' operators") == 2
    assert "--kernels" in str(caught.value)
    assert "another --variant" in str(caught.value)


def test_a_variant_with_early_exits_is_served_in_process_only() -> None:
    manifest = parse_manifest(spell(manifest_with_exits()))
    options = RepositoryOptions(variant="early", engine="backend", kernels=KERNELS)
    with pytest.raises(BundleError, match="'early' of level1 has early exits"):
        choose_layout(manifest, options)
    assert choose_layout(manifest, replace(options, engine="in-process")).variant == "early"


def test_a_variant_for_another_provider_is_refused() -> None:
    manifest = _manifest(lambda v: v.update(execution_providers=["CUDAExecutionProvider"]))
    with pytest.raises(BundleError, match="was made for CUDAExecutionProvider, not CPU"):
        choose_layout(manifest, RepositoryOptions())
    with pytest.raises(BundleError, match="no variant for MIGraphXExecutionProvider"):
        choose_layout(manifest, RepositoryOptions(provider="migraphx"))


@pytest.mark.parametrize("batching", ["equal_length", "alone"])
def test_a_variant_that_takes_no_padding_is_refused_for_fixed_shapes(batching: str) -> None:
    with pytest.raises(BundleError, match="takes no padding"):
        choose_layout(_of_kind(batching), RepositoryOptions(provider="migraphx"))


def test_a_variant_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BundleError, match="level1 has no variant 'int4', only fp32"):
        choose_layout(_manifest(), RepositoryOptions(variant="int4"))


def test_a_bucket_longer_than_what_was_proven_is_refused() -> None:
    with pytest.raises(BundleError, match=f"proven on {MAX_TOKENS} tokens, not \\[65\\]"):
        choose_layout(_manifest(), RepositoryOptions(provider="migraphx", buckets=(8, 65)))


@pytest.mark.parametrize("name", [DECIDES, "level/1", "..", ""])
def test_a_level_that_cannot_be_a_folder_of_its_own_is_refused(name: str) -> None:
    data = manifest_data()
    data["levels"][name] = data["levels"].pop("level2")
    data["cascade"]["hazards"] = name
    with pytest.raises(BundleError, match="cannot be the name of a model"):
        choose_layout(parse_manifest(spell(data)), RepositoryOptions())


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"max_batch_size": 0}, "max_batch_size must be at least 1, got 0"),
    "no instances": ({"instances": 0}, "instances must be at least 1"),
    "no threads": ({"threads": 0}, "threads must be at least 1"),
    "no tokens": ({"provider": "migraphx", "buckets": (0,)}, "a bucket must be at least 1"),
    "too many preferred": ({"preferred_batch_sizes": (33,)}, "from 1 to max_batch_size, 32"),
    "none preferred": ({"preferred_batch_sizes": (0,)}, "from 1 to max_batch_size, 32, got 0"),
    "a delay before": ({"max_queue_delay_us": -1}, "must not be negative, got -1"),
    "buckets of a CPU": ({"buckets": (8,)}, "cpu takes any"),
    "programs of a CPU": ({"programs": PurePosixPath("/p")}, "cpu does not"),
    "relative kernels": ({"kernels": PurePosixPath("k.so")}, "kernels must be an absolute path"),
    "relative programs": (
        {"provider": "migraphx", "programs": PurePosixPath("p")},
        "programs must be an absolute path",
    ),
}


@pytest.mark.parametrize(("given_", "message"), WRONG.values(), ids=list(WRONG))
def test_an_option_that_cannot_be_is_refused_by_name(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        RepositoryOptions(**given_)
    assert message in str(caught.value)


def test_every_problem_of_the_options_is_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        RepositoryOptions(
            max_batch_size=0, instances=0, threads=0, max_queue_delay_us=-1, buckets=(8,)
        )
    assert str(caught.value).count("\n  - ") == 5


def test_without_tritonclient_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_messages, "_PACKAGE", "a_package_that_is_not_here")
    messages.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'hazgate-scale\[triton\]'"):
        messages()


def test_tritons_messages_and_kserves_live_in_one_process() -> None:
    messages()
    import open_inference.grpc.protocol as kserve

    assert kserve.ModelInferRequest.DESCRIPTOR.full_name == "inference.ModelInferRequest"
