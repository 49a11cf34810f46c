"""Translation with a trained model: ``i2i.load("runs/night").translate("town.jpg", to="night")``; see ``loading``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from i2i.building.naming import between, chosen, label, takes_any_source
from i2i.building.needs import accepted
from i2i.errors import UserError
from i2i.labels import to_network
from i2i.pictures.pixels import check_channels, prepared, shown, to_pixels
from i2i.pictures.preparation import Resize, finished, to_size
from i2i.pictures.sources import File, Readable, source_of
from i2i.protocols import Direction, Domain, Translation
from i2i.randomness import seeded
from i2i.registry import Registry
from i2i.translation.conversion import Array, check_tensor, reflected, to_array
from i2i.translation.engines import Engine, engine_called
from i2i.translation.together import Dependence, dependence

Translated = Image.Image | Array | Tensor
"""A picture for a picture or a file, an array for an array, a tensor for a tensor."""

_Array = TypeVar("_Array", bound=Array)

Precision = Literal["fp32", "bf16", "fp16"]

NOTHING: Mapping[str, Tensor] = MappingProxyType({})
"""No inputs of the network other than the image."""

LARGE = 2**22
"""Images of more pixels go through one by one, and by the hook ``translate_large`` unless the caller says otherwise."""

Style = File | Image.Image | Array | Tensor
"""A picture whose style is taken."""


@dataclass(frozen=True)
class Translator:
    """A trained generator, ready to translate images of any size.

    ``module`` is the network, on ``device``, and ``config`` its config.json; ``domains`` and ``directions`` are what it
    translates; ``engine`` computes in its place unless it is None, in ``precision``. ``registry`` has the plugins. ``use`` are
    the values of its options that may change after training.
    """

    module: nn.Module
    domains: Mapping[str, Domain]
    directions: tuple[Direction, ...]
    config: Mapping[str, Any]
    device: torch.device
    registry: Registry = field(repr=False)
    precision: Precision = "fp32"
    engine: Engine | None = field(default=None, repr=False)
    use: Mapping[str, Any] = field(default_factory=dict)
    _found: dict[tuple[Direction, bool], Dependence] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def recorded(self) -> Mapping[str, Any]:
        """What the run, or the conversion, recorded with the weights: ``step``, ``recipe``, ``sizes``, ``converted`` …"""
        return self.config.get("extra") or {}

    @property
    def targets(self) -> list[str]:
        """The names of the domains that it translates into; keys where two domains share a name."""
        return list(dict.fromkeys(self.label(target) for _, target in between(self.directions)))

    @property
    def any_source(self) -> bool:
        """Whether the generator takes pictures of all sources alike, so that the target is enough."""
        return takes_any_source(self.module, self.domains, self.directions)

    @property
    def divisor(self) -> int:
        """What height and width of the network's input must be multiples of; smaller pictures are padded."""
        return int(getattr(self.module, "divisor", 1))

    def label(self, key: str) -> str:
        """What a domain is called: its name, or its key where another domain has the same name."""
        return label(self.domains, key)

    def direction(self, to: str | None = None, source: str | None = None) -> Direction:
        """(source key, target key) from domains' names or keys; an omitted one is inferred if only one is possible.

        Raises:
            UserError: there is no such domain or way, or more than one way.
        """
        return chosen(self.domains, self.directions, to, source, self.any_source)

    @overload
    def translate(
        self, image: Style, to: str | None = ..., source: str | None = ..., *, style: list[Any], mix: None = ...,
        style_seed: int = ..., tile: int | None = ..., resize: Resize = ...,
    ) -> list[Any]: ...  # fmt: skip
    @overload
    def translate(
        self, image: File | Image.Image, to: str | None = ..., source: str | None = ..., *,
        style: Style | tuple[Style, Style] | None = ..., mix: float | None = ..., style_seed: int = ..., tile: int | None = ...,
        resize: Resize = ...,
    ) -> Image.Image: ...  # fmt: skip
    @overload
    def translate(
        self, image: Tensor, to: str | None = ..., source: str | None = ..., *,
        style: Style | tuple[Style, Style] | None = ..., mix: float | None = ..., style_seed: int = ..., tile: int | None = ...,
        resize: Resize = ...,
    ) -> Tensor: ...  # fmt: skip
    @overload
    def translate(
        self, image: _Array, to: str | None = ..., source: str | None = ..., *,
        style: Style | tuple[Style, Style] | None = ..., mix: float | None = ..., style_seed: int = ..., tile: int | None = ...,
        resize: Resize = ...,
    ) -> Array: ...  # fmt: skip

    def translate(
        self,
        image: Style,
        to: str | None = None,
        source: str | None = None,
        *,
        style: Style | tuple[Style, Style] | list[Any] | None = None,
        mix: float | None = None,
        style_seed: int = 0,
        tile: int | None = None,
        resize: Resize = "as-trained",
    ) -> Translated | list[Any]:
        """Translate one image of any size; the result is of the kind of what was given.

        ``image``: a path, a file's bytes, a file object or a picture (EXIF orientation is applied); an array uint8 (H, W) or
        (H, W, C); a tensor in [-1, 1], (C, H, W) or (B, C, H, W). A tensor is what the network takes; all others are what a
        file holds, and are prepared as the model's data set prepared its files (``Domain.preparation``). A label map is of the
        numbers in its files, or of its classes' colours; as a tensor of class ids or one-hot. Label results are such numbers in
        pictures and arrays (H, W), and the network's own (classes, H, W) as a tensor, on the device of the tensor given.

        The result has the height and width of what was given, unless the data set scaled its pictures: then it has the size
        at which the network saw them. ``resize`` scales pictures and styles otherwise: "none", the shorter side in pixels
        (512), or "WIDTHxHEIGHT".

        ``style`` is an image of the target domain, for a generator that takes one; a list of them gives a list of results.
        With ``mix`` it is two, of whose second that is the share, for one that mixes. All that the generator draws at random
        (a style if none is given, dropout) is drawn from ``style_seed``, which is set again for each image of a batch.

        ``tile`` is the side of the tiles in which a large image goes through, to the same result; 0 never cuts. Left out,
        images of more than 4 million pixels are cut if the model can be. A plugin does that.
        """
        if isinstance(style, list) and mix is None:
            once = source_of(image) if isinstance(image, Readable) else image
            return [self.translate(once, to, source, style=s, style_seed=style_seed, tile=tile, resize=resize) for s in style]
        fitting, (here, there) = self.resized(resize), (way := self.direction(to, source))
        styles = style if isinstance(style, list | tuple) else () if style is None else (style,)
        given = fitting.styled(styles, there, mix)
        if isinstance(image, Tensor):
            batch = check_tensor(image if image.ndim == 4 else image[None], self.domains[here])
            made = self.batch(batch, way, given, style_seed, tile).to(image.device)
            return made if image.ndim == 4 else made[0]
        result = fitting.picture(prepared(image, fitting.domains[here]), way, given, style_seed, tile)
        return to_array(result, image, self.domains[there]) if isinstance(image, np.ndarray) else result

    def with_backend(self, backend: str) -> "Translator":
        """The same with its network computed by torch or by a plugin's engine, see ``i2i.translation.engines``.

        Raises:
            UserError: there is no such engine, its library is missing, or it does not compute in the translator's precision.
        """
        factory = engine_called(backend, self.precision, self.registry)
        return replace(self, engine=None if factory is None else Engine(backend, factory(self)))

    def resized(self, resize: Resize) -> "Translator":
        """The same, but pictures are scaled in this way (``preparation.to_size``) and not as in the data set."""
        fitting = {key: to_size(domain, resize) for key, domain in self.domains.items()}
        return self if resize == "as-trained" else replace(self, domains=fitting)

    def picture(
        self, pixels: Tensor, way: Direction, given: Mapping[str, Tensor] = NOTHING, seed: int = 0, tile: int | None = None
    ) -> Image.Image:
        """Translate the pixels (C or 1, H, W) of a picture (``i2i.pictures.pixels``), a large one without a copy in floats."""
        source, target = (self.domains[key] for key in way)
        check_channels(target)
        made = self._large(pixels[None], way, given, seed, tile, files=True)
        if made is None:
            made = to_pixels(self.batch(finished(pixels, source.kind == "labels")[None], way, given, seed, 0), target)
        return shown(made[0], target)

    def batch(
        self, batch: Tensor, way: Direction, given: Mapping[str, Tensor] = NOTHING, seed: int = 0, tile: int | None = None
    ) -> Tensor:
        """Samples (B, C or 1, H, W) to (B, C_target, H, W), float32, in tiles or whole.

        Each becomes what it becomes alone with this seed. They go through the network together where that changes nothing.
        """
        size = (batch.shape[2], batch.shape[3])
        if len(batch) > 1 and (_is_large(batch, tile) or given or any(self.dependence(way, size))):
            return torch.cat([self.batch(one, way, given, seed, tile) for one in batch[:, None]])
        made = self._large(batch, way, given, seed, tile)
        return self._run(batch, way, given, seed) if made is None else made

    def dependence(self, way: Direction, size: tuple[int, int], given: Mapping[str, Tensor] = NOTHING) -> Dependence:
        """What else a translation depends on; measured once per direction, on pictures of *size*."""
        key = (way, bool(given))
        if key not in self._found:
            channels = self.domains[way[0]].channels
            self._found[key] = dependence(lambda x, seed: self._run(x, way, given, seed), channels, size, self.divisor)
        return self._found[key]

    def _large(
        self, image: Tensor, way: Direction, given: Mapping[str, Tensor], seed: int, tile: int | None, files: bool = False
    ) -> Tensor | None:
        """A large image through the hook ``translate_large``; None where it is not large, or goes through as a whole."""
        if not _is_large(image, tile):
            return None
        model = replace(self, engine=None)
        made: Tensor | None = self.registry.hook.translate_large(
            model=model, image=image, way=way, given=given, seed=seed, tile=tile, files=files
        )
        if made is None and tile:
            off = self.registry.turned_off
            raise UserError(f"tile: no loaded plugin translates in tiles. Leave it out. {off}".rstrip())
        return made

    def styled(self, styles: Sequence[Style], target: str, mix: float | None = None) -> dict[str, Tensor]:
        """The generator's keywords for no style image, one, or two, where *mix* is the share of the second.

        Raises:
            UserError: it takes none, or does not mix, or they are not two of one size.
        """
        tensors = [self.style_tensor(style, target) for style in styles]
        if mix is None and len(tensors) < 2:
            return dict(zip(["style"], tensors, strict=False))
        if mix is None or len(tensors) != 2:
            raise UserError(f"mix: give two styles, and as mix the share of the second. Styles given: {len(tensors)}.")
        if "mix" not in accepted(self.module):
            raise UserError("mix: this model does not mix styles. Leave it out.")
        if not 0 <= mix <= 1:
            raise UserError(f"mix: {mix} is not between 0 (the first style) and 1 (the second).")
        if tensors[0].shape != tensors[1].shape:
            sizes = " and ".join(f"{style.shape[-1]} x {style.shape[-2]}" for style in tensors)
            raise UserError(f"mix: the styles have the sizes {sizes}. Scale them to the same size.")
        return {"style": torch.cat(tensors), "mix": torch.tensor([1 - mix, mix], device=self.device)}

    def back(self, made: Tensor, way: Direction, originals: Tensor, seed: int = 0) -> Tensor:
        """What was made in a direction, (B, C, H, W), translated back, in the originals' own styles if it takes styles."""
        home = (way[1], way[0])
        if "style" not in accepted(self.module):
            return self.batch(made, home, seed=seed)
        pairs = zip(made[:, None], originals[:, None], strict=True)
        return torch.cat([self.batch(one, home, {"style": own.to(self.device)}, seed) for one, own in pairs])

    def style_tensor(self, style: Style, target: str) -> Tensor:
        """A style image as the network sees it, (1, C_target, H, W)."""
        if "style" not in accepted(self.module):
            raise UserError("style: this model takes no style image. Leave it out.")
        domain = self.domains[target]
        if isinstance(style, Tensor):
            batch = check_tensor(style if style.ndim == 4 else style[None], domain).to(self.device)
        else:
            batch = finished(prepared(style, domain), domain.kind == "labels")[None].to(self.device)
        return batch if batch.is_floating_point() else to_network(batch, domain)

    def _run(self, batch: Tensor, way: Direction, given: Mapping[str, Tensor], seed: int) -> Tensor:
        """Samples (B, C or 1, H, W) to (B, C_target, H, W), float32 on the model's device: pad, translate, crop."""
        h, w = batch.shape[-2:]
        (top, rows), (left, columns) = (reflected(size, self.divisor) for size in (h, w))
        try:
            with torch.inference_mode(), seeded(seed):
                batch = batch.to(self.device)
                x = batch if batch.is_floating_point() else to_network(batch, self.domains[way[0]])
                x = x.index_select(2, rows.to(x.device)).index_select(3, columns.to(x.device))
                made = self.network(x, way, given)
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise UserError(f"an image of {w} x {h} needs more memory than there is. Scale it down.") from error
        return made[:, :, top : top + h, left : left + w].float().clone()

    def network(self, x: Tensor, way: Direction, given: Mapping[str, Tensor], exact: bool = False) -> Tensor:
        """The generator alone, on its device: x (B, C, H, W), padded to its divisor, to (B, C_target, H, W).

        Images are clamped to [-1, 1]. *exact*: in fp32 at any precision.
        """
        (source, target), kinds = way, {"bf16": torch.bfloat16, "fp16": torch.float16}
        with torch.autocast(self.device.type, kinds.get(self.precision), enabled=not exact and self.precision in kinds):
            run = self.module.eval() if self.engine is None else self.engine
            found: Translation | Tensor = run(x, source, target, **given)
        made = (found if isinstance(found, Tensor) else found.images[target]).float()
        return made.clamp(-1, 1) if self.domains[target].kind == "image" else made


def _is_large(image: Tensor, tile: int | None) -> bool:
    """Whether an image (…, H, W) should go through in tiles of that side."""
    return image.shape[-2] * image.shape[-1] > LARGE if tile is None else tile > 0
