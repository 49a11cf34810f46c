"""Sample grids: the same held-out pictures, translated again and again while the model learns."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image
from torch import Tensor, nn

from i2i.adapters import WithPictures, pictures_of
from i2i.building.held_out import check_held_out
from i2i.building.naming import between
from i2i.building.needs import accepted
from i2i.building.parts import build_dataset, built_for_use, lent
from i2i.building.sample import check_sample, check_sizes, sizes_of
from i2i.data import collate, spread, to_device
from i2i.errors import UserError
from i2i.pictures.pixels import save_picture
from i2i.pictures.sheet import by_target, columns, contact_sheet, stacked
from i2i.protocols import Batch, Dataset, Direction
from i2i.training.state import Run
from i2i.training.unsaved import as_saved
from i2i.translation.translator import Translator


@dataclass
class Sampling:
    """Writes ``samples/step-XXXXXXXX.png`` at the start, every ``samples.every`` steps, and at the end.

    The pictures come from the recipe's data set with the options ``samples.dataset`` laid over its own, and are fixed.
    """

    batch: Batch
    directions: list[Direction]
    aligned: bool
    written: int = -1
    drawn: Image.Image | None = None
    """The first grid, if it was drawn before anything is written."""
    network: nn.Module | None = None
    """The generator with the options ``samples.use``, if there are any."""
    latest: dict[Direction, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Of each direction the pictures given and made last, (B, C, H, W)."""

    @classmethod
    def of(cls, run: Run) -> "Sampling":
        """Draw ``samples.count`` pictures, evenly spread over the held-out data set."""
        settings = run.recipe.samples
        try:
            dataset = _shown(run)
            if dict(dataset.domains) != dict(run.parts.domains):
                raise UserError("it changes the domains, but may only change the split or the crop.")
            indices = spread(len(dataset), settings.count)
            together = collate([check_sample(run.recipe, dataset, i) for i in indices])
            check_sizes(run.recipe, sizes_of(together, dataset.domains).values(), run.bare_generator)
        except UserError as error:
            raise UserError(f"samples.dataset: {error}") from error
        batch = to_device(together, dataset.domains, run.accelerator.device)
        directions = between(run.parts.needs.directions)
        found = cls(batch, directions, dataset.paired)
        if settings.use:
            found.network = built_for_use(run.recipe, run.registry, run.parts, settings.use).to(run.accelerator.device)
        return found

    def run_started(self, run: Run) -> None:
        if run.step == 0:
            self._write(run)
        elif run.out is not None and grid_of(run.out, run.step).exists():
            self.written = run.step  # it was drawn before the run was resumed

    def step_ended(self, run: Run) -> None:
        if run.step % run.recipe.samples.every == 0:
            self._write(run)

    def run_ended(self, run: Run) -> None:
        if self.written != run.step:
            self._write(run)

    def _write(self, run: Run) -> None:
        assert run.out is not None
        path = grid_of(run.out, run.step)
        path.parent.mkdir(exist_ok=True)
        save_picture(self.drawn or self.draw(run), path)
        self.drawn, self.written = None, run.step
        run.hook.grid_saved(run=run, path=path, pictures=self.latest)

    def draw(self, run: Run) -> Image.Image:
        """Draw the grid with the model as it is now."""
        with as_saved(run) as model:
            return self.sheet(replace(model, module=lent(self.network, model.module)) if self.network else model)

    def sheet(self, model: Translator) -> Image.Image:
        """A block of columns for each direction, a row for each sample; for more than two domains a table, source by target.

        The generator's pictures are columns, or tables of their own. Last, of a generator that takes styles, comes a table of
        sources by references.
        """
        whole, domains = WithPictures(model.module), model.domains
        full = replace(model, module=whole) if pictures_of([model.module]) else model
        made: dict[str, dict[Direction, Tensor]] = {}
        for way in self.directions:
            image, shown = whole.parted(full.batch(self.batch[way[0]], way))
            self.latest[way] = (self.batch[way[0]], image)
            for name, pictures in {"": image, **shown}.items():
                made.setdefault(name, {})[way] = pictures
        if len({key for way in self.directions for key in way}) > 2:
            sheets = [by_target(domains, self.batch, translated, name) for name, translated in made.items()]
        else:
            truth = self.batch if self.aligned else {}
            home = {way: model.back(made[""][way], way, self.batch[way[0]]) for way in self.directions if way[::-1] in made[""]}
            sheets = [
                contact_sheet([c for way in self.directions for c in columns(domains, way, self.batch, made, home, truth)])
            ]
        if "style" in accepted(model.module):
            given = {target: {"style": self.batch[target][:1]} for _, target in self.directions}
            styled = {way: model.batch(self.batch[way[0]], way, given[way[1]]) for way in self.directions}
            sheets.append(by_target(domains, self.batch, styled, references=True))
        return stacked(sheets)


def _shown(run: Run) -> Dataset:
    """The data set of the grids; if their settings name a split, its pictures are held out.

    Raises:
        UserError: an option does not fit, or the pictures of the split are trained on.
    """
    trained, over = run.recipe.dataset, run.recipe.samples.dataset
    shown = trained.model_copy(update={"options": {**trained.options, **over}})
    dataset = build_dataset(shown, run.registry)
    if "split" in over:
        check_held_out(dataset, shown, trained, run.registry)
    return dataset


def grid_of(folder: Path, step: int) -> Path:
    """The place of a sample grid in a run folder."""
    return folder / "samples" / f"step-{step:08d}.png"


def newest(folder: Path) -> Path | None:
    """The last sample grid of a run folder."""
    found = sorted((folder / "samples").glob("step-[0-9]*.png"))
    return found[-1] if found else None
