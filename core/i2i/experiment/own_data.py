"""A user's own data set of the contract (``i2i.protocols.Dataset``), with every sample compared with what it said."""

import multiprocessing
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from i2i.errors import UserError, one_line
from i2i.experiment.items import described, seeded_libraries
from i2i.protocols import Domain

OPTIONAL = ("at", "fingerprint", "identities", "sample_name", "unsplit")
"""What a data set may have besides."""


class OwnDataset:
    """Passes on the samples of a data set, whose Python and NumPy draw random numbers that belong to the sample."""

    def __init__(self, data: Any) -> None:
        if not isinstance(data.domains, Mapping) or not all(isinstance(one, Domain) for one in data.domains.values()):
            raise UserError("'domains' must map keys to i2i.protocols.Domain: {'a': Domain('horse', 'image', 3), …}.")
        self.data, self.domains, self.paired = data, data.domains, bool(data.paired)
        for name in OPTIONAL:
            if hasattr(data, name):
                setattr(self, name, self._at if name == "at" else getattr(data, name))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        with seeded_libraries():
            return self._checked(self.data[index], index)

    def _at(self, seed: int, epoch: int, index: int) -> dict[str, Tensor]:
        with seeded_libraries():
            return self._checked(self.data.at(seed, epoch, index), index)

    def _checked(self, sample: Any, index: int) -> dict[str, Tensor]:
        """The sample, if it is what the domains say.

        Raises:
            UserError: naming the sample, what it is, and what was expected.
        """
        if not isinstance(sample, Mapping):
            raise UserError(
                f"sample {index} is {described(sample)}; expected a dict of tensors by domain: {_keys(self.domains)}."
            )
        for key, domain in self.domains.items():
            if key not in sample:
                raise UserError(f"sample {index} has no '{key}', one of its domains ({_keys(self.domains)}).")
            if wrong := _wrong(sample[key], domain):
                raise UserError(f"sample {index}: '{key}' is {described(sample[key])}; expected {wrong}.")
        sizes = {key: f"{sample[key].shape[-1]} x {sample[key].shape[-2]}" for key in self.domains}
        if self.paired and len(set(sizes.values())) > 1:
            told = " and ".join(f"'{key}' is {size}" for key, size in sizes.items())
            raise UserError(f"sample {index}: {told} (width x height). Pairs are aligned pixel by pixel: they need one size.")
        return dict(sample)


def check_workers(data: Any, what: str) -> None:
    """A data set can reach loader processes that are not forked.

    Raises:
        UserError: it cannot be pickled.
    """
    if multiprocessing.get_start_method() == "fork" and not hasattr(data, "at"):
        return
    try:
        pickle.dumps(data)
    except Exception as error:
        raise UserError(
            f"{what} cannot be sent to the loader processes of train.workers ({type(error).__name__}: {one_line(error)}). Set "
            "workers=0, or define its classes and functions in a module, without lambdas."
        ) from error


def _wrong(value: Any, domain: Domain) -> str:
    """What was expected where a value is not of the domain; empty where it is."""
    labels = domain.kind == "labels"
    channels = 1 + domain.instances if labels else domain.channels
    if isinstance(value, Tensor) and value.ndim == 3 and value.shape[0] == channels:
        if labels and not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool):
            return ""
        if not labels and value.dtype == torch.float32 and bool(((value >= -1.001) & (value <= 1.001)).all()):
            return ""
        if not labels and value.dtype == torch.float32:
            return f"values in [-1, 1], and they lie in [{value.min():.3g}, {value.max():.3g}]"
    return f"{'whole numbers' if labels else 'float32'} ({channels}, height, width){'' if labels else ' in [-1, 1]'}"


def _keys(domains: Mapping[str, Domain]) -> str:
    return ", ".join(domains)
