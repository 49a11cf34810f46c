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
    """Every sample has an image of each domain, with the right channels and range, and all samples fit in a batch."""
    dataset = subject.build()
    ensure(len(dataset) > 0, "it has no samples with these options.")
    ensure(isinstance(dataset.paired, bool), "give it an attribute 'paired': True if its domains are aligned pixel by pixel.")
    for key, domain in dataset.domains.items():
        ensure(isinstance(domain, Domain), f"domains['{key}'] must be an i2i.protocols.Domain.")
    shapes = set()
    for index in {0, len(dataset) // 2, len(dataset) - 1}:
        sample = dataset[index]
        lacking = sorted(set(dataset.domains) - set(sample))
        ensure(not lacking, f"a sample lacks the domain '{lacking and lacking[0]}'. It has: {', '.join(sample)}.")
        for key, value in sample.items():
            if key in dataset.domains:
                _check(value, dataset.domains[key], key)
            ensure(isinstance(value, Tensor), f"'{key}': every entry of a sample must be a tensor.")
            shapes.add((key, tuple(value.shape)))
    ensure(len(shapes) == len(dict(shapes)), "samples differ in size, so they do not fit in a batch: crop or resize them.")


def _check(image: Any, domain: Domain, key: str) -> None:
    ensure(isinstance(image, Tensor) and image.ndim == 3, f"'{key}': a sample must be a tensor (C, H, W).")
    if domain.kind == "labels":
        check_ids(image, domain, f"'{key}'")
        return
    expected = f"'{key}': a sample must be float32 ({domain.channels}, H, W) in [-1, 1]"
    ensure(
        image.dtype == torch.float32 and len(image) == domain.channels, f"{expected}, not {image.dtype} {tuple(image.shape)}."
    )
    ensure(-1.001 <= float(image.min()) <= float(image.max()) <= 1.001, f"{expected}, but has values outside that range.")


def determinism(subject: Subject) -> None:
    """A sample depends only on its index and on torch's default generator."""
    one, two = subject.build(), subject.build()
    for index in (len(one) - 1, 0):
        drawn = []
        for dataset in (one, two):
            with seeded(5):
                drawn.append(dataset[index])
        same = all(torch.equal(drawn[0][key], drawn[1][key]) for key in drawn[0])
        ensure(same, f"sample {index} changes under one seed: draw from torch's default generator, not numpy's or Python's.")


def workers(subject: Subject) -> None:
    """It can be sent to loader processes."""
    dataset = subject.build()
    try:
        pickle.loads(pickle.dumps(dataset))
    except Exception as error:
        raise AssertionError(f"it cannot be pickled, so loader processes ('train.workers') would fail ({error}).") from error


CHECKS = (samples, determinism, workers)
SLOW = ()
