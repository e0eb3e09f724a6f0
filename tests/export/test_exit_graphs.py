"""Graphs that texts may leave early: who stays is computed as in the plain graph, to the bit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hazgate.engine.session import session_options
from hazgate.text.batching import pad
from hazgate_export.author.exits import ExitLayers
from hazgate_export.author.families import write_fused
from tests.support.balanced import OPSET, balanced_family
from tests.support.families import AUTHORED

pytest.importorskip("hazgate_kernels", reason="built only where there is a C++ compiler")

Floats = NDArray[np.float32]
# Around a window of 8 to each side.
LENGTHS = (1, 2, 7, 9, 17, 33, 64, 129)
EXITS = ExitLayers(after_layers=(1, 3), positive=2)
NEVER = np.full(2, -np.inf, dtype=np.float32)
ALWAYS = np.full(2, np.inf, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """One model's plain graph and its graph with exits, and texts to run."""

    plain: onnxruntime.InferenceSession
    exits: onnxruntime.InferenceSession
    texts: Sequence[Sequence[int]]
    probes: Floats

    def run_plain(self, texts: Sequence[Sequence[int]]) -> Floats:
        ids, mask = pad(texts, 0)
        (logits,) = self.plain.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(logits)

    def run(
        self,
        texts: Sequence[Sequence[int]],
        may_leave: Sequence[bool],
        limits: Floats,
        *,
        stretch: int = 0,
    ) -> tuple[Floats, Floats]:
        """Return `logits` and `pooled`, of a batch with `stretch` columns of padding too many."""
        ids, mask = (np.pad(each, ((0, 0), (0, stretch))) for each in pad(texts, 0))
        given_inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "may_leave": np.array(may_leave, dtype=np.bool_),
            "probes": self.probes,
            "limits": limits,
        }
        logits, pooled = self.exits.run(["logits", "pooled"], given_inputs)
        return np.asarray(logits), np.asarray(pooled)

    def log_odds(self) -> Floats:
        """Return what each probe says of each text, [texts, exits], each text run alone."""
        rows = [self.run([text], [False], NEVER)[1][0] for text in self.texts]
        pooled = np.stack(rows).astype(np.float64)
        return np.asarray(
            np.einsum("teh,eh->te", pooled, self.probes[:, :-1]) + self.probes[:, -1]
        ).astype(np.float32)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Graphs]:
    made: dict[str, Graphs] = {}

    def open_graph(file: Path) -> onnxruntime.InferenceSession:
        options = session_options(onnxruntime, "fused", 2)
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def get(name: str) -> Graphs:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            one = balanced_family(folder, name, LENGTHS)
            write_fused(one.weights, folder / "plain.onnx", OPSET, error=0.05)
            write_fused(one.weights, folder / "exits.onnx", OPSET, error=0.05, exits=EXITS)
            made[name] = Graphs(
                plain=open_graph(folder / "plain.onnx"),
                exits=open_graph(folder / "exits.onnx"),
                texts=[case.input_ids for case in one.subject.cases],
                probes=np.random.default_rng(5).normal(size=(2, 33)).astype(np.float32),
            )
        return made[name]

    return get


@pytest.mark.parametrize("family", AUTHORED)
@pytest.mark.parametrize("limits", [NEVER, ALWAYS], ids=["never", "always"])
def test_rows_that_may_not_leave_are_those_of_the_plain_graph_to_the_bit(
    graphs: Callable[[str], Graphs], family: str, limits: Floats
) -> None:
    one = graphs(family)
    logits, _ = one.run(one.texts, [False] * len(one.texts), limits)
    np.testing.assert_array_equal(logits[:, :-1], one.run_plain(one.texts))
    # With every probe content, each would have left at the first exit.
    assert set(logits[:, -1]) == ({0.0} if limits is NEVER else {-1.0})


@pytest.mark.parametrize("family", AUTHORED)
def test_no_row_leaves_if_no_probe_lets_it_go(graphs: Callable[[str], Graphs], family: str) -> None:
    one = graphs(family)
    logits, _ = one.run(one.texts, [True] * len(one.texts), NEVER)
    np.testing.assert_array_equal(logits[:, :-1], one.run_plain(one.texts))
    assert not logits[:, -1].any()


@pytest.mark.parametrize("family", AUTHORED)
def test_a_batch_that_leaves_as_a_whole_answers_the_first_probes_log_odds(
    graphs: Callable[[str], Graphs], family: str
) -> None:
    one = graphs(family)
    logits, pooled = one.run(one.texts, [True] * len(one.texts), ALWAYS)
    assert (logits[:, -1] == 1).all()
    np.testing.assert_allclose(logits[:, 2], one.log_odds()[:, 0], rtol=1e-4, atol=1e-4)
    others = np.delete(logits[:, :-1], 2, axis=1)
    assert not others.any()
    assert pooled[:, 0].any()
    assert not pooled[:, 1].any()


@pytest.mark.parametrize("family", AUTHORED)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_in_any_company_who_stays_is_whole_and_who_leaves_answers_its_probe(
    graphs: Callable[[str], Graphs], family: str, data: st.DataObject
) -> None:
    one = graphs(family)
    alone = one.log_odds()
    # A limit between two texts, never at one: rounding must not decide.
    limits = np.array(
        [
            np.mean(np.sort(alone[:, k])[[i, i + 1]])
            for k in range(2)
            for i in [data.draw(st.integers(0, len(LENGTHS) - 2))]
        ],
        dtype=np.float32,
    )
    chosen = data.draw(st.lists(st.integers(0, len(LENGTHS) - 1), min_size=1, max_size=7))
    may = data.draw(st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    texts = [one.texts[i] for i in chosen]
    logits, pooled = one.run(texts, may, limits, stretch=data.draw(st.integers(0, 9)))
    for i, may_leave, row, states in zip(chosen, may, logits, pooled, strict=True):
        exits = [k for k in range(2) if alone[i, k] < limits[k]]
        layer = EXITS.after_layers[exits[0]] if exits else 0
        if may_leave and exits:
            assert row[-1] == layer
            np.testing.assert_allclose(row[2], alone[i, exits[0]], rtol=1e-4, atol=1e-4)
        else:
            assert row[-1] == -layer
            np.testing.assert_array_equal(row[:-1], one.run_plain([one.texts[i]])[0])
        # The same bits alone, whoever left beside it.
        by_itself, own = one.run([one.texts[i]], [may_leave], limits)
        np.testing.assert_array_equal(row, by_itself[0])
        np.testing.assert_array_equal(states, own[0])
