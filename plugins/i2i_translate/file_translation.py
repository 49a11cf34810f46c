"""Translates many files with one model; all inputs and the paths of all results are checked before anything is written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from i2i.building.naming import between
from i2i.errors import DiskFullError, UserError
from i2i.pictures.pixels import check_channels, prepared, save_picture, shown, to_picture
from i2i.pictures.preparation import finished
from i2i.pictures.sheet import in_rgb, in_rows
from i2i.protocols import Domain
from i2i.translation.translator import LARGE, Translator
from i2i_provenance import watermark as watermarks
from i2i_provenance.metadata import packet, png_options
from i2i_translate.blending import Blend
from i2i_translate.inputs import Input, check_moving, check_places, gather, make_folders, places
from i2i_translate.moving import Clip, clip_of
from i2i_translate.reel import Reel
from i2i_translate.requests import Finish, Request

KEPT_BYTES = 2**29
"""Decoded inputs are kept up to this size, and the first of any size; later ones are decoded when their turn comes."""

SIDE, MOST = 256, 64
"""The contact sheet has the first MOST inputs, scaled into squares of SIDE pixels."""

_NONE = Image.new("RGB", (1, 1), "white")

Progress = Callable[[int, int], None]
Say = Callable[[str], None]


@dataclass
class _Job:
    """An input, its results' paths, its size (width, height) as prepared; its pixels where they are kept, or its frames."""

    item: Input
    results: list[Path]
    size: tuple[int, int] = (0, 0)
    pixels: Tensor | None = None
    clip: Clip | None = None

    def taken(self, domain: Domain) -> Tensor:
        """Return the pixels and do not keep them."""
        pixels, self.pixels = self.pixels, None
        return self.item.read(domain) if pixels is None else pixels


def translate_files(
    translator: Translator,
    request: Request,
    finish: Finish,
    progress: Progress = lambda done, total: None,
    skipped: Say = lambda message: None,
    remark: Say = lambda message: None,
) -> list[Path]:
    """Translate pictures into PNGs under the inputs' names; returns their paths.

    An animated GIF, PNG or WebP becomes one of its format, and a video an MP4 file, frame by frame: see
    :mod:`i2i_translate.animation` and :mod:`i2i_translate.video`. Their flicker, and what is lost, goes to ``remark``.

    A folder's structure is kept. Two inputs of one name get distinct names (``x.png``, ``x-2.png``), and several results of
    one ``x-style0.png`` and so on. If any cannot be read, nothing is written, unless the request is to skip such inputs: what
    is wrong with each goes to ``skipped``. Pictures of one size go through the model together, if that does not change the
    results.

    Raises:
        UserError: a domain does not exist, an input cannot be read (all are named), or none can where bad ones are skipped, or
            a result would replace a file.
    """
    session = _Session(translator, request, finish, skipped, remark)
    jobs = session.jobs()
    try:
        done = session.run(jobs, progress)
    except DiskFullError as error:
        raise DiskFullError(error.path, "repeat it with --overwrite; the results that are there are whole") from error
    return [path for job in done for path in job.results]


class _Session:
    """The work itself: decoding ahead, translating in batches, encoding behind."""

    def __init__(self, translator: Translator, request: Request, finish: Finish, skipped: Say, remark: Say) -> None:
        self.translator = translator.resized(request.resize)
        self.request, self.finish, self.skipped, self.remark = request, finish, skipped, remark
        self.way = self.translator.direction(request.to, request.source)
        self.source, self.target = (self.translator.domains[key] for key in self.way)
        for domain in (self.source, self.target) if finish.grid else (self.target,):
            check_channels(domain)
        sets = [[style] for style in request.styles] if request.mix is None and request.styles else [request.styles]
        self.given = [self.translator.styled(styles, self.way[1], request.mix) for styles in sets]
        self.blend = Blend.of(request.strength, request.mask, self.source, self.target)
        self.sheet = finish.out / "grid.png"
        self.rows: list[list[Image.Image]] = []
        self.options = png_options(self.translator.config, self.translator.use) if finish.metadata else {}

    def jobs(self) -> list[_Job]:
        """The checked jobs, whose folders have been created."""
        request, finish = self.request, self.finish
        named = [f"-{name}" if name else "" for name in request.style_names]
        drawn = [""] if request.samples == 1 else [f"-style{seed}" for seed in request.seeds]
        endings = [f"{name}{seed}" for name in named for seed in drawn]
        items = gather(request.inputs, finish.out)
        jobs = [_Job(item, results) for item, results in zip(items, places(items, finish.out, endings), strict=True)]
        paths = [path for job in jobs for path in job.results]
        check_places(items, [*paths, *([self.sheet] if finish.grid else [])], finish.out, finish.overwrite)
        if finish.grid and self.sheet in paths:
            raise UserError("an input is called 'grid', as is the contact sheet. Rename it, or leave out the grid.")
        check_moving([job.item for job in jobs], request.steady, finish.signing is not None, (self.source, self.target))
        jobs = self._readable(jobs)
        if finish.watermark:
            watermarks.check(self.target, [(job.item.name, job.size) for job in jobs])
        width, height = jobs[0].size
        if request.samples > 1 and not self.translator.dependence(self.way, (height, width), self.given[0]).seed:
            raise UserError("samples: this model draws nothing at random, so all results would be equal. Leave it out.")
        make_folders([path for job in jobs for path in job.results])
        return jobs

    def _readable(self, jobs: Sequence[_Job]) -> list[_Job]:
        bad = check_inputs(jobs, self.source)
        if bad and not self.request.skip_bad:
            raise UserError("\n".join(bad.values()))
        for message in bad.values():
            self.skipped(message)
        if len(bad) == len(jobs):
            raise UserError(f"none of the {len(jobs)} inputs can be read, so nothing was written.")
        return [job for i, job in enumerate(jobs) if i not in bad]

    def run(self, jobs: Sequence[_Job], progress: Progress) -> list[_Job]:
        """Translate and write; returns the jobs that were done."""
        problems: dict[int, str] = {}
        still, moving = [job for job in jobs if not job.clip], [job for job in jobs if job.clip]
        batches, done = _batches(still, batch_pixels(self.translator.device)), 0
        total = len(still) + sum(job.clip.count * len(job.results) for job in moving if job.clip)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(2) as writer:
            writes: list[Future[None]] = []
            ahead = reader.submit(_read, batches[0] if batches else [], self.source)
            for i, batch in enumerate(batches):
                prepared, bad = ahead.result()
                problems |= bad
                if i + 1 < len(batches):
                    ahead = reader.submit(_read, batches[i + 1], self.source)
                for job, made in self._translated(prepared):
                    writes += [writer.submit(self._save, *pair) for pair in zip(made, job.results, strict=True)]
                while len(writes) > 64:
                    writes.pop(0).result()
                done += len(batch)
                progress(done, total)
            for write in writes:
                write.result()

        def tick() -> None:
            nonlocal done
            done += 1
            progress(done, total)

        for job in moving:
            try:
                self._move(job, tick)
            except DiskFullError:
                raise
            except UserError as error:
                problems[id(job)] = str(error)
        if self.finish.grid:
            self._save(self._sheet(), self.sheet)
        if problems and not self.request.skip_bad:
            raise UserError("\n".join(["some inputs failed; the others were translated:", *problems.values()]))
        for message in problems.values():
            self.skipped(message)
        return [job for job in jobs if id(job) not in problems]

    def _move(self, job: _Job, tick: Callable[[], None]) -> None:
        """Translate and write a clip, once for each style and seed."""
        clip, ways = job.clip, [(given, seed) for given in self.given for seed in self.request.seeds]
        assert clip is not None
        statement = packet(self.translator.config, self.translator.use) if self.finish.metadata else ""
        together, row = max(1, batch_pixels(self.translator.device) // (job.size[0] * job.size[1])), list[Image.Image]()
        for (given, seed), path in zip(ways, job.results, strict=True):
            reel = Reel(clip, partial(self._frames, clip.name, given, seed), together, self.request.steady, tick)
            remarks = clip.write(path, map(self._done, reel.frames()), statement)
            for text in [reel.told(), *(f"{path}: {remark}" for remark in remarks)]:
                self.remark(text)
            row += [_thumbnail(picture) for picture in (reel.first or ())[bool(row) :]]
        if self.finish.grid and len(self.rows) < MOST:
            self.rows.append(row)

    def _frames(
        self, name: str, given: Mapping[str, Tensor], seed: int, frames: Sequence[Image.Image]
    ) -> list[tuple[Image.Image, Image.Image]]:
        pixels = [prepared(frame, self.source, name) for frame in frames]
        before = [shown(one, self.source) for one in pixels]
        return [(x, self.blend(x, y)) for x, y in zip(before, self._batch(pixels, given, seed), strict=True)]

    def _done(self, image: Image.Image) -> Image.Image:
        self.translator.registry.hook.image_translated(source=self.source, target=self.target, image=image)
        return watermarks.mark(image) if self.finish.watermark else image

    def _sheet(self) -> Image.Image:
        """A row for each input, a column for each style and seed; above them the pictures whose styles were taken."""
        seeds, names = self.request.seeds, self.request.style_names
        several = [f", seed {seed}" if len(seeds) > 1 else "" for seed in seeds]
        captions = [f"to {self.target.name}" + (f", {name}" if name else "") + seed for name in names for seed in several]
        several_sources = sum(target == self.way[1] for _, target in between(self.translator.directions)) > 1
        first = "input" if several_sources and self.request.source is None else self.source.name
        return in_rows([first, *captions], self.rows, self._styles())

    def _styles(self) -> list[list[Image.Image]]:
        """A row of the style of each column, if styles were given one by one."""
        if self.request.mix is not None or not self.request.styles:
            return []
        shown_once = [_thumbnail(to_picture(given["style"][0], self.target)) for given in self.given]
        return [[_NONE, *(picture for picture in shown_once for _ in self.request.seeds)]]

    def _save(self, picture: Image.Image, path: Path) -> None:
        picture = watermarks.mark(picture) if self.finish.watermark else picture
        if self.finish.signing:  # last: it states that no byte was changed since
            self.finish.signing.write(picture, path, str(self.translator.config.get("i2i", "")), **self.options)
        else:
            save_picture(picture, path, **self.options)

    def _translated(self, prepared: Sequence[tuple[_Job, Tensor]]) -> Iterator[tuple[_Job, list[Image.Image]]]:
        """Every input with its results, one for each style and seed."""
        every, ways = [pixels for _, pixels in prepared], [(given, seed) for given in self.given for seed in self.request.seeds]
        by_way = [self._batch(every, given, seed) for given, seed in ways]
        for i, (job, pixels) in enumerate(prepared):
            made = [results[i] for results in by_way]
            on_sheet = self.finish.grid and len(self.rows) < MOST
            if self.blend.acts or on_sheet:
                before = shown(pixels, self.source)
                made = [self.blend(before, image) for image in made]
                if on_sheet:
                    self.rows.append([_thumbnail(image) for image in (before, *made)])
            for image in made:
                self.translator.registry.hook.image_translated(source=self.source, target=self.target, image=image)
            yield job, made

    def _batch(self, pixels: Sequence[Tensor], given: Mapping[str, Tensor], seed: int) -> list[Image.Image]:
        tile = self.request.tile
        if len(pixels) == 1:
            return [self.translator.picture(pixels[0], self.way, given, seed, tile)]
        if not pixels:
            return []
        samples = torch.stack([finished(one, self.source.kind == "labels") for one in pixels])
        return [to_picture(image, self.target) for image in self.translator.batch(samples, self.way, given, seed, tile)]


def _thumbnail(picture: Image.Image) -> Image.Image:
    small = in_rgb(picture)
    small.thumbnail((SIDE, SIDE))
    return small


def check_inputs(jobs: Sequence[_Job], domain: Domain) -> dict[int, str]:
    """Read every input once, before anything is written, and keep it while there is room; what is wrong with which."""
    bad, room = {}, KEPT_BYTES
    for i, job in enumerate(jobs):
        try:
            if job.item.moving:
                job.clip = clip_of(job.item.path, job.item.moving)
            pixels = prepared(next(job.clip.frames()), domain, job.item.name) if job.clip else job.item.read(domain)
        except UserError as error:
            bad[i] = str(error)
            continue
        job.size = (pixels.shape[-1], pixels.shape[-2])
        if not job.clip and (room >= pixels.nbytes or room == KEPT_BYTES or job.item.name == "standard input"):
            job.pixels, room = pixels, room - pixels.nbytes
    return bad


def batch_pixels(device: torch.device) -> int:
    """How many pixels a batch should hold: on a CPU two pictures of 256 x 256, as more overflow its caches, else eight."""
    return 2**17 if device.type == "cpu" else 2**19


def _batches(jobs: Sequence[_Job], pixels: int) -> list[list[_Job]]:
    """Jobs of the same size in groups of about this number of pixels, at least one job, in the order of their first."""
    by_size: dict[tuple[int, int], list[_Job]] = {}
    for job in jobs:
        by_size.setdefault(job.size, []).append(job)
    every = []
    for (width, height), same in by_size.items():
        count = max(1, pixels // (width * height)) if width * height <= LARGE else 1
        every += [same[i : i + count] for i in range(0, len(same), count)]
    return every


def _read(batch: Sequence[_Job], domain: Domain) -> tuple[list[tuple[_Job, Tensor]], dict[int, str]]:
    """The jobs with their pixels, and by its id what is wrong with a job that can no longer be read."""
    prepared, bad = [], {}
    for job in batch:
        try:
            prepared.append((job, job.taken(domain)))
        except UserError as error:
            bad[id(job)] = str(error)
    return prepared, bad
