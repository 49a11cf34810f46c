"""The hooks that a plugin may implement, all on one page.

Commands, sections and recipes must be known before any plugin is imported; they are entry points instead (``declared.py``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

from i2i.declared import GROUP

hookspec = pluggy.HookspecMarker(GROUP)
"""Marks a method of ``Hooks`` as a hook."""

hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's function as the implementation of the hook of the same name."""

Factory = Callable[..., Any]
"""A class or function whose keyword-only, typed parameters are the options of a recipe."""


class Hooks:
    """Every hook that a plugin may implement. An implementation may leave out arguments that it does not use."""

    @hookspec
    def register_generators(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Generators: name -> factory ``(*, domains, directions, **options)``, or ``"module:object"``."""

    @hookspec
    def register_discriminators(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Discriminators: name -> factory ``(*, domains, conditions, **options)``, or ``"module:object"``."""

    @hookspec
    def register_losses(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Losses: name -> factory ``(*, domains, **options)``, or ``"module:object"``."""

    @hookspec
    def register_objectives(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Adversarial objectives: name -> factory ``(**options)``, or ``"module:object"``."""

    @hookspec
    def register_datasets(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Datasets: name -> factory ``(**options)``, or ``"module:object"``."""

    @hookspec
    def register_metrics(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Metrics: name -> factory ``(**options)``, or ``"module:object"``."""

    @hookspec
    def register_converters(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Formats of published checkpoints: name -> converter (see ``i2i.published``), or ``"module:object"``."""

    @hookspec
    def register_engines(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Engines (``i2i.translation.engines``): name -> factory ``(translator)``, or ``"module:object"``."""

    @hookspec(firstresult=True)
    def choose_settings(self, recipe: Any, registry: Any, before: Any, console: Any) -> Any:
        """The recipe with values in place of ``auto``, or None; the first plugin that returns a recipe decides.

        Called in every process of ``i2i run`` when the data set alone is built; not in a dry run. *before* is the recipe of the
        run that is resumed, or None; print to *console* what was chosen. A setting that stays ``auto`` takes its value from
        *before*, else its default.
        """

    @hookspec(firstresult=True)
    def load_start(self, run: Any) -> Any:
        """Give the networks of a run that begins the weights that ``train.start`` names; None leaves it to the next plugin.

        Returns lines for the log: what was taken. Called in every process when everything is built, and not where a run is
        resumed; ``run.recipe`` may be replaced by one that names the hashes of the weights. Random numbers drawn here do not
        change the training's.
        """

    @hookspec
    def run_assembled(self, run: Any) -> Sequence[object]:  # type: ignore[empty-body]
        """Observers of this run: objects with their own state, whose methods marked :data:`hookimpl` receive its events.

        Called in every process of a run and of a dry run, when everything is built and restored, before anything is written
        and before the first step. An exception ends the run. Random numbers drawn here do not change the training's.
        """

    @hookspec
    def run_started(self, run: Any) -> None:
        """Everything is built, and step 0 (or the step to resume from) is next.

        Called in every process, like all events of a run below that do not say otherwise.
        """

    @hookspec
    def step_ended(self, run: Any) -> None:
        """All networks have made one optimizer step and the average is updated; logs, grids and checkpoints come after this."""

    @hookspec
    def numbers_logged(self, run: Any, values: Mapping[str, float]) -> None:
        """*values* (the step, and numbers by name) were written to metrics.jsonl. Called in the first process."""

    @hookspec
    def checkpoint_saved(self, run: Any, path: Any) -> None:
        """A complete checkpoint was saved at *path*."""

    @hookspec
    def grid_saved(self, run: Any, path: Any, pictures: Any) -> None:
        """A grid of sample pictures was saved at *path*. Called in the first process.

        *pictures* has for each direction those given and those made, (B, C, H, W): ``{("a", "b"): (given, made)}``.
        """

    @hookspec
    def run_ended(self, run: Any) -> None:
        """Training has ended: it was completed or interrupted."""

    @hookspec
    def run_failed(self, run: Any, error: BaseException) -> None:
        """Training has ended with *error*, for instance because a loss is NaN; ``run_ended`` is not called then."""

    @hookspec
    def closing_lines(self, run: Any) -> Mapping[str, str]:  # type: ignore[empty-body]
        """What ``i2i run`` prints of this run at its end, by a label of at most eight letters: ``{"report": path}``."""

    @hookspec
    def image_translated(self, source: Any, target: Any, image: Any) -> None:
        """*image* was translated from the domain *source* to the domain *target*."""

    @hookspec(firstresult=True)
    def measure_model(self, path: Any, registry: Any, options: Mapping[str, Any]) -> Any:
        """The figures of the model in a run folder, for ``Experiment.evaluate(**options)``. The first result counts."""

    @hookspec(firstresult=True)
    def translate_large(self, model: Any, image: Any, way: Any, given: Any, seed: int, tile: int | None, files: bool) -> Any:
        """Translate an image (B, C or 1, H, W) of more than 4 million pixels, or with the ``tile`` that a caller asked for.

        ``model`` is the ``i2i.translation.translator.Translator``, ``way`` (source key, target key), ``given`` the
        network's further inputs. Return what :meth:`Translator.batch` returns, (B, C_target, H, W), or with ``files`` pixels
        for pixels (``i2i.pictures.pixels``). None lets the network translate the whole image. The first result counts.
        """
