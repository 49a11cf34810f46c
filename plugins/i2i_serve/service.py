"""The work behind ``i2i serve``: files of one folder through one model, within limits. The page is in ``page``."""

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from i2i.building.naming import between
from i2i.building.needs import accepted
from i2i.building.parts import build_dataset
from i2i.data import SeededDataset, spread
from i2i.errors import UserError, nearest
from i2i.pictures.pixels import prepared, save_picture, shown, to_picture
from i2i.pictures.preparation import finished
from i2i.pictures.sources import Blob
from i2i.protocols import Direction, Domain
from i2i.recipe import load_recipe
from i2i.translation.together import SIDE
from i2i.translation.translator import Translator
from i2i_evaluate.foreign import check_data
from i2i_provenance.metadata import png_options
from i2i_serve.limits import Limits

LARGEST_SEED = 2**31 - 1
SAMPLES = 6
KEPT_BYTES = 2**30
"""Uploads and results are kept up to this size; then the oldest go."""

_PLAIN = re.compile(r"[^\w.-]+")


class Deadline:
    """Stops a network between two layers when its time is over."""

    def __init__(self, module: nn.Module) -> None:
        self.end, self.seconds = float("inf"), 0.0
        for part in module.modules():
            part.register_forward_pre_hook(self._check)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Layers that begin later than *seconds* from now end in a UserError."""
        self.end, self.seconds = time.monotonic() + seconds, seconds
        try:
            yield
        finally:
            self.end = float("inf")

    def _check(self, *_: object) -> None:
        if time.monotonic() > self.end:
            raise UserError(f"the translation took longer than {self.seconds:g} s. Give a smaller picture.")


class Service:
    """One model at work in ``folder``, which holds uploads, results and samples; nothing outside it is read.

    Not for several threads at once: the page's queue lets one request in at a time.
    """

    def __init__(self, translator: Translator, folder: Path, limits: Limits, name: str) -> None:
        self.translator, self.folder, self.limits, self.name = translator, folder.resolve(), limits, name
        ways = between(translator.directions) or list(translator.directions)
        self.ways: dict[str, Direction] = {" → ".join(map(translator.label, way)): way for way in ways}
        if translator.any_source:
            self.ways = {f"to {name}": translator.direction(name) for name in translator.targets}
        taken = accepted(translator.module)
        self.takes_style, self.mixes = "style" in taken, {"style", "mix"} <= set(taken)
        self.scales = any(domain.preparation.size is not None for domain in translator.domains.values())
        self.draws = self.takes_style or any(translator.dependence(way, (SIDE, SIDE)).seed for way in ways)
        self.options = png_options(translator.config, translator.use)
        self.deadline = Deadline(translator.module)

    def translate(
        self,
        picture: Any,
        direction: Any = None,
        seed: Any = 0,
        style: Any = None,
        own_size: Any = False,
        second_style: Any = None,
        mix: Any = 0.5,
    ) -> tuple[Path, Path]:
        """The picture as the model saw it, and its translation, as PNGs in the folder.

        ``picture`` and both styles are mappings whose ``path`` is a file of the folder; ``direction`` is one of ``ways``, or
        None where there is one only; ``seed`` is 0 … 2**31 - 1. With ``own_size`` pictures are not scaled as the model's data
        set scaled its own. With a second style ``mix`` is its share, 0 … 1.

        Raises:
            UserError: any of these is not so, a picture cannot be read or is too large, or the time is over.
        """
        way = self._way(direction)
        seed = self._seed(seed)
        if not picture:
            raise UserError("no picture was given. Upload one first.")
        if (style or second_style) and not self.takes_style:
            raise UserError("style: this model takes no style image. Leave it out.")
        if second_style and not isinstance(mix, int | float):
            raise UserError(f"mix: '{mix}' is not a number from 0 to 1.")
        translator = self.translator.resized("none" if own_size else "as-trained")
        source, target = (translator.domains[key] for key in way)
        styles = [self._sample(one, target) for one in (style, second_style) if one]
        given = translator.styled(styles, way[1], mix if second_style else None)
        pixels, name = self._read(picture, source)
        with self.deadline.within(self.limits.seconds):
            made = translator.picture(pixels, way, given, seed)
        self.translator.registry.hook.image_translated(source=source, target=target, image=made)
        return self._save(shown(pixels, source), made, f"{Path(name).stem}-{self.translator.label(way[1])}")

    def _sample(self, payload: Any, domain: Domain) -> Tensor:
        return finished(self._read(payload, domain)[0], domain.kind == "labels")

    def _way(self, direction: Any) -> Direction:
        if direction is None and len(self.ways) == 1:
            return next(iter(self.ways.values()))
        if not isinstance(direction, str) or direction not in self.ways:
            listed = ", ".join(f"'{way}'" for way in self.ways)
            raise UserError(
                f"direction: the model has no '{direction}'.{nearest(str(direction), list(self.ways))} Choose one of {listed}."
            )
        return self.ways[direction]

    def _seed(self, seed: Any) -> int:
        if not isinstance(seed, int | float) or seed != seed // 1 or not 0 <= seed <= LARGEST_SEED:
            raise UserError(f"style_seed: '{seed}' is not a whole number from 0 to {LARGEST_SEED}.")
        return int(seed)

    def _read(self, payload: Any, domain: Domain) -> tuple[Tensor, str]:
        """The prepared pixels of an uploaded picture, and its original name."""
        file = self.own(payload.get("path") if isinstance(payload, Mapping) else None)
        try:
            data = file.read_bytes() if file.stat().st_size <= self.limits.megabytes * 10**6 else None
        except OSError as error:
            raise UserError(f"{file.name}: the file does not exist, or not any more. Upload it again.") from error
        if data is None:
            raise UserError(f"{file.name}: the file is larger than {self.limits.megabytes} MB. Give a smaller one.")
        return prepared(Blob(data, file.name), domain, max_pixels=self.limits.pixels), file.name

    def own(self, path: Any) -> Path:
        """The place of a file in the folder, links resolved.

        Raises:
            UserError: *path* is not an absolute path, or it leads out of the folder.
        """
        try:
            if not isinstance(path, str) or not Path(path).is_absolute():
                raise ValueError(path)
            file = Path(path).resolve()
            inside = file.is_relative_to(self.folder)
            with suppress(FileNotFoundError, NotADirectoryError):  # uploads go after a while
                _ = inside and file.stat()
        except (ValueError, OSError) as error:  # no file can be called so
            told = "a picture is an uploaded file. Upload it first, and name the path that the upload answers."
            raise UserError(told) from error
        if not inside:
            raise UserError(f"{Path(path).name}: only uploaded files and samples can be translated. Upload it first.")
        return file

    def _save(self, given: Image.Image, made: Image.Image, name: str) -> tuple[Path, Path]:
        self.prune()
        folder = self.folder / "results" / secrets.token_hex(16)
        folder.mkdir(parents=True)
        before, after = folder / "before.png", folder / f"{_PLAIN.sub('-', name)[:80]}.png"
        save_picture(given, before)
        save_picture(made, after, **self.options)
        return before, after

    def prune(self) -> None:
        """Delete the oldest uploads and results until the rest takes no more than KEPT_BYTES."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.parent != self.folder / "samples"]
        aged = sorted(((path.stat(), path) for path in files), key=lambda pair: pair[0].st_mtime)
        total = sum(stat.st_size for stat, _ in aged)
        for stat, path in aged:
            if total <= KEPT_BYTES:
                break
            path.unlink(missing_ok=True)
            total -= stat.st_size


def samples(service: Service, run: Path) -> list[tuple[Path, str]]:
    """Held-out pictures of a run's data set, written into the folder, each with a direction to translate it in.

    Empty if *run* is not a run folder, its data can no longer be read or come from a stranger's recipe, or do not fit into a
    PNG of 8 bits.
    """
    domains = service.translator.domains
    if not (run / "recipe.yaml").is_file():
        return []
    registry = service.translator.registry
    try:
        recipe = load_recipe(run / "recipe.yaml", [], registry)
        check_data(recipe, registry, run, over=recipe.samples.dataset)
        dataset = build_dataset(recipe.dataset, registry, **recipe.samples.dataset)
        if dict(dataset.domains) != dict(domains):
            return []
        seeded = SeededDataset(dataset, recipe.train.seed)
        drawn = [seeded[0, index] for index in spread(len(dataset), max(1, SAMPLES // len(service.ways)))]
    except (UserError, OSError):
        return []
    (service.folder / "samples").mkdir(exist_ok=True)
    return [
        (_write(sample[way[0]], domains[way[0]], service.folder / "samples" / f"{way[0]}-{i}.png"), label)
        for label, way in service.ways.items()
        for i, sample in enumerate(drawn)
        if domains[way[0]].preparation.range is None and (domains[way[0]].kind == "labels" or domains[way[0]].channels <= 4)
    ]


def _write(image: Tensor, domain: Domain, path: Path) -> Path:
    save_picture(to_picture(image, domain), path)
    return path
