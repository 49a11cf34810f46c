"""Translation with a trained model: ``i2i.load("runs/night").translate("town.jpg", to="night")``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from i2i.errors import UserError, nearest
from i2i.labels import check_ids, to_network
from i2i.model_folder import has_model, load_model
from i2i.pictures import read_picture, to_picture, to_tensor, upright
from i2i.protocols import Direction, Domain
from i2i.randomness import seeded
from i2i.registry import Registry, default_registry

Array = NDArray[np.integer[Any]]
Translated = Image.Image | Array | Tensor
"""A picture for a picture or a path, an array for an array, a tensor for a tensor."""

_Array = TypeVar("_Array", bound=Array)


def load(path: str | Path, device: str | torch.device | None = None, *, registry: Registry | None = None) -> "Translator":
    """The translator of a run folder or a model folder, on *device* (default: an accelerator where there is one).

    Raises:
        UserError: there is no model at *path*, it cannot be rebuilt, or there is no such device.
    """
    path = Path(path)
    registry = default_registry() if registry is None else registry
    module, domains, directions, config = load_model(_model_folder(path), registry=registry)
    place = _device(device)
    return Translator(module.to(place), domains, directions, config, place, registry)


def _model_folder(path: Path) -> Path:
    for folder in (path / "model", path):
        if has_model(folder):
            return folder
    if not path.exists():
        raise UserError(f"{path}: there is no such run folder. Check the path.")
    if not path.is_dir():
        raise UserError(f"{path}: this is a file. Give the run folder, or the model folder in it.")
    raise UserError(
        f"{path}: there is no model here (neither model/config.json nor config.json). "
        "Give the folder of a run that has saved its model at least once."
    )


def _device(wanted: str | torch.device | None) -> torch.device:
    try:
        if wanted is None:
            found = torch.accelerator.current_accelerator(check_available=True)
            return torch.device("cpu") if found is None else found
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"the device '{wanted}' cannot be used ({error}). Leave it out, or say 'cpu'.") from error
    return device


@dataclass(frozen=True)
class Translator:
    """A trained generator, ready to translate images of any size."""

    module: nn.Module
    domains: Mapping[str, Domain]
    directions: tuple[Direction, ...]
    config: Mapping[str, Any]
    device: torch.device
    registry: Registry = field(repr=False)

    @property
    def targets(self) -> list[str]:
        """The names of the domains that it translates into; keys where two domains share a name."""
        return list(dict.fromkeys(self.label(target) for _, target in self._ways()))

    def label(self, key: str) -> str:
        """What a domain is called: its name, or its key where another domain has the same name."""
        name = self.domains[key].name
        return name if sum(domain.name == name for domain in self.domains.values()) == 1 else key

    def direction(self, to: str | None = None, source: str | None = None) -> Direction:
        """(source key, target key) from domains' names or keys; what is left out is inferred where it is unique.

        Raises:
            UserError: there is no such domain or way, or more than one way.
        """
        target_key = None if to is None else self._key(to, [t for _, t in self.directions], "to")
        source_key = None if source is None else self._key(source, [s for s, _ in self.directions], "source")
        ways = self._ways() if target_key is None or target_key != source_key else list(self.directions)
        found = [w for w in ways if target_key in (None, w[1]) and source_key in (None, w[0])]
        if not found:
            raise UserError(f"the model does not translate so. It translates {self._arrows(ways)}.")
        if len(found) > 1:
            missing = "to" if to is None and len({target for _, target in found}) > 1 else "source"
            place = 0 if missing == "source" else 1
            names = ", ".join(dict.fromkeys(f"'{self.label(way[place])}'" for way in found))
            raise UserError(f"the model translates {self._arrows(found)}: choose with {missing}, one of {names}.")
        return found[0]

    @overload
    def translate(
        self, image: str | Path | Image.Image, to: str | None = ..., source: str | None = ..., *,
        style: str | Path | Image.Image | Array | Tensor | None = ..., style_seed: int = ...,
    ) -> Image.Image: ...  # fmt: skip
    @overload
    def translate(
        self, image: Tensor, to: str | None = ..., source: str | None = ..., *,
        style: str | Path | Image.Image | Array | Tensor | None = ..., style_seed: int = ...,
    ) -> Tensor: ...  # fmt: skip
    @overload
    def translate(
        self, image: _Array, to: str | None = ..., source: str | None = ..., *,
        style: str | Path | Image.Image | Array | Tensor | None = ..., style_seed: int = ...,
    ) -> Array: ...  # fmt: skip

    def translate(
        self,
        image: str | Path | Image.Image | Array | Tensor,
        to: str | None = None,
        source: str | None = None,
        *,
        style: str | Path | Image.Image | Array | Tensor | None = None,
        style_seed: int = 0,
    ) -> Translated:
        """Translate one image of any size; the result has its height and width, and the kind of what was given.

        ``image``: a path or a picture (its EXIF orientation is applied); an array uint8 (H, W) or (H, W, C); a tensor
        in [-1, 1], (C, H, W) or (B, C, H, W). Labels are ids, or one-hot as a tensor. Label results are ids in pictures
        and arrays (H, W), and the network's own (classes, H, W) as a tensor, on the device of the tensor given.

        ``style`` is an image of the target domain, for a generator that takes one. Whatever the generator draws at random
        (a style where none is given, dropout) is drawn from ``style_seed``.
        """
        here, there = self.direction(to, source)
        given = {} if style is None else {"style": self._style(style, there)}
        with seeded(style_seed):
            made = self._run(self._batch(image, self.domains[here]), here, there, given)
        if isinstance(image, Tensor):
            made = made.to(image.device)
            return made if image.ndim == 4 else made[0]
        result = to_picture(made[0], self.domains[there])
        return _to_array(result, image, self.domains[there]) if isinstance(image, np.ndarray) else result

    def _batch(self, image: str | Path | Image.Image | Array | Tensor, domain: Domain) -> Tensor:
        """Whatever was given as a checked batch of samples, (B, C or 1, H, W)."""
        if isinstance(image, Tensor):
            return self._checked(image if image.ndim == 4 else image[None], domain)
        where = f"{image}" if isinstance(image, str | Path) else "the picture"
        if isinstance(image, np.ndarray):
            picture = _from_array(image, domain)
        else:
            picture = upright(image) if isinstance(image, Image.Image) else read_picture(image)
        return to_tensor(picture, domain, where)[None]

    def _style(self, style: str | Path | Image.Image | Array | Tensor, target: str) -> Tensor:
        """A style image as the network sees it, (1, C_target, H, W)."""
        exposes: Any = self.module.exposes
        if "style" not in exposes:
            raise UserError("style: this model takes no style image. Leave it out.")
        batch = self._batch(style, self.domains[target]).to(self.device)
        return batch if batch.is_floating_point() else to_network(batch, self.domains[target])

    def _ways(self) -> list[Direction]:
        """The directions between two domains, without reconstructions."""
        return [(source, target) for source, target in self.directions if source != target]

    def _arrows(self, ways: Sequence[Direction]) -> str:
        return ", ".join(f"{self.label(source)} → {self.label(target)}" for source, target in ways) or "nothing"

    def _key(self, word: str, keys: Sequence[str], role: str) -> str:
        """The key of the domain with that name or key, among *keys*."""
        named = [key for key in dict.fromkeys(keys) if self.label(key) == word]
        if named or word in keys:
            return named[0] if named else word
        names = list(dict.fromkeys(self.label(key) for key in keys))
        hint, listed = nearest(word, names), ", ".join(f"'{name}'" for name in names)
        raise UserError(f"{role}: the model has no domain '{word}'.{hint} Choose one of {listed}.")

    def _checked(self, batch: Tensor, domain: Domain) -> Tensor:
        """A caller's tensor (B, C, H, W), if it is an image of the domain, one-hot labels, or ids."""
        shape = tuple(batch.shape)
        if batch.ndim != 4 or batch.numel() == 0:
            raise UserError(f"the tensor has the shape {shape}; expected (C, H, W) or (B, C, H, W), not empty.")
        if domain.kind == "labels" and not batch.is_floating_point():
            check_ids(batch.cpu(), domain, "the tensor")
            return batch
        if not batch.is_floating_point() or batch.shape[1] != domain.channels:
            raise UserError(
                f"the tensor is {batch.dtype} with {batch.shape[1]} channels; '{domain.name}' needs floats "
                f"in [-1, 1] with {domain.channels}."
            )
        low, high = (float(value) for value in batch.aminmax())
        if not -1.001 <= low <= high <= 1.001:
            raise UserError(f"the tensor's values lie in [{low:.3g}, {high:.3g}]; expected [-1, 1]. Scale them.")
        return batch.float()

    def _run(self, batch: Tensor, source: str, target: str, given: Mapping[str, Tensor]) -> Tensor:
        """Samples (B, C or 1, H, W) to (B, C_target, H, W), float32 on the model's device: pad, translate, crop."""
        h, w = batch.shape[-2:]
        divisor = int(getattr(self.module, "divisor", 1))
        (top, rows), (left, columns) = (_reflected(size, divisor) for size in (h, w))
        try:
            with torch.inference_mode():
                batch = batch.to(self.device)
                x = batch if batch.is_floating_point() else to_network(batch, self.domains[source])
                x = x.index_select(2, rows.to(x.device)).index_select(3, columns.to(x.device))
                made: Tensor = self.module.eval()(x, source, target, **given).images[target]
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise UserError(f"an image of {w} x {h} needs more memory than there is. Scale it down.") from error
        return made[:, :, top : top + h, left : left + w].float().clone()


def _reflected(size: int, divisor: int) -> tuple[int, Tensor]:
    """How many places come before the image along one side, and the index of the pixel that each padded place shows.

    The padded side is a multiple of the divisor, large enough that a network's deepest layer has a few pixels: four,
    unless that would take more than 64 pixels, and never less than 16. Pixels are mirrored at the edges,
    again and again where the image is smaller than its padding.
    """
    smallest = max(size, 16, min(4 * divisor, 64))
    padded = -(-smallest // divisor) * divisor
    before = (padded - size) // 2
    period = max(2 * (size - 1), 1)
    place = (torch.arange(padded) - before) % period
    return before, torch.minimum(place, period - place) if size > 1 else torch.zeros_like(place)


def _from_array(image: Array, domain: Domain) -> Image.Image:
    """An array (H, W) or (H, W, C) as a picture: uint8, or for labels any integers."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.size == 0 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise UserError(f"the array has the shape {image.shape}; expected (H, W) or (H, W, 1, 3 or 4), not empty.")
    if domain.kind == "labels" and np.issubdtype(image.dtype, np.integer):
        check_ids(torch.from_numpy(image.astype(np.int64))[None, ...], domain, "the array")
        return Image.fromarray(image.astype(np.uint16 if domain.channels > 256 else np.uint8))
    if image.dtype != np.uint8:
        raise UserError(f"the array is {image.dtype}; expected uint8 (0 to 255). Pass floats as a tensor.")
    return Image.fromarray(np.ascontiguousarray(image))


def _to_array(picture: Image.Image, given: Array, domain: Domain) -> Array:
    """The picture as an array: ids (H, W) for labels, else uint8 (H, W, C), or (H, W) for grey where such was given."""
    made: Array = np.array(picture)
    return made[:, :, None] if domain.kind == "image" and made.ndim == 2 and given.ndim == 3 else made
