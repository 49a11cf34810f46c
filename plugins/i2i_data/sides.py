"""Sides as a data set: which picture of each domain makes a sample. Every data set of this package is one of these."""

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from os.path import realpath
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torchvision.tv_tensors import Image, Mask  # type: ignore[import-untyped]

from i2i.errors import UserError
from i2i.pictures.reading import probe, read
from i2i.pictures.sources import Loaded, content
from i2i.protocols import Domain, Preparation
from i2i_data.fingerprint import fingerprint
from i2i_data.ids import wanted
from i2i_data.sizes import Size, size_of
from i2i_data.sources import Read
from i2i_data.transforms import Transform, transformed

Corrupt = Annotated[
    Literal["refuse", "skip", "keep"],
    Field(description="Files that cannot be read: refuse to train, skip them, or find out later."),
]

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, Name], Field(description="What the two domains are called.")]

log = logging.getLogger("i2i.data")


class Side(Protocol):
    """The pictures of one side, in order."""

    @property
    def domain(self) -> Domain: ...
    def __len__(self) -> int: ...
    def name(self, index: int) -> str: ...
    def identity(self, index: int) -> str: ...  # the same for the same picture only
    def load(self, index: int) -> Loaded: ...
    def size(self, index: int) -> Size: ...
    def probe(self, index: int) -> tuple[str, ...]: ...
    def encoded(self, index: int) -> bytes: ...
    def take(self, indices: Sequence[int]) -> "Side": ...


@dataclass(frozen=True)
class FileSide:
    """One picture in each file."""

    domain: Domain
    files: Sequence[Path]

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return str(self.files[index])

    def identity(self, index: int) -> str:
        return realpath(self.files[index])

    def load(self, index: int) -> Loaded:
        return read(self.files[index], self.domain)

    def size(self, index: int) -> Size:
        return size_of(self.files[index], lambda: self.load(index).pixels)

    def probe(self, index: int) -> tuple[str, ...]:
        return probe(self.files[index])

    def encoded(self, index: int) -> bytes:
        return content(self.files[index])

    def take(self, indices: Sequence[int]) -> "FileSide":
        return replace(self, files=[self.files[i] for i in indices])


@dataclass
class Sides:
    """A data set of two domains or more. Unpaired, all but the first are drawn independently, uniformly among their pictures.

    ``length``, if given, replaces the number of samples in an epoch: the larger side's, as in CycleGAN's program. ``unsplit``
    names the places that are the same in every split.
    """

    sides: Mapping[str, Side]
    paired: bool
    transform: Transform
    train: bool
    length: int | None = None
    notes: list[str] = field(default_factory=list)
    unsplit: tuple[str, ...] = ()

    @property
    def domains(self) -> Mapping[str, Domain]:
        return {key: self.transform.known(side.domain) for key, side in self.sides.items()}

    def __len__(self) -> int:
        return self.length or max(len(side) for side in self.sides.values())

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample ``index``: for each key float32 (C, H, W) in [-1, 1] or int64 ids (1 or 2, H, W)."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen = self.choose(index)
        where = {key: self.sides[key].name(at) for key, at in chosen.items()}
        loaded = {key: self._tensor(key, at) for key, at in chosen.items()}
        if not self.paired:
            return {key: transformed([side], self.transform, self.train, where[key])[0] for key, side in loaded.items()}
        check_sizes(loaded, where)
        first = next(iter(where.values()))
        return dict(zip(loaded, transformed(list(loaded.values()), self.transform, self.train, first), strict=True))

    def choose(self, index: int) -> dict[str, int]:
        """The pictures of sample ``index``."""
        chosen = {key: index % len(side) for key, side in self.sides.items()}
        if self.train and not self.paired:
            _, *others = self.sides
            chosen |= {key: int(torch.randint(len(self.sides[key]), ())) for key in others}
        return chosen

    def sample_name(self, index: int) -> str:
        """The names of the pictures of sample ``index``."""
        return " + ".join(self.sides[key].name(at) for key, at in self.choose(index).items())

    def fingerprint(self) -> str:
        """A hash of what the samples are made of, independent of the files' location."""
        prepared = [side.domain.preparation for side in self.sides.values()]
        return fingerprint(self.sides, prepared, self.paired, self.transform, self.train, self.length)

    def _tensor(self, key: str, index: int) -> Any:
        return tensor_of(self.sides[key].domain, self.sides[key].load(index).pixels)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        """The names of each side's pictures."""
        return {key: [side.name(i) for i in range(len(side))] for key, side in self.sides.items()}

    def identities(self) -> Mapping[str, Sequence[str]]:
        """For each side, identities of its pictures that are the same in every data set."""
        return {key: [side.identity(i) for i in range(len(side))] for key, side in self.sides.items()}

    def raw(self, key: str, index: int) -> tuple[Tensor, tuple[str, ...]]:
        """One picture as it is read, before the transforms, and remarks on its file."""
        side = self.sides[key]
        remarks = side.probe(index)
        loaded = side.load(index)
        return loaded.pixels, (*remarks, *loaded.remarks)

    def encoded(self, key: str, index: int) -> bytes:
        """One picture as the bytes of a picture file or of a .npy file."""
        return self.sides[key].encoded(index)


def tensor_of(domain: Domain, pixels: Tensor) -> Any:
    """Pixels in the type that the transforms expect."""
    return Mask(pixels) if domain.kind == "labels" else Image(pixels)


def joined_sides(
    sides: Mapping[str, Side],
    *,
    paired: bool,
    transform: Transform,
    split: str,
    corrupt: Corrupt,
    notes: Sequence[str] = (),
    length: int | None = None,
    unsplit: tuple[str, ...] = (),
) -> Sides:
    """Check the files as *corrupt* says, print remarks, and make the data set of the sides, by domain key."""
    first = [side.identity(0) for side in sides.values()]
    if paired and len(set(first)) < len(first):
        twice = next(side for side, place in zip(sides.values(), first, strict=True) if first.count(place) > 1)
        raise UserError(f"{twice.name(0)} is on two sides of a pair. Give each side pictures of its own.")
    for side in sides.values():
        if transform.jitter and side.domain.kind == "image" and side.domain.channels not in (1, 3):
            raise UserError(f"transform.jitter needs 1 or 3 channels; '{side.domain.name}' has {side.domain.channels}.")
    train = split.lower().startswith("train")
    kept, found = verified(sides, paired, corrupt)
    told = list(dict.fromkeys([*notes, *found]))
    for note in told:
        log.warning(note)
    return Sides(kept, paired, transform, train, length, told, unsplit)


def check_domains(domains: Mapping[str, Any], read: Mapping[str, Read] | None, others: Mapping[str, Any]) -> None:
    """Refuse fewer than two ``domains``, two identical ones, and options for two sides in addition to ``domains``.

    *read* may have their keys only.

    Raises:
        UserError: naming what does not fit.
    """
    if beside := [name for name, given in others.items() if given]:
        raise UserError(f"give either 'domains' or {' and '.join(repr(name) for name in beside)}, not both.")
    if len(domains) < 2:
        there = f"there is only '{next(iter(domains))}'" if domains else "there is none"
        raise UserError(f"domains: {there}. Give two or more, each with a name and its place.")
    first: dict[Any, str] = {}
    for key, place in domains.items():
        if (twin := first.setdefault(str(place), key)) != key:
            raise UserError(f"domains: '{twin}' and '{key}' have the same pictures. Give each domain its own pictures.")
    for key in read or ():
        wanted(key, list(domains), "domain", "read")


def verified(sides: Mapping[str, Side], paired: bool, corrupt: Corrupt) -> tuple[dict[str, Side], list[str]]:
    """The sides without the files that cannot be read.

    ``refuse`` looks at the files' heads, which takes little time; ``skip`` decodes everything once.

    Raises:
        UserError: with ``refuse``, some cannot be read; with ``skip``, nothing is left.
    """
    if corrupt == "keep":
        return dict(sides), []
    failures = {key: _failures(side, corrupt == "skip") for key, side in sides.items()}
    bad = {key: found for key, (found, _) in failures.items()}
    notes = [note for _, told in failures.values() for note in told]
    if not any(bad.values()):
        return dict(sides), notes
    listed = list(dict.fromkeys(line for found in bad.values() for line in found.values()))
    files = f"{len(listed)} file" + ("s" if len(listed) > 1 else "")
    text = "\n".join([f"  {line}" for line in listed[:20]] + ([f"  … and {len(listed) - 20} more"] if len(listed) > 20 else []))
    if corrupt == "refuse":
        raise UserError(f"{files} cannot be read:\n{text}\nReplace or remove them, or set corrupt: skip to leave them out.")
    if paired:
        every = {index: line for found in bad.values() for index, line in found.items()}
        bad = dict.fromkeys(bad, every)
    kept = {key: [i for i in range(len(side)) if i not in bad[key]] for key, side in sides.items()}
    if not all(kept.values()):
        raise UserError(f"no file is left: {len(listed)} cannot be read:\n{text}")
    left = {key: side.take(kept[key]) for key, side in sides.items()}
    return left, [*notes, f"left out, as {files} cannot be read:\n{text}"]


def _failures(side: Side, decode: bool) -> tuple[dict[int, str], list[str]]:
    """Index -> what is wrong with it, and remarks with their counts."""

    def visit(index: int) -> str | tuple[str, ...]:
        try:
            remarks = side.probe(index)
            if decode:
                side.load(index)
        except UserError as error:
            return str(error)
        return remarks

    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 2)) as pool:
        results = list(pool.map(visit, range(len(side))))
    bad = {index: result for index, result in enumerate(results) if isinstance(result, str)}
    remarks = [remark for result in results if isinstance(result, tuple) for remark in result]
    return bad, [f"{side.domain.name}: {remarks.count(remark)} files: {remark}" for remark in dict.fromkeys(remarks)]


def check_sizes(loaded: Mapping[str, Any], where: Mapping[str, str]) -> None:
    """Refuse a pair of different sizes."""
    sizes = {key: f"{side.shape[-1]} x {side.shape[-2]}" for key, side in loaded.items()}
    first, *others = sizes
    for other in others:
        if sizes[other] != sizes[first]:
            raise UserError(
                f"{where[first]} is {sizes[first]}, but its partner {where[other]} is {sizes[other]} (width x height). "
                "Partners are aligned pixel by pixel: resize them to the same size, or set paired to false."
            )


def image_domain(name: str, read: Read) -> Domain:
    """The domain of images that are read so."""
    return Domain(name, "image", read.channels, preparation=Preparation(read.alpha, read.range))
