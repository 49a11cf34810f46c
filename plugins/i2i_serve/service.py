"""One model at work behind ``i2i serve``: bytes in, bytes out, within limits. Nothing is read or written elsewhere."""

import io
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from i2i.building.needs import accepted
from i2i.building.parts import build_dataset
from i2i.data import SeededDataset, spread
from i2i.errors import UserError, nearest
from i2i.pictures.pixels import prepared, shown, to_picture
from i2i.pictures.preparation import finished
from i2i.pictures.sources import Blob
from i2i.protocols import Direction, Domain
from i2i.recipe import load_recipe
from i2i.translation.translator import Translator
from i2i_evaluate.foreign import check_data
from i2i_page.description import describe, is_drawing, ways
from i2i_page.facts import card_of
from i2i_provenance.metadata import png_options
from i2i_serve.limits import Limits
from i2i_serve.stopping import Deadline

LARGEST_SEED = 2**31 - 1
SAMPLES = 6

_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Asked:
    """What somebody asks of a model, as it came: names and numbers may be anything.

    ``direction`` is "a:b" or what the page calls it; else ``to`` and ``source`` say the way, or nothing if there is only one.
    """

    image: Blob | None
    direction: Any = None
    to: str | None = None
    source: str | None = None
    seed: Any = 0
    styles: Sequence[Blob] = ()
    mix: Any = None
    own_size: bool = False


@dataclass(frozen=True)
class Made:
    """The picture as the model saw it, its translation, the seconds that this took, and the target's name."""

    before: Image.Image
    after: Image.Image
    seconds: float
    target: str


@dataclass(frozen=True)
class Sample:
    """A held-out picture of a run's data set, as a PNG, and the direction ("a:b") to translate it in.

    ``target`` is one of the target's, whose style a model that takes styles may give the result.
    """

    direction: str
    data: bytes
    target: bytes | None = None


@dataclass(frozen=True)
class Service:
    """A model with its limits. Not for several threads at once: the worker has one.

    ``id`` is its name in addresses, ``title`` for people.
    """

    translator: Translator
    limits: Limits
    id: str
    title: str = ""
    deadline: Deadline = field(default_factory=Deadline)
    samples: Sequence[Sample] = ()

    def __post_init__(self) -> None:
        self.deadline.watch(self.translator.module)

    @property
    def ways(self) -> Mapping[str, Direction]:
        """The directions by what the page calls them."""
        return ways(self.translator)

    @property
    def pictures(self) -> Sequence[bytes]:
        """The samples' pictures, each once."""
        found = [picture for sample in self.samples for picture in (sample.data, sample.target) if picture is not None]
        return list(dict.fromkeys(found))

    def described(self, path: Path | None = None) -> dict[str, Any]:
        """What the page is told of the model, with the card that lies at *path*."""
        urls = {picture: f"samples/{self.id}/{i}.png" for i, picture in enumerate(self.pictures)}
        told = [
            {"direction": one.direction, "url": urls[one.data], **({"target": urls[one.target]} if one.target else {})}
            for one in self.samples
        ]
        title = self.title or self.id
        card = card_of(self.translator, path, self.id) if path is not None else ""
        drawn = self._drawings()
        return describe(self.translator, id=self.id, title=title, samples=told, card=card, drawings=drawn)

    def _drawings(self) -> set[str]:
        """The sources most of whose samples are line drawings."""
        found: dict[str, list[bool]] = {}
        for sample in self.samples:
            key = sample.direction.partition(":")[0]
            if self.translator.domains[key].kind == "image":
                with Image.open(io.BytesIO(sample.data), formats=["PNG"]) as picture:
                    found.setdefault(key, []).append(is_drawing(picture))
        return {key for key, drawn in found.items() if 2 * sum(drawn) > len(drawn)}

    def translate(self, asked: Asked) -> Made:
        """Translate a picture.

        Raises:
            UserError: a value makes no sense, a picture cannot be read or is too large, or the time is over.
            GoneError: nobody waits for it any more.
        """
        began, translator = time.monotonic(), self.translator
        way, seed = self._way(asked), _seed(asked.seed)
        if asked.image is None:
            raise UserError("image: no picture was given. Send one, as the form's file 'image' or as the whole body.")
        if asked.styles and "style" not in accepted(translator.module):
            raise UserError("style: this model takes no style image. Leave it out.")
        fitting = translator.resized("none" if asked.own_size else "as-trained")
        source, target = (fitting.domains[key] for key in way)
        given = fitting.styled([self._style(one, target) for one in asked.styles], way[1], _mix(asked))
        pixels = prepared(asked.image, source, max_pixels=self.limits.pixels)
        self.deadline.check()
        with self.deadline.within(self.limits.seconds):
            made = fitting.picture(pixels, way, given, seed)
        translator.registry.hook.image_translated(source=source, target=target, image=made)
        return Made(shown(pixels, source), made, time.monotonic() - began, translator.label(way[1]))

    def png(self, picture: Image.Image) -> bytes:
        """A translation as a PNG that says what made it."""
        return _png(picture, **png_options(self.translator.config, self.translator.use))

    def _style(self, given: Blob, target: Domain) -> Tensor:
        return finished(prepared(given, target, max_pixels=self.limits.pixels), target.kind == "labels")

    def _way(self, asked: Asked) -> Direction:
        here, named = self.ways, asked.to is not None or asked.source is not None
        listed = ", ".join(f"'{':'.join(way)}' ({label})" for label, way in here.items())
        if asked.direction is None and named:
            return self.translator.direction(asked.to, asked.source)
        if named:
            raise UserError("direction: give it, or 'to' and 'source', but not both.")
        if asked.direction is None and len(here) == 1:
            return next(iter(here.values()))
        if asked.direction is None:
            raise UserError(f"direction: the model has {len(here)}, so say which. Choose one of {listed}.")
        known = {**here, **{":".join(way): way for way in here.values()}}
        if not isinstance(asked.direction, str) or asked.direction not in known:
            near = nearest(str(asked.direction), list(known))
            raise UserError(f"direction: the model has no '{asked.direction}'.{near} Choose one of {listed}.")
        return known[asked.direction]


def _seed(given: Any) -> int:
    try:
        seed = float(given)
        if seed != seed // 1 or not 0 <= seed <= LARGEST_SEED:
            raise ValueError
    except (TypeError, ValueError) as error:
        raise UserError(f"seed: '{given}' is not a whole number from 0 to {LARGEST_SEED}.") from error
    return int(seed)


def _mix(asked: Asked) -> float | None:
    """The share of the second style; a half where none is said."""
    if asked.mix is None:
        return 0.5 if len(asked.styles) > 1 else None
    try:
        return float(asked.mix)
    except (TypeError, ValueError) as error:
        raise UserError(f"mix: '{asked.mix}' is not a number from 0 to 1.") from error


def _png(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def plain_name(name: str) -> str:
    """A name of letters, digits, full stops, underscores and hyphens."""
    return _PLAIN.sub("-", name).strip("-.")[:80] or "model"


def samples(translator: Translator, run: Path) -> list[Sample]:
    """Held-out pictures of a run's data set.

    Empty if *run* is not a run folder, its data can no longer be read or come from a stranger's recipe, or do not fit into a
    PNG of 8 bits.
    """
    domains, registry = translator.domains, translator.registry
    if not (run / "recipe.yaml").is_file():
        return []
    here = ways(translator).values()
    try:
        recipe = load_recipe(run / "recipe.yaml", [], registry)
        check_data(recipe, registry, run, over=recipe.samples.dataset)
        dataset = build_dataset(recipe.dataset, registry, **recipe.samples.dataset)
        if dict(dataset.domains) != dict(domains):
            return []
        seeded = SeededDataset(dataset, recipe.train.seed)
        drawn = [seeded[0, index] for index in spread(len(dataset), max(1, SAMPLES // len(here)))]
    except (UserError, OSError):
        return []
    styled = "style" in accepted(translator.module)

    def picture(sample: Mapping[str, Tensor], key: str) -> bytes | None:
        domain = domains[key]
        fits = domain.preparation.range is None and (domain.kind == "labels" or domain.channels <= 4)
        return _png(to_picture(sample[key], domain)) if fits and key in sample else None

    return [
        Sample(":".join(way), data, picture(sample, way[1]) if styled else None)
        for way in here
        for sample in drawn
        if (data := picture(sample, way[0])) is not None
    ]
