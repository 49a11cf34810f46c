"""What every data set must do."""

import pickle
from typing import Any

import torch
from torch import Tensor

from i2i.labels import check_ids
from i2i.protocols import Domain
from i2i.randomness import seeded
from i2i.testing.subject import Subject, ensure


def samples(subject: Subject) -> None:
    """Every sample has an image of each domain, with its channels and range; all can be batched together."""
    dataset = subject.build()
    ensure(len(dataset) > 0, "it holds no sample with these options.")
    ensure(isinstance(dataset.paired, bool), "give it an attribute 'paired', true if the sides are aligned pixel by pixel.")
    for key, domain in dataset.domains.items():
        ensure(isinstance(domain, Domain), f"domains['{key}'] must be an i2i.protocols.Domain.")
    shapes = set()
    for index in {0, len(dataset) // 2, len(dataset) - 1}:
        sample = dataset[index]
        ensure(
            set(sample) == set(dataset.domains), f"a sample has the keys {sorted(sample)}; expected {sorted(dataset.domains)}."
        )
        for key, domain in dataset.domains.items():
            _check(sample[key], domain, key)
            shapes.add((key, tuple(sample[key].shape)))
    ensure(len(shapes) == len(dataset.domains), "samples differ in size and cannot be batched: crop or resize them.")


def _check(image: Any, domain: Domain, key: str) -> None:
    ensure(isinstance(image, Tensor) and image.ndim == 3, f"'{key}': a sample must be a tensor (C, H, W).")
    if domain.kind == "labels":
        check_ids(image, domain, f"'{key}'")
        return
    expected = f"'{key}': a sample must be float32 ({domain.channels}, H, W) in [-1, 1]"
    ensure(
        image.dtype == torch.float32 and len(image) == domain.channels, f"{expected}, not {image.dtype} {tuple(image.shape)}."
    )
    ensure(-1.001 <= float(image.min()) <= float(image.max()) <= 1.001, f"{expected}; its values lie outside.")


def determinism(subject: Subject) -> None:
    """A sample depends on its index and on torch's default generator, and on nothing else."""
    one, two = subject.build(), subject.build()
    for index in (len(one) - 1, 0):
        drawn = []
        for dataset in (one, two):
            with seeded(5):
                drawn.append(dataset[index])
        same = all(torch.equal(drawn[0][key], drawn[1][key]) for key in one.domains)
        ensure(same, f"sample {index} differs under one seed: draw from torch's default generator, not numpy's or Python's.")


def workers(subject: Subject) -> None:
    """It can be sent to the processes that load it."""
    try:
        pickle.loads(pickle.dumps(subject.build()))
    except Exception as error:
        raise AssertionError(f"it cannot be pickled, so 'train.workers' would fail ({error}).") from error


CHECKS = (samples, determinism, workers)
SLOW = ()
