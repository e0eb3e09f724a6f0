from benchmarks.speed.workloads import make_workloads

TEXTS = ["one", "two", "three"]


def test_lengths_over_the_limit_are_left_out() -> None:
    made = make_workloads(TEXTS, vocab_size=9, max_tokens=16, calls=2, lengths=(8, 16, 32))
    assert [workload.tokens for workload in made] == [8, 16, None, None]


def test_rows_have_the_stated_length_and_ids_of_the_vocabulary() -> None:
    (workload, *_) = make_workloads(TEXTS, vocab_size=5, max_tokens=8, calls=4, lengths=(8,))
    assert workload.n_texts == 4
    assert {len(row) for row in workload.rows} == {8}
    assert {token for row in workload.rows for token in row} <= set(range(5))


def test_both_text_workloads_hold_each_text_once() -> None:
    made = make_workloads(TEXTS, vocab_size=9, max_tokens=8, calls=1)
    for workload in made[-2:]:
        assert sorted(workload.texts) == sorted(TEXTS)


def test_workloads_are_the_same_each_time() -> None:
    assert make_workloads(TEXTS, vocab_size=9, max_tokens=64) == make_workloads(
        TEXTS, vocab_size=9, max_tokens=64
    )
