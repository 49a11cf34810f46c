"""Every door for plugins on one page: the hooks that a plugin may implement.

What must be known before any plugin is imported comes in by other doors (``declared.py``): commands, sections and recipes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

from i2i.declared import GROUP

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's function as the implementation of the hook of the same name."""

Factory = Callable[..., Any]


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
    def register_datasets(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Datasets: name -> factory ``(**options)``, or ``"module:object"``."""

    @hookspec
    def register_metrics(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Metrics: name -> factory ``(**options)``, or ``"module:object"``."""

    @hookspec
    def register_converters(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """Published forms of checkpoints: name -> converter, see ``i2i.published``, or ``"module:object"``."""

    @hookspec
    def register_engines(self) -> Mapping[str, Factory | str]:  # type: ignore[empty-body]
        """What ``--backend`` can name: name -> factory ``(translator)``, or its place; see ``i2i.translation.engines``."""

    @hookspec(firstresult=True)
    def choose_settings(self, recipe: Any, registry: Any, before: Any, console: Any) -> Any:
        """The recipe with values for what it leaves to ``auto``, or None; the first plugin that gives one decides.

        Called in every process of ``i2i run``, before the run is assembled and not in a dry run. *before* is the recipe of the
        run that goes on, or None; *console* is there to say what was chosen. What stays ``auto`` takes the value that the run
        had *before*, else the plain one.
        """

    @hookspec
    def run_assembled(self, run: Any) -> Sequence[object]:  # type: ignore[empty-body]
        """Observers of this run: objects whose methods marked :data:`hookimpl` get its events, with state of their own.

        Called in every process of a run and of a dry run, once all is built and restored, before anything is written and the
        first step is made. What it raises ends the run there. No random number that it draws is missing in the training.
        """

    @hookspec
    def run_started(self, run: Any) -> None:
        """Everything is built and step 0 (or the step resumed from) is next.

        In every process, as are the events of a run below that do not say otherwise.
        """

    @hookspec
    def step_ended(self, run: Any) -> None:
        """All networks have made one optimizer step, which is averaged; it is logged, drawn and saved after this."""

    @hookspec
    def numbers_logged(self, run: Any, values: Mapping[str, float]) -> None:
        """*values*, the step and numbers by name, are in metrics.jsonl. In the first process."""

    @hookspec
    def checkpoint_saved(self, run: Any, path: Any) -> None:
        """A complete checkpoint lies at *path*."""

    @hookspec
    def grid_saved(self, run: Any, path: Any, pictures: Any) -> None:
        """A grid of sample pictures lies at *path*. In the first process.

        *pictures* has for each direction those given and those made, (B, C, H, W): ``{("a", "b"): (given, made)}``.
        """

    @hookspec
    def run_ended(self, run: Any) -> None:
        """Training is over, whether it was completed or interrupted."""

    @hookspec
    def image_translated(self, source: Any, target: Any, image: Any) -> None:
        """*image* was translated from the domain *source* to the domain *target*."""

    @hookspec(firstresult=True)
    def translate_large(self, model: Any, image: Any, way: Any, given: Any, seed: int, tile: int | None, files: bool) -> Any:
        """An image (B, C or 1, H, W) of more than 4 million pixels, or with a ``tile`` that a caller asked for, translated.

        ``model`` is the ``i2i.translation.translator.Translator``, ``way`` (source key, target key), ``given`` what its network
        takes beside the image. The result (B, C_target, H, W) is what :meth:`Translator.batch` gives; with ``files``, pixels
        become pixels (``i2i.pictures.pixels``). None leaves it to the network as a whole. The first result counts.
        """
