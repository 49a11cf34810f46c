"""Measuring a model: every metric over held-out pictures, in one process or several, with each figure's protocol.

Each picture is translated as by ``i2i translate --style-seed``, in any batch. Processes take whole batches in turn, and
merge what their metrics have seen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from pydantic_core import to_jsonable_python
from torch import Tensor

from i2i.building.held_out import complete
from i2i.building.naming import between
from i2i.building.needs import accepted
from i2i.building.parts import construct
from i2i.data import SeededDataset, to_device
from i2i.errors import UserError
from i2i.metrics import Figure, Metric, Seen, State
from i2i.protocols import Batch, Direction, Domain
from i2i.recipe.components import Component
from i2i.translation.model_folder import own_version
from i2i.translation.translator import Translator
from i2i_evaluate.held import Held

Gather = Callable[[Any], list[Any]]
"""The same object of every process, in their order."""


class Fitted(NamedTuple):
    """A metric built for a direction; ``name`` is the component's, ``options`` are complete."""

    name: str
    metric: Metric
    options: Mapping[str, Any] = MappingProxyType({})


class Evaluation:
    """A model, the pictures held out, and metrics for each direction; ``run`` may be called once.

    With *lenient*, metrics that do not fit the model or the data are left out, and ``notes`` say why; else that is an error.

    Raises:
        UserError: the data lack a domain of the model, or a metric cannot be had, or not with these data.
    """

    def __init__(
        self,
        translator: Translator,
        held: Held,
        metrics: Sequence[Component],
        *,
        directions: Sequence[Direction] | None = None,
        seed: int = 0,
        batch_size: int = 8,
        lenient: bool = False,
    ) -> None:
        self.translator, self.held, self.seed, self.batch_size, self.lenient = translator, held, seed, batch_size, lenient
        self.keys = matched(translator.domains, held.dataset.domains, held.name)
        self.directions = list(directions or between(translator.directions))
        self.notes: list[str] = []
        self.left_out: dict[str, list[str]] = {}
        self.sizes: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metrics: dict[Direction, list[Fitted]] = {way: self._fitting(metrics, way) for way in self.directions}
        if not any(self.metrics.values()):
            raise UserError("no metric fits this model and these data. " + " ".join(self.notes))

    def run(self, share: tuple[int, int] = (0, 1), gather: Gather | None = None) -> list[Figure]:
        """All figures. ``share`` is this process's number and the number of processes, which *gather* connects."""
        for batch, indices in self._batches(*share):
            self.look(batch, indices)
        if gather is not None:
            self._merge(gather((self.sizes, [metric.state() for metric in self.every_metric()])))
        return [figure for way in self.directions for figure in self._figures(way)]

    def look(self, batch: Batch, indices: Sequence[int]) -> None:
        """Show a batch, by the model's keys, to the metrics of all directions."""
        for way in self.directions:
            if not self.metrics[way]:
                continue
            source, target = way
            translate = self._translate(indices)
            made = translate(batch[source], source, target, 0)
            back = partial(self._back, made, way, batch[source], indices)
            styled = "style" in accepted(self.translator.module)
            seen = Seen(indices, way, batch[source], made, batch[target], translate, back, styled)
            for fitted in list(self.metrics[way]):
                with self._naming(fitted.name, way):
                    fitted.metric.update(seen)

    def first_batch(self) -> tuple[Batch, list[int]]:
        """The first pictures of one size."""
        return next(self._batches(0, 1))

    def every_metric(self) -> list[Metric]:
        """The metrics of all directions."""
        return [fitted.metric for way in self.directions for fitted in self.metrics[way]]

    def _figures(self, way: Direction) -> Iterator[Figure]:
        common = self._protocol(way)
        for fitted in list(self.metrics[way]):
            with self._naming(fitted.name, way):
                for figure in fitted.metric.figures():
                    own = figure.protocol
                    versions = {**common["versions"], **own.get("versions", {})}
                    options = {key: value for key, value in fitted.options.items() if value is not None and key not in own}
                    yield replace(figure, protocol={**common, **own, "options": options, "versions": versions})

    def _protocol(self, way: Direction) -> dict[str, Any]:
        """The part of the protocol that all figures of a direction share."""
        return {
            "direction": arrow(self.translator, way),
            "data": {"name": self.held.name, **self.held.options},
            "split": self.held.split,
            "pictures": len(self.held.indices),
            "size": self.sizes[0] if len(self.sizes) == 1 else "mixed",
            "ema": self.translator.recorded.get("ema") is not None,
            "statistics": "each picture's own" if self._mixes(way) else "fixed",
            "seed": self.seed,
            **({"use": dict(self.translator.use)} if self.translator.use else {}),
            "versions": {"i2i": own_version(), "torch": torch.__version__},
        }

    def _mixes(self, way: Direction) -> bool:
        """Whether the model would take a batch's statistics, which are a picture's own where it is alone."""
        if not self.shapes:  # this process had no picture
            first = SeededDataset(self.held.dataset, self.seed)[0, self.held.indices[0]]
            self.shapes = {key: tuple(image.shape) for key, image in first.items()}
        height, width = self.shapes[self.keys[way[0]]][-2:]
        return self.translator.dependence(way, (height, width)).others

    def _batches(self, process: int, processes: int) -> Iterator[tuple[Batch, list[int]]]:
        """This process's batches by the model's keys, each of pictures of one size, and their numbers."""
        data, indices = SeededDataset(self.held.dataset, self.seed), self.held.indices
        chunks = [indices[start : start + self.batch_size] for start in range(0, len(indices), self.batch_size)]
        for chunk in chunks[process::processes]:
            drawn = ((index, data[0, index]) for index in chunk)
            for _, group in groupby(drawn, key=lambda pair: [tuple(image.shape) for image in pair[1].values()]):
                numbers, samples = zip(*group, strict=True)
                stacked = {key: torch.stack([sample[key] for sample in samples]) for key in self.held.dataset.domains}
                self._remember(stacked)
                on_device = to_device(stacked, self.held.dataset.domains, self.translator.device)
                yield {key: on_device[there] for key, there in self.keys.items()}, list(numbers)

    def _remember(self, batch: Mapping[str, Tensor]) -> None:
        """Keep the shapes of the last pictures, and the sizes of all, two at most."""
        self.shapes = {key: tuple(images.shape) for key, images in batch.items()}
        sizes = {" x ".join(map(str, reversed(images.shape[-2:]))) for images in batch.values()}
        self.sizes = sorted({*self.sizes, *sizes})[:2]

    def _translate(self, indices: Sequence[int]) -> Callable[[Tensor, str, str, int], Tensor]:
        def translate(images: Tensor, source: str, target: str, draw: int) -> Tensor:
            made = self.translator.batch(images, (source, target), seed=self.seed + draw).to(images.device)
            return _finite(made, indices)

        return translate

    def _back(self, made: Tensor, way: Direction, originals: Tensor, indices: Sequence[int]) -> Tensor:
        return _finite(self.translator.back(made, way, originals, self.seed).to(made.device), indices)

    def _merge(self, everyone: Sequence[tuple[list[str], list[State]]]) -> None:
        self.sizes = sorted({size for sizes, _ in everyone for size in sizes})[:2]
        for place, metric in enumerate(self.every_metric()):
            metric.merge([states[place] for _, states in everyone])

    def _fitting(self, components: Sequence[Component], way: Direction) -> list[Fitted]:
        """The metrics, built for a direction and checked against the data."""
        offered = {
            "domains": self.translator.domains,
            "direction": way,
            "directions": self.translator.directions,
            "seed": self.seed,
            "plugins": self.translator.registry,
        }
        found: list[Fitted] = []
        for component in components:
            try:
                options = complete("metric", component, self.translator.registry)
                component = component.model_copy(update={"options": options})
                metric: Metric = construct(self.translator.registry, "metric", component, **offered)
                self._check(component.name, metric)
            except UserError as error:
                if not self.lenient:
                    raise
                self._note(way, str(error))
                continue
            found.append(Fitted(component.name, metric, to_jsonable_python(options)))
        return found

    def _check(self, name: str, metric: Metric) -> None:
        """Check that a metric of pairs has pairs, and every metric enough pictures."""
        if metric.paired and not self.held.dataset.paired:
            registry = self.translator.registry
            others = [e.name for e in registry.entries("metric") if not getattr(e.factory, "paired", False)]
            raise UserError(
                f"metric '{name}' compares each translation with its truth, but the data '{self.held.name}' are unpaired. "
                f"These need no pairs: {', '.join(others)}."
            )
        if len(self.held.indices) < metric.least:
            raise UserError(f"metric '{name}' needs at least {metric.least} pictures; there are {len(self.held.indices)}.")

    def _naming(self, name: str, way: Direction) -> "_Naming":
        return _Naming(self, name, way)

    def _note(self, way: Direction, text: str) -> None:
        """Note one line for each reason, with the directions that it applies to."""
        self.left_out.setdefault(text, []).append(arrow(self.translator, way))
        every = len(self.directions)
        self.notes[:] = [
            f"left out for {'every direction' if len(ways) == every > 1 else ', '.join(ways)}: {why}"
            for why, ways in self.left_out.items()
        ]


def _finite(made: Tensor, indices: Sequence[int]) -> Tensor:
    """Translations, if all of their numbers are finite.

    Raises:
        UserError: one of the samples with these numbers is not.
    """
    finite = torch.isfinite(made).flatten(1).all(1)
    if not bool(finite.all()):
        bad = indices[int((~finite).nonzero()[0])]
        raise UserError(f"sample {bad}: the translation holds NaN or infinite values; the model is broken.")
    return made


class _Naming:
    """A context in which a metric's error names the metric; a lenient evaluation continues without it."""

    def __init__(self, evaluation: Evaluation, name: str, way: Direction) -> None:
        self.evaluation, self.name, self.way = evaluation, name, way

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, UserError):
            return False
        text = f"metric '{self.name}': {error}"
        if not self.evaluation.lenient:
            raise UserError(text) from error
        metrics = self.evaluation.metrics
        metrics[self.way] = [fitted for fitted in metrics[self.way] if fitted.name != self.name]
        self.evaluation._note(self.way, text)
        return True


def arrow(translator: Translator, way: Direction) -> str:
    """``day → night``."""
    return f"{translator.label(way[0])} → {translator.label(way[1])}"


def matched(wanted: Mapping[str, Domain], there: Mapping[str, Domain], name: str) -> dict[str, str]:
    """For each of the model's keys, the data's key of the same domain: by name, otherwise by key.

    Raises:
        UserError: the data lack a domain.
    """
    keys = {}
    for key, domain in wanted.items():
        shape = (domain.kind, domain.channels)
        same = [k for k, d in there.items() if (d.kind, d.channels) == shape and (d.name == domain.name or k == key)]
        same.sort(key=lambda k: (there[k].name != domain.name, k != key))
        if not same:
            raise UserError(
                f"the model has the domain {_described(domain)}, and the data '{name}' have only "
                f"{' and '.join(_described(d) for d in there.values())}. Give data of the model's domains."
            )
        keys[key] = same[0]
    if len(set(keys.values())) < len(keys):
        raise UserError(f"two of the model's domains match the same pictures in the data '{name}'. Give data with both.")
    return keys


def _described(domain: Domain) -> str:
    return f"'{domain.name}' ({domain.kind}, {domain.channels} channels)"
