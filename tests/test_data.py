"""The order and the randomness of samples: functions of (seed, epoch, index) and nothing else."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toy
from i2i.data import BatchOrder, SeededDataset, batches
from i2i.protocols import Domain
from i2i.randomness import mix

CPU = torch.device("cpu")


@given(length=st.integers(1, 12), batch_size=st.integers(1, 7), start=st.integers(0, 30), seed=st.integers(0, 5))
def test_the_order_goes_on_where_it_was_left(length: int, batch_size: int, start: int, seed: int) -> None:
    whole = list(itertools.islice(BatchOrder(length, batch_size, seed), start + 5))
    rest = list(itertools.islice(BatchOrder(length, batch_size, seed, start), 5))
    assert rest == whole[start:]


@given(length=st.integers(1, 12), batch_size=st.integers(1, 3), processes=st.integers(1, 4), start=st.integers(0, 9))
def test_processes_share_what_one_would_see(length: int, batch_size: int, processes: int, start: int) -> None:
    together = [
        itertools.islice(BatchOrder(length, batch_size, 0, start, process, processes), 5) for process in range(processes)
    ]
    alone = itertools.islice(BatchOrder(length, batch_size * processes, 0, start), 5)
    assert [list(itertools.chain(*parts)) for parts in zip(*together, strict=True)] == list(alone)


@given(length=st.integers(1, 12), batch_size=st.integers(1, 7))
def test_every_epoch_visits_every_sample_once(length: int, batch_size: int) -> None:
    draws = itertools.chain.from_iterable(BatchOrder(length, batch_size, 0))
    for epoch in range(3):
        visits = list(itertools.islice(draws, length))
        assert {e for e, _ in visits} == {epoch}
        assert sorted(i for _, i in visits) == list(range(length))


def test_epochs_come_in_different_orders() -> None:
    draws = itertools.chain.from_iterable(BatchOrder(50, 1, 0))
    first, second = ([i for _, i in itertools.islice(draws, 50)] for _ in range(2))
    assert first != second


def test_a_sample_depends_on_seed_epoch_and_index_alone() -> None:
    data = SeededDataset(toy.Stripes(), seed=3)
    torch.manual_seed(0)
    first = data[0, 4]["a"]
    torch.manual_seed(99)
    assert torch.equal(data[0, 4]["a"], first)
    assert not torch.equal(data[1, 4]["a"], first)
    assert not torch.equal(data[0, 5]["a"], first)
    assert not torch.equal(SeededDataset(toy.Stripes(), seed=4)[0, 4]["a"], first)


def test_drawing_samples_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    stream = batches(toy.Stripes(), BatchOrder(10, 2, 0), device=CPU)
    next(stream)
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_do_not_change_the_batches() -> None:
    def take(workers: int) -> list[torch.Tensor]:
        stream = batches(toy.Stripes(length=5), BatchOrder(5, 2, 7), device=CPU, workers=workers)
        return [batch["a"] for batch in itertools.islice(stream, 4)]

    for alone, shared in zip(take(0), take(2), strict=True):
        assert torch.equal(alone, shared)


def test_labels_outside_the_classes_are_found_on_the_cpu() -> None:
    class Labels(toy.Stripes):
        def __init__(self) -> None:
            super().__init__()
            self.domains = {"a": Domain("labels", "labels", 3, classes=("x", "y", "z"))}

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"a": torch.full((1, 4, 4), 7)}

    with pytest.raises(ValueError, match=r"sample 0.*7.*3"):
        SeededDataset(Labels(), 0)[0, 0]


def test_labels_reach_the_networks_one_hot() -> None:
    class Labels(toy.Stripes):
        def __init__(self) -> None:
            super().__init__()
            self.domains = {"a": Domain("labels", "labels", 3, classes=("x", "y", "z"))}

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"a": torch.full((1, 4, 4), index % 3)}

    batch = next(batches(Labels(), BatchOrder(len(Labels()), 4, 0), device=CPU))["a"]
    assert batch.shape == (4, 3, 4, 4)
    assert batch.dtype == torch.float32
    assert torch.equal(batch.sum(1), torch.ones(4, 4, 4))


def test_near_seeds_are_unrelated() -> None:
    assert len({mix(s, e, i) for s in range(4) for e in range(4) for i in range(4)}) == 64
