"""From a checked recipe to the parts of a run, with every check that can be made before step 0."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from i2i.data import SeededDataset
from i2i.errors import UserError
from i2i.labels import check_ids
from i2i.options import SUPPLIED
from i2i.protocols import Dataset, Direction, Domain, Needs
from i2i.recipe import Component, Recipe
from i2i.registry import Registry
from i2i.rehearsal import rehearse


@dataclass(frozen=True)
class Parts:
    """What a recipe describes, built. ``discriminator`` is None for a loss that is not adversarial."""

    dataset: Dataset
    loss: nn.Module
    generator: nn.Module
    discriminator: nn.Module | None

    @property
    def domains(self) -> Mapping[str, Domain]:
        return self.dataset.domains

    @property
    def needs(self) -> Needs:
        needs = self.loss.needs
        assert isinstance(needs, Needs)
        return needs


def build(recipe: Recipe, registry: Registry) -> Parts:
    """Build the data set, the loss, the generator and the discriminator, and check that they fit.

    Raises:
        UserError: a constructor refuses its options, or a need of the loss is not met.
    """
    dataset = build_dataset(recipe.dataset, registry)
    domains = dataset.domains
    loss = construct(registry, "loss", recipe.loss, domains=domains)
    needs: Needs = loss.needs
    check_data(recipe, needs, dataset)
    generator = construct(registry, "generator", recipe.generator, domains=domains, directions=needs.directions)
    discriminator = _discriminator(recipe, registry, needs, domains)
    _check_extras(recipe, needs, generator, discriminator)
    sample = check_sample(recipe, dataset, divisor_of(generator))
    judge = recipe.discriminator.name if recipe.discriminator is not None else ""
    rehearse(sample, domains, needs, generator, discriminator, (recipe.generator.name, judge))
    return Parts(dataset, loss, generator, discriminator)


def build_dataset(component: Component, registry: Registry, **over: Any) -> Dataset:
    """The recipe's data set; *over* are options laid over its own (``split="test"`` for held-out pictures)."""
    merged = component.model_copy(update={"options": {**component.options, **over}})
    dataset: Dataset = construct(registry, "dataset", merged)
    if len(dataset) == 0:
        raise UserError(f"dataset '{component.name}' holds no sample with these options: {merged.options}")
    return dataset


def construct(registry: Registry, kind: str, component: Component, **supplied: Any) -> Any:
    """Call a component's factory; what it raises is reported with the plugin's and the component's name."""
    assert set(supplied) == set(SUPPLIED[kind])
    entry = registry.get(kind, component.name)
    try:
        return entry.factory(**supplied, **component.options)
    except UserError as error:
        raise UserError(f"{kind} '{component.name}': {error}") from error
    except Exception as error:
        raise UserError(
            f"{kind} '{component.name}' of the plugin '{entry.plugin}' could not be built: {type(error).__name__}: {error}"
        ) from error


def _discriminator(recipe: Recipe, registry: Registry, needs: Needs, domains: Mapping[str, Domain]) -> nn.Module | None:
    if not needs.adversarial:
        return None
    if recipe.discriminator is None:
        raise UserError(
            f"loss '{recipe.loss.name}' is adversarial and the recipe has no discriminator. "
            f"Add 'discriminator: {{name: …}}'; there are: {', '.join(registry.names('discriminator'))}."
        )
    across = [(source, target) for source, target in needs.directions if source != target]
    judged = {target: domains[target] for _, target in across}
    conditions = {target: domains[source] for source, target in across} if needs.conditional else {}
    module: nn.Module = construct(registry, "discriminator", recipe.discriminator, domains=judged, conditions=conditions)
    return module


def check_data(recipe: Recipe, needs: Needs, dataset: Dataset) -> None:
    """The data have the domains that the loss translates between, and are paired if it compares pixel by pixel."""
    name = recipe.loss.name
    missing = {key for direction in needs.directions for key in direction} - set(dataset.domains)
    if missing:
        raise UserError(
            f"loss '{name}' translates {_arrows(needs.directions)}, but dataset '{recipe.dataset.name}' has only the "
            f"domains {', '.join(dataset.domains)}: {', '.join(sorted(missing))} is missing."
        )
    if needs.paired and not dataset.paired:
        raise UserError(
            f"loss '{name}' compares pixel by pixel and needs paired data, but dataset '{recipe.dataset.name}' is unpaired. "
            "Set 'dataset.paired: true' if its sides are aligned, or choose a loss for unpaired data."
        )


def _check_extras(recipe: Recipe, needs: Needs, generator: nn.Module, discriminator: nn.Module | None) -> None:
    offered = _exposed(generator)
    exposed = offered | (_exposed(discriminator) if discriminator is not None else frozenset())
    unmet = sorted(needs.extras - exposed)
    if unmet:
        has = f"exposes {', '.join(sorted(offered))}" if offered else "exposes none"
        raise UserError(
            f"loss '{recipe.loss.name}' needs {' and '.join(repr(extra) for extra in unmet)}, which neither the generator "
            f"'{recipe.generator.name}' ({has}) nor the discriminator offers. Choose a generator that exposes it, or set "
            "the weights of the terms that need it to 0."
        )


def _exposed(network: nn.Module) -> frozenset[str]:
    exposes: Any = network.exposes
    return frozenset(exposes)


def divisor_of(generator: nn.Module) -> int:
    """What H and W must be multiples of."""
    divisor: Any = generator.divisor
    return int(divisor)


def check_sample(recipe: Recipe, dataset: Dataset, divisor: int) -> dict[str, Tensor]:
    """The first sample, checked: keys, channels, type and range, and a size that the generator can take."""
    sample = SeededDataset(dataset, 0)[0, 0]
    name = recipe.dataset.name
    if set(sample) != set(dataset.domains):
        raise UserError(f"dataset '{name}' gave the keys {sorted(sample)} for the domains {sorted(dataset.domains)}.")
    for key, domain in dataset.domains.items():
        _check_image(sample[key], domain, f"dataset '{name}', domain {key} ({domain.name})")
        h, w = sample[key].shape[-2:]
        if h % divisor or w % divisor:
            good = max(divisor, min(h, w) // divisor * divisor)
            raise UserError(
                f"images of dataset '{name}' are {w} x {h}, but the generator '{recipe.generator.name}' needs multiples of "
                f"{divisor}. Set the crop to {good}."
            )
    return sample


def _check_image(image: Tensor, domain: Domain, where: str) -> None:
    if image.ndim != 3:
        raise UserError(f"{where}: a sample has the shape {tuple(image.shape)}; expected (C, H, W).")
    if domain.kind == "labels":
        check_ids(image, domain, where)
        return
    if image.shape[0] != domain.channels:
        raise UserError(f"{where}: a sample has {image.shape[0]} channels; the domain says {domain.channels}.")
    low, high = float(image.min()), float(image.max())
    if not (-1.001 <= low <= high <= 1.001):
        raise UserError(f"{where}: values lie in [{low:.3g}, {high:.3g}]; expected [-1, 1].")


def _arrows(directions: tuple[Direction, ...]) -> str:
    return ", ".join(f"{source}→{target}" for source, target in directions)
