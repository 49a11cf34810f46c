"""Many files through one model: every input and every result's place is checked before anything is written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image
from torch import Tensor

from i2i import watermark as watermarks
from i2i.content_credentials import Signing
from i2i.errors import UserError, one_of
from i2i.inference import Size, Translator
from i2i.large import AUTOMATIC
from i2i.pictures import check_channels, save_picture, shown, to_picture
from i2i.preparation import finished
from i2i.protocols import Direction, Domain
from i2i.provenance import png_options
from i2i.sheet import Sheet
from i2i.together import draws
from i2i_translate.blending import Blend
from i2i_translate.inputs import Input, check_places, gather, places

KEPT_BYTES = 2**29
"""Decoded inputs are kept up to this size; later ones are decoded when their turn comes."""

Progress = Callable[[int, int], None]


@dataclass
class _Job:
    """An input, its results' paths, its size (width, height) as prepared, and its pixels where they are kept."""

    item: Input
    results: list[Path]
    size: tuple[int, int] = (0, 0)
    pixels: Tensor | None = None

    def taken(self, domain: Domain) -> Tensor:
        """The pixels, which are not kept any longer."""
        pixels, self.pixels = self.pixels, None
        return self.item.read(domain) if pixels is None else pixels


def translate_files(
    translator: Translator,
    inputs: Sequence[str | Path],
    to: str | None,
    out: str | Path,
    overwrite: bool = False,
    source: str | None = None,
    style: str | Path | None = None,
    style_seed: int = 0,
    *,
    samples: int = 1,
    strength: float = 1.0,
    mask: str | Path | None = None,
    grid: bool = False,
    tile: int | None = None,
    metadata: bool = True,
    signing: Signing | None = None,
    watermark: bool = False,
    size: Size = "model",
    progress: Progress | None = None,
) -> list[Path]:
    """Translate files, folders, patterns or standard input (``-``) into the folder *out*, as PNGs under the inputs' names.

    A folder's structure is kept. Two inputs of one name get distinct names (``x.png``, ``x-2.png``). If any cannot be
    read, nothing is written. Pictures of one size go through the model together, if that does not change the results.

    ``samples`` results of each input, from ``style_seed`` on, are called ``x-style0.png`` and so on. ``strength`` below 1
    blends with the input; ``mask``, a picture, keeps the input where it is black. ``grid`` adds a contact sheet,
    ``grid.png``. ``tile``, ``size``: see :meth:`Translator.translate`. ``metadata``: results say what made them;
    with ``signing`` they say it in signed Content Credentials too, and with ``watermark`` in their pixels.

    Raises:
        UserError: a domain does not exist, inputs cannot be read (all are named), or a result would replace a file.
    """
    translator = translator.at_own_size() if one_of(size, get_args(Size), "size") == "own" else translator
    way, out = translator.direction(to, source), Path(out)
    for key in way if grid else way[1:]:
        check_channels(translator.domains[key])
    given = {} if style is None else {"style": translator.style_tensor(style, way[1])}
    seeds = list(range(style_seed, style_seed + samples))
    endings = [""] if samples == 1 else [f"-style{seed}" for seed in seeds]
    blend = Blend.of(strength, mask, translator.domains[way[0]], translator.domains[way[1]])
    items = gather(inputs, out)
    jobs = [_Job(item, results) for item, results in zip(items, places(items, out, endings), strict=True)]
    sheet = Sheet(out / "grid.png") if grid else None
    paths = [path for job in jobs for path in job.results]
    check_places(items, [*paths, *([sheet.path] if sheet else [])], out, overwrite)
    if sheet and sheet.path in paths:
        raise UserError("an input is called 'grid', as the contact sheet would be. Rename it, or leave out the grid.")
    _check_inputs(jobs, translator.domains[way[0]])
    if watermark:
        watermarks.check(translator.domains[way[1]], [(job.item.name, job.size) for job in jobs])
    if samples > 1 and not draws(translator, way, given):
        raise UserError("samples: this model draws nothing at random, so all would be equal. Leave it out.")
    _make_folders(paths)
    options = png_options(translator.config) if metadata else {}
    session = _Session(translator, way, given, seeds, blend, tile, options, sheet, signing, watermark)
    session.run(jobs, progress)
    return paths


class _Session:
    """The work itself: decoding ahead, translating in batches, encoding behind."""

    def __init__(
        self,
        translator: Translator,
        way: Direction,
        given: Mapping[str, Tensor],
        seeds: Sequence[int],
        blend: Blend,
        tile: int | None,
        options: Mapping[str, Any],
        sheet: Sheet | None,
        signing: Signing | None,
        watermark: bool,
    ) -> None:
        self.signing, self.watermark = signing, watermark
        self.translator, self.way, self.given, self.seeds = translator, way, given, seeds
        self.blend, self.tile, self.options, self.sheet = blend, tile, options, sheet
        self.source, self.target = (translator.domains[key] for key in way)

    def run(self, jobs: Sequence[_Job], progress: Progress | None) -> None:
        batches, done, problems = _batches(jobs, batch_pixels(self.translator.device)), 0, []
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(2) as writer:
            writes: list[Future[None]] = []
            ahead = reader.submit(_read, batches[0], self.source)
            for i, batch in enumerate(batches):
                prepared, bad = ahead.result()
                problems += bad
                if i + 1 < len(batches):
                    ahead = reader.submit(_read, batches[i + 1], self.source)
                for job, pixels, made in self._translated(prepared):
                    writes += [writer.submit(self._save, *pair) for pair in zip(made, job.results, strict=True)]
                    if self.sheet:
                        self.sheet.add(shown(pixels, self.source), made)
                while len(writes) > 64:
                    writes.pop(0).result()
                done += len(batch)
                if progress:
                    progress(done, len(jobs))
            for write in writes:
                write.result()
        if self.sheet:
            self._save(self.sheet.picture(), self.sheet.path)
        if problems:
            raise UserError("\n".join(["some inputs could not be read; the others are done:", *problems]))

    def _save(self, picture: Image.Image, path: Path) -> None:
        save_picture(watermarks.mark(picture) if self.watermark else picture, path, **self.options)
        if self.signing:  # last: it states that no byte was changed since
            self.signing.sign(path, str(self.translator.config.get("i2i", "")))

    def _translated(self, prepared: Sequence[tuple[_Job, Tensor]]) -> Iterator[tuple[_Job, Tensor, list[Image.Image]]]:
        """Every input with its results, one for each seed."""
        by_seed = [self._batch([pixels for _, pixels in prepared], seed) for seed in self.seeds]
        for i, (job, pixels) in enumerate(prepared):
            made = [self.blend(pixels, results[i]) for results in by_seed]
            for image in made:
                event = {"source": self.source, "target": self.target, "image": image}
                self.translator.registry.hook.image_translated(**event)
            yield job, pixels, made

    def _batch(self, pixels: Sequence[Tensor], seed: int) -> list[Image.Image]:
        if len(pixels) == 1:
            return [self.translator.picture(pixels[0], self.way, self.given, seed, self.tile)]
        if not pixels:
            return []
        samples = torch.stack([finished(one, self.source.kind == "labels") for one in pixels])
        return [
            to_picture(image, self.target) for image in self.translator.batch(samples, *self.way, self.given, seed, self.tile)
        ]


def _check_inputs(jobs: Sequence[_Job], domain: Domain) -> None:
    """Read every input once, before anything is written, and name all that are bad; keep them while there is room."""
    bad, room = [], KEPT_BYTES
    for job in jobs:
        try:
            pixels = job.item.read(domain)
        except UserError as error:
            bad.append(str(error))
            continue
        job.size = (pixels.shape[-1], pixels.shape[-2])
        if room >= pixels.nbytes or job.item.name == "standard input":
            job.pixels, room = pixels, room - pixels.nbytes
    if bad:
        raise UserError("\n".join(bad))


def _make_folders(paths: Sequence[Path]) -> None:
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: the folder cannot be made ({error.strerror}). Choose another.") from error


def batch_pixels(device: torch.device) -> int:
    """How many pixels a batch should hold: on a CPU two pictures of 256 x 256, as more overflow its caches, else eight."""
    return 2**17 if device.type == "cpu" else 2**19


def _batches(jobs: Sequence[_Job], pixels: int) -> list[list[_Job]]:
    """Jobs of one size together, about so many pixels at once or one job, in the order of their first."""
    by_size: dict[tuple[int, int], list[_Job]] = {}
    for job in jobs:
        by_size.setdefault(job.size, []).append(job)
    every = []
    for (width, height), same in by_size.items():
        count = max(1, pixels // (width * height)) if width * height <= AUTOMATIC else 1
        every += [same[i : i + count] for i in range(0, len(same), count)]
    return every


def _read(batch: Sequence[_Job], domain: Domain) -> tuple[list[tuple[_Job, Tensor]], list[str]]:
    prepared, bad = [], []
    for job in batch:
        try:
            prepared.append((job, job.taken(domain)))
        except UserError as error:
            bad.append(str(error))
    return prepared, bad
