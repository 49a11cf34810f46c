"""Data loading: the order of samples, their random state, and how a batch reaches the device.

The order of the samples and everything random in them depend only on (seed, epoch, index). So a run can be resumed at any
batch, with any number of workers, and sees exactly the same images.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, default_collate

from i2i.errors import UserError
from i2i.labels import check_ids, to_network
from i2i.protocols import Batch, Dataset, Domain, Stream
from i2i.randomness import mix
from i2i.stopping import loader_started

Draw = tuple[int, int]
"""(epoch, index): one visit of a sample."""

_MOST_WORKERS = 8


class SeededDataset(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Wraps a data set so that torch's default generator is seeded from (seed, epoch, index) for each sample.

    Besides its domains, a sample keeps only the entries in *wants*. ``stream`` is the data set, if it is a ``Stream``.
    """

    def __init__(self, dataset: Dataset, seed: int, wants: frozenset[str] = frozenset()) -> None:
        self.dataset, self.seed, self.wants = dataset, seed, wants
        self.stream = dataset if isinstance(dataset, Stream) else None

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        with self._seeded(draw) as index:
            sample = self.stream.at(self.seed, *draw) if self.stream is not None else self.dataset[index]
        for key, domain in self.dataset.domains.items():
            if domain.kind == "labels":
                check_ids(sample[key], domain, f"sample {index}")
        return {key: value for key, value in sample.items() if key in self.dataset.domains or key in self.wants}

    def name(self, draw: Draw) -> str:
        """The name of a sample: the data set's own ``sample_name(index)`` if it has one, else its index."""
        named: Any = getattr(self.dataset, "sample_name", None)
        with self._seeded(draw) as index:
            return str(named(index)) if named else str(index)

    @contextmanager
    def _seeded(self, draw: Draw) -> Iterator[int]:
        epoch, index = draw
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(mix(self.seed, epoch, index))
        try:
            yield index
        finally:
            torch.set_rng_state(before)


def fingerprint_of(dataset: Dataset) -> str | None:
    """The identity of the data, wherever they are: the data set's own ``fingerprint()``, if it has one."""
    made: Any = getattr(dataset, "fingerprint", None)
    return str(made()) if made else None


@dataclass(eq=False)
class BatchOrder(Sampler[list[Draw]]):
    """Endless batches: every epoch is a new permutation, and a batch may span two epochs.

    ``length`` is the number of samples; ``start`` is the number of batches already used, from which the order continues. Each
    ``process`` of the ``processes`` that share the data takes its own part of every ``processes`` * ``batch_size`` samples:
    together they see the same as one process with that batch size. The permutations are drawn from ``seed``; if not
    ``shuffled``, the order is 0, 1, 2, … in every epoch.
    """

    length: int
    batch_size: int
    seed: int
    start: int = 0
    process: int = 0
    processes: int = 1
    shuffled: bool = True

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = self._draws(self.start * self.batch_size * self.processes)
        while True:
            together = [next(draws) for _ in range(self.batch_size * self.processes)]
            yield together[self.process * self.batch_size : (self.process + 1) * self.batch_size]

    def _draws(self, position: int) -> Iterator[Draw]:
        epoch, skip = divmod(position, self.length)
        while True:
            yield from ((epoch, index) for index in self._epoch(epoch)[skip:])
            epoch, skip = epoch + 1, 0

    def _epoch(self, epoch: int) -> Sequence[int]:
        if not self.shuffled:
            return range(self.length)
        order = torch.randperm(self.length, generator=torch.Generator().manual_seed(mix(self.seed, epoch)))
        return list(map(int, order.tolist()))


def loader_processes(dataset: Dataset, device: torch.device, processes: int = 1) -> int:
    """The number of loader processes if the recipe does not say; *processes* train on this machine.

    Training on a CPU has none, since they would share its cores. With a GPU, there is one for each free core, at least one and
    at most eight. A stream has one, since each would read all of it.
    """
    if device.type == "cpu":
        return 0
    if isinstance(dataset, Stream):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores // processes - 1))


def first_batch(dataset: Dataset, batch_size: int, seed: int, wants: frozenset[str] = frozenset()) -> dict[str, Tensor]:
    """The first batch of a run's first process; for a stream, which is slow to start, copies of one sample."""
    if isinstance(dataset, Stream):
        return collate([read_sample(dataset, seed, (0, 0), wants)] * batch_size)
    draws = next(iter(BatchOrder(len(dataset), batch_size, seed)))
    return collate([read_sample(dataset, seed, draw, wants) for draw in draws])


def read_sample(dataset: Dataset, seed: int, draw: Draw, wants: frozenset[str] = frozenset()) -> dict[str, Tensor]:
    """A sample as a run with that seed sees it, for the checks before step 0.

    Raises:
        UserError: the sample cannot be read, whatever exception the data set raises.
    """
    samples = SeededDataset(dataset, seed, wants)
    try:
        return samples[draw]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"sample {samples.name(draw)} cannot be read ({type(error).__name__}: {error}).") from error


def spread(length: int, count: int) -> list[int]:
    """At most *count* of the numbers below *length*, evenly spread."""
    count = min(count, length)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def collate(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Samples (C, H, W) of the same size as a batch (B, C, H, W), by domain key.

    Raises:
        UserError: their sizes differ.
    """
    for key in samples[0]:
        sizes = {" x ".join(map(str, reversed(sample[key].shape[-2:]))) for sample in samples}
        if len(sizes) > 1:
            raise UserError(
                f"all pictures of a batch must have the same size, but those of '{key}' are {' and '.join(sorted(sizes)[:3])}. "
                "Let the data set crop or resize them, or set train.batch_size: 1."
            )
    batch: dict[str, Tensor] = default_collate(list(samples))
    return batch


def batches(
    dataset: Dataset, order: BatchOrder, *, device: torch.device, workers: int = 0, wants: frozenset[str] = frozenset()
) -> Iterator[Batch]:
    """Endless batches on *device*, as networks see them: images in [-1, 1], labels one-hot (B, classes, H, W)."""
    loader = DataLoader(
        SeededDataset(dataset, order.seed, wants),
        batch_sampler=order,
        num_workers=workers,
        worker_init_fn=loader_started,
        collate_fn=collate,
        # Libraries that read streams have threads and open files, which a forked process cannot use.
        multiprocessing_context="spawn" if workers and isinstance(dataset, Stream) else None,
        pin_memory=device.type == "cuda",
        generator=torch.Generator().manual_seed(order.seed),  # else the loader draws from that of the training noise
    )
    loaded = iter(loader)
    copying = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    try:
        while True:
            try:
                batch = next(loaded)
            except UserError as error:
                raise _of_a_worker(error) from error
            yield _copied_beside(batch, dataset.domains, copying) if copying else to_device(batch, dataset.domains, device)
    finally:
        del loaded  # ends its processes, also where the traceback of an error keeps this frame


def _copied_beside(batch: Mapping[str, Tensor], domains: Mapping[str, Domain], copying: torch.cuda.Stream) -> Batch:
    """``to_device`` on a separate CUDA stream, so a GPU receives a batch while it still computes the previous step."""
    computing = torch.cuda.current_stream(copying.device)
    with torch.cuda.stream(copying):
        copied = to_device(batch, domains, copying.device)
    computing.wait_stream(copying)
    for tensor in copied.values():
        tensor.record_stream(computing)  # else its memory may be used again before the step is done with it
    return copied


def _of_a_worker(error: UserError) -> UserError:
    """The message alone, if the loader has wrapped it in a worker's traceback."""
    text = str(error)
    mark = f"{UserError.__module__}.{UserError.__name__}: "
    return UserError(text.rpartition(mark)[2].strip()) if text.startswith("Caught ") and mark in text else error


def to_device(batch: Mapping[str, Tensor], domains: Mapping[str, Domain], device: torch.device) -> Batch:
    """Move a collated batch to the device; label ids (B, 1, H, W) become one-hot there."""
    moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
    return {key: to_network(value, domains[key]) if key in domains else value for key, value in moved.items()}
