"""``i2i.Experiment``: a model from its data to its translations, in Python."""

import io
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image
from rich.console import Console

from i2i import files
from i2i.building.epochs import in_steps, steps_of_epoch
from i2i.building.naming import label
from i2i.building.parts import build_dataset, build_losses
from i2i.errors import UserError, nearest
from i2i.experiment import notebook
from i2i.experiment.again import begun
from i2i.experiment.asked import given_folder, new_folder, steps_in_all
from i2i.experiment.exactness import Exactness
from i2i.experiment.history import columns
from i2i.experiment.naming import known_as, methods
from i2i.experiment.own import Own
from i2i.experiment.parts import Layout, check_named, checked, whole
from i2i.pictures.files import read_picture
from i2i.protocols import Dataset, Direction, Domain
from i2i.recipe import Recipe, load_recipe
from i2i.registry import Registry, default_registry
from i2i.stopping import launched_processes
from i2i.training.run_folder import RECIPE
from i2i.training.running import run_recipe
from i2i.training.samples import newest
from i2i.translation.checkpoints import checkpoints, step_of
from i2i.translation.finding import find_model
from i2i.translation.loading import load
from i2i.translation.precision import computing_on
from i2i.translation.translator import Translator


class Experiment:
    """A model, its data and its training.

    Every part is a name, a mapping ``{"name": …, **options}``, or an object of one's own. The data are given first, or as
    ``dataset``: folders, globs, lists of pictures, data sets of torch or Hugging Face, or a data set of ``i2i.protocols``.
    ``names`` are those of the domains; by default they are named after their folders. Any other keyword is a section of the
    recipe (``samples``, ``checkpoint``, ``log``, ``evaluate`` …) or an option of whatever part has one of that name.

    ``out`` is the run folder; by default it is a new one in ``runs``. Nothing is written before :meth:`train`. ``device``
    is where the model is trained and used, "cpu" or "cuda:1"; by default on an accelerator, if there is one.

    Raises:
        UserError: a part is not what it should be, or an option does not exist or does not fit.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    """What a subclass is made of where nothing else is given, in the form of a recipe."""
    layout: ClassVar[Layout] = "unpaired"
    """What two folders or lists are: pictures of two kinds, pairs, or label maps and their pictures."""

    recipe: Recipe
    """What all parts are made of, with every default."""
    registry: Registry
    """The plugins, and own objects among them."""

    _loaded: tuple[int, Translator] | None

    def __init__(
        self,
        *data: Any,
        dataset: Any = None,
        generator: Any = None,
        discriminator: Any = None,
        loss: Any = None,
        train: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = None,
        out: str | Path | None = None,
        device: str | None = None,
        registry: Registry | None = None,
        **options: Any,
    ) -> None:
        own, known = Own(), default_registry() if registry is None else registry
        parts = {"generator": generator, "discriminator": discriminator, "loss": loss, "train": train}
        made = whole(data, dataset, parts, self.defaults, names, self.layout, own, known)
        self.registry = known = own.joined(known)
        self.recipe = checked(made, options, self.defaults, known)
        self._own, self._out, self._chosen, self._device = own, None if out is None else Path(out), out is not None, device
        self._ours, self._loaded = False, None
        asked = {"steps", "epochs"} & {*(train or {}), *options}
        assert self.domains  # the data are looked at before anyone waits for them
        self._goal = in_steps(self.recipe, self._epoch).train.steps if asked else None

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        dataset: Any = None,
        generator: Any = None,
        discriminator: Any = None,
        loss: Any = None,
        device: str | None = None,
        registry: Registry | None = None,
    ) -> Self:
        """The experiment of a run folder, to go on with. Objects of one's own are given again, as they were the first time.

        Raises:
            UserError: it is not a run folder, or an object is missing.
        """
        given = {"dataset": dataset, "generator": generator, "discriminator": discriminator, "loss": loss}
        made = cls.__new__(cls)
        made._own, made.registry = begun(Path(run), given, default_registry() if registry is None else registry)
        made._out, made._chosen, made._device = Path(run), True, device
        made.recipe, made._loaded, made._ours = load_recipe(Path(run) / RECIPE, [], made.registry), None, True
        made._goal = made.recipe.train.steps
        return made

    def train(self, epochs: float | None = None, *, steps: int | None = None) -> None:
        """Train for a number of epochs or steps more; without one, up to what was asked for before.

        The first call begins the run; each later one resumes it exactly where it stands. Ctrl-C finishes the step and saves:
        nothing is lost, and ``train()`` goes on. Own networks have the trained weights afterwards. A notebook shows a bar and
        the newest grid; elsewhere there are log lines.

        Raises:
            UserError: the parts do not fit, or the folder holds another run; nothing has been written then.
        """
        total = steps_in_all(epochs, steps, made=self.step, goal=self._goal, epoch=self._epoch)
        out, resume = self._folder()
        recipe = load_recipe(self.recipe, [f"train.steps={total}"], self.registry)
        self._own.check(recipe, self.registry)
        shown, log = notebook.in_notebook(), io.StringIO()
        console = partial(Console, force_terminal=False, force_jupyter=False, width=1000)
        watching = [*([Exactness(self._own)] if self._own.given else []), *([notebook.Live()] if shown else [])]
        self._out, self._ours, self._goal = out, True, total
        with self.registry.subscribed(*watching), computing_on(self._device):
            told = console(file=log) if shown else console(stderr=True)
            run = run_recipe(recipe, out, self.registry, resume=resume, console=told)
        self.recipe = run.recipe
        self._own.take_weights(run)
        warned = [line for line in log.getvalue().splitlines() if line.startswith("warning")]
        stopped = [f"stopped after step {run.step} of {total}; .train() goes on"] if run.step < total else []
        for line in (*warned, *stopped):
            console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)

    def translate(self, image: Any, to: str | None = None, source: str | None = None, **options: Any) -> Any:
        """Translate a picture: a path, a PIL picture, an array or a tensor; see ``i2i.translation.translator``.

        ``to`` and ``source`` are domains' names or those of their folders; an omitted one is inferred if only one is possible.

        Raises:
            UserError: nothing is trained yet, or there is no such direction.
        """
        model = self.model
        known = [model.label(key) for key in model.domains]
        to, source = (None if word is None else known_as(word, known) for word in (to, source))
        return model.translate(image, to, source, **options)

    @property
    def model(self) -> Translator:
        """The trained model, as ``i2i.load`` gives it.

        Raises:
            UserError: nothing is trained yet.
        """
        folder, step = self._trained(), self.step
        if self._loaded is None or self._loaded[0] != step:
            self._loaded = step, load(folder, self._device, registry=self.registry)
            self._own.forget()
        return self._loaded[1]

    @property
    def out(self) -> Path | None:
        """The run folder, if there is one yet."""
        return self._out if self._ours and self._out is not None and (self._out / RECIPE).is_file() else None

    @property
    def step(self) -> int:
        """The number of steps that the run has made and saved."""
        found = checkpoints(self.out) if self.out is not None else []
        return step_of(found[-1]) if found else 0

    @property
    def history(self) -> dict[str, list[float]]:
        """The numbers that were logged, by name, each a list with a value for every logged step: ``pandas.DataFrame`` opens it.

        ``step`` comes first. A number that was not measured at a step is NaN.
        """
        return {"step": []} if self.out is None else columns(self.out)

    def evaluate(self, **options: Any) -> Any:
        """Measure the model on held-out pictures, as ``i2i eval`` does: ``evaluate(split="val", metrics=["kid"])``.

        Raises:
            UserError: nothing is trained yet, no plugin measures models, an option does not fit, or no picture is held out.
        """
        with computing_on(self._device):
            found = self.registry.hook.measure_model(path=self._trained(), registry=self.registry, options=options)
        if found is None:
            raise UserError(f"no loaded plugin measures models. {self.registry.turned_off}".rstrip())
        return found

    def samples(self) -> Image.Image:
        """The newest grid of sample pictures.

        Raises:
            UserError: there is none yet.
        """
        path = None if self.out is None else newest(self.out)
        if path is None:
            raise UserError("there are no samples yet. Train first: .train(epochs=…).")
        return read_picture(path)

    def save(self, path: str | Path) -> Path:
        """Copy the model, the best one where the run keeps it, into a new folder for ``i2i.load`` and ``i2i translate``.

        Raises:
            UserError: nothing is trained yet, or there is something at *path*.
        """
        path, model = Path(path), find_model(self._trained())
        if path.exists():
            raise UserError(f"{path}: it exists already. Choose a new folder.")
        with files.new_folder(path) as place:
            shutil.copytree(model, place, dirs_exist_ok=True)
        return path

    def to_recipe(self, path: str | Path | None = None) -> str:
        """The recipe in YAML, with every default; with *path* it is written there.

        Raises:
            UserError: a part is an object, which a recipe cannot name, or there is something at *path*.
        """
        check_named(self.recipe)
        text = self.recipe.to_yaml()
        if path is not None:
            if Path(path).exists():
                raise UserError(f"{path}: it exists already. Choose another name.")
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            files.write_text(Path(path), text)
        return text

    @cached_property
    def _dataset(self) -> Dataset:
        return build_dataset(self.recipe.dataset, self.registry)

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The domains by their keys."""
        return self._dataset.domains

    @cached_property
    def _methods(self) -> dict[str, Direction]:
        losses = build_losses(self.recipe, self.registry, self.domains)
        return methods(self.domains, [way for _, loss in losses for way in loss.needs.directions])

    def __getattr__(self, name: str) -> Any:
        """``translate_horse_to_zebra(image)``."""
        if not name.startswith("translate_"):
            raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'", name=name, obj=self)
        ways = self._methods
        if name not in ways:
            there = ", ".join(ways) or "none, as its loss does not translate between two domains"
            raise AttributeError(f"there is no '{name}'.{nearest(name, list(ways))} The methods are: {there}.")
        source, target = (label(self.domains, key) for key in ways[name])
        return partial(self.translate, to=target, source=source)

    def __dir__(self) -> list[str]:
        try:
            return [*super().__dir__(), *self._methods]
        except UserError:  # a loss cannot be built; ``train`` says why
            return list(super().__dir__())

    def __repr__(self) -> str:
        names = " and ".join(label(self.domains, key) for key in self.domains)
        where = "not trained yet" if self.out is None else f"{self.step} step{'' if self.step == 1 else 's'}, in {self.out}"
        return f"<{type(self).__name__}: {names}, {where}>"

    def _repr_png_(self) -> bytes | None:
        """The newest grid, for notebooks."""
        path = newest(self.out) if self.out is not None else None
        return path.read_bytes() if path is not None else None

    @property
    def _epoch(self) -> int:
        """The number of steps in an epoch."""
        return self.recipe.train.epoch or steps_of_epoch(len(self._dataset), self.recipe.train, launched_processes())

    def _folder(self) -> tuple[Path, bool]:
        """The run folder, and whether it is resumed."""
        if self.out is not None and checkpoints(self.out):
            return self.out, True
        names = "2".join(label(self.domains, key) for key in self.domains)
        given = given_folder(self._out, self._ours) if self._chosen and self._out is not None else None
        return given or new_folder(f"{self.recipe.called('loss')}_{names}"), False

    def _trained(self) -> Path:
        """The run folder, in which there is a model."""
        if self.out is None or self.step == 0:
            raise UserError("nothing is trained yet. Train first: .train(epochs=…).")
        return self.out
