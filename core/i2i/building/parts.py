"""From a checked recipe to the parts of a run, with every check that can be made before step 0."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from i2i.building.combined import ByDirection, ByDomain, Losses, joined
from i2i.building.judges import build_judges, check_unused, judges_of
from i2i.building.naming import NAME, judged, keyed
from i2i.building.needs import check_data, check_needs
from i2i.building.reach import leave_out, left_out
from i2i.building.sample import Size, check_sample, check_sizes, sizes_of
from i2i.errors import UserError, nearest, one_line
from i2i.layers import set_fast
from i2i.objectives import built, let_change, of_the_start
from i2i.protocols import Dataset, Direction, Domain, Needs
from i2i.randomness import seeded
from i2i.recipe import Recipe
from i2i.recipe.at_use import changed_options, generators_of
from i2i.recipe.components import Component
from i2i.recipe.nodes import Loc
from i2i.recipe.options import OFFERED, SUPPLIED, taken
from i2i.registry import Entry, Registry

MEMBERS = {
    "dataset": ("domains", "paired", "__len__", "__getitem__"),
    "generator": ("exposes", "divisor"),
    "discriminator": ("exposes",),
    "loss": ("needs", "order", "fresh_fakes", "networks", "translate", "generator_terms"),
}
"""What the core always uses of a component, by kind."""


@dataclass(frozen=True)
class Parts:
    """What a recipe describes, built. ``discriminator`` is None for a loss that is not adversarial.

    ``sizes`` are (height, width) of the first sample's pictures, by domain.
    """

    dataset: Dataset
    loss: nn.Module
    generator: nn.Module
    discriminator: nn.Module | None
    sizes: Mapping[str, Size]

    @property
    def domains(self) -> Mapping[str, Domain]:
        return self.dataset.domains

    @property
    def needs(self) -> Needs:
        needs = self.loss.needs
        assert isinstance(needs, Needs)
        return needs

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks and the loss by their kinds, without the discriminator if there is none."""
        found = {"generator": self.generator, "discriminator": self.discriminator, "loss": self.loss}
        return {kind: network for kind, network in found.items() if network is not None}

    @property
    def notes(self) -> list[str]:
        """What the networks and the loss, and parts of them, tell in an attribute ``notes``, lines for the log."""
        told = [getattr(module, "notes", ()) for network in self.networks.values() for module in network.modules()]
        return list(dict.fromkeys(note for notes in told if isinstance(notes, tuple) for note in notes))


def build(recipe: Recipe, registry: Registry, dataset: Dataset | None = None) -> Parts:
    """Build the data set unless it is given, the loss, the generator and the discriminator, and check that they fit.

    Raises:
        UserError: a constructor refuses its options, or a need of the loss is not met.
    """
    dataset = build_dataset(recipe.dataset, registry) if dataset is None else dataset
    domains = dataset.domains
    losses = build_losses(recipe, registry, domains)
    loss = losses[0][1] if len(losses) == 1 else Losses(losses)
    needs: Needs = loss.needs
    for component, (_, part) in zip(recipe.components("loss").values(), losses, strict=True):
        check_data(recipe, component, part, dataset)
    sizes = sizes_of(check_sample(recipe, dataset, wants=needs.wants), domains)
    generator = build_generator(recipe, registry, domains, needs.directions, sizes)
    check_sizes(recipe, sizes.values(), generator)
    discriminator = build_discriminator(recipe, registry, needs, domains, sizes)
    if discriminator is None:
        check_unused(recipe)
    if recipe.train.augment and "features" in needs.verdict:
        raise UserError(
            f"train.augment: loss '{recipe.called('loss')}' compares the discriminator's features of two images, which would "
            "be augmented differently. Leave 'augment' out, or set the loss's weight 'features' to 0."
        )
    for name, part in losses:
        check_needs(recipe, name, part.needs, generator, discriminator, registry)
    return Parts(dataset, loss, generator, discriminator, sizes)


def build_losses(recipe: Recipe, registry: Registry, domains: Mapping[str, Domain]) -> list[tuple[str, Any]]:
    """The recipe's losses with their names; each may ask for the needs of those before it."""
    losses: list[tuple[str, Any]] = []
    for component in recipe.components("loss").values():
        beside = joined([(name, loss.needs) for name, loss in losses]) if losses else None
        losses.append((component.name, construct(registry, "loss", component, domains=domains, beside=beside)))
    return losses


def build_generator(
    recipe: Recipe,
    registry: Registry,
    domains: Mapping[str, Domain],
    directions: tuple[Direction, ...],
    sizes: Mapping[str, Size],
) -> nn.Module:
    """The recipe's generator: one for all directions, or one for each; *sizes* are those of the domains' pictures."""
    components = recipe.components("generator")

    def built(place: Loc, *ways: Direction) -> nn.Module:
        given = {"domains": domains, "directions": ways, "size": sizes[ways[0][0]]}
        made: nn.Module = construct(registry, "generator", components[place], **given)
        return made

    if () in components:
        return built((), *directions)
    given = keyed(directions)
    _check_keys("generator", "directions", components, given)
    return ByDirection({direction: built((key,), direction) for key, direction in given.items()})


def built_for_use(recipe: Recipe, registry: Registry, parts: Parts, use: Mapping[str, Any]) -> nn.Module:
    """The recipe's generator with the options *use*, which fit; its weights are to be ``lent``."""
    components = {"".join(map(str, place)): component for place, component in recipe.components("generator").items()}
    options, _ = changed_options(generators_of(recipe.components("generator"), registry), use)
    changed = {key: component.model_copy(update={"options": options[key]}) for key, component in components.items()}
    other = recipe.model_copy(update={"generator": changed.get("", changed)})
    with seeded(0):
        network = build_generator(other, registry, parts.domains, parts.needs.directions, parts.sizes)
    set_fast([network], recipe.train.fast)
    return network


def lent(network: nn.Module, trained: nn.Module) -> nn.Module:
    """*network* in evaluation mode on the weights and buffers that the trained one has now: they are shared, not copied.

    Raises:
        UserError: they do not fit.
    """
    try:
        leave_out(network, left_out(trained)).load_state_dict(trained.state_dict(), assign=True)
    except RuntimeError as error:
        raise UserError(
            f"{type(network).__name__}: an option in its 'at_use' changes its weights: {one_line(error)}"
        ) from error
    return network.eval()


def _check_keys(kind: str, what: str, components: Mapping[Loc, Component], needed: Iterable[str]) -> None:
    """Check that there is exactly one component for each key that the loss needs."""
    keys, needed = [str(place[0]) for place in components], list(needed)
    for key in keys:
        if key not in needed:
            raise UserError(f"{kind}.{key}: the loss needs the {what} {', '.join(needed)}.{nearest(key, needed)}")
    if missing := [key for key in needed if key not in keys]:
        raise UserError(f"{kind}: the loss needs the {what} {', '.join(needed)}; add '{missing[0]}: {{name: …}}'.")


def build_dataset(component: Component, registry: Registry, **over: Any) -> Dataset:
    """The recipe's data set; *over* are options laid over its own (``split="test"`` for held-out pictures)."""
    merged = component.model_copy(update={"options": {**component.options, **over}})
    dataset: Dataset = construct(registry, "dataset", merged)
    if len(dataset) == 0:
        raise UserError(f"dataset '{component.name}' has no samples with these options: {merged.options}")
    for key in dataset.domains:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9]*", key) or hasattr(nn.ModuleDict, key):
            raise UserError(
                f"dataset '{component.name}': a domain cannot have the key '{key}', because networks are saved under it. "
                "Use a letter, then letters and digits, but not a name that torch's modules use."
            )
    names = [domain.name for domain in dataset.domains.values()]
    words = [*names, *(word for domain in dataset.domains.values() for word in domain.classes)]
    if odd := [word for word in words if len(word) > NAME or not word.isprintable()]:  # a model with it could not be read
        told = f"must be printable text of at most {NAME} characters, as models are saved with it"
        raise UserError(f"dataset '{component.name}': the name {odd[0]!r} of a domain or class {told}.")
    if two := [name for name in names if names.count(name) > 1]:
        hint = " with 'dataset.names'" if "names" in merged.options else ""
        raise UserError(f"dataset '{component.name}': two domains are called '{two[0]}'. Give each domain its own name{hint}.")
    return dataset


def construct(registry: Registry, kind: str, component: Component, **supplied: Any) -> Any:
    """Call a component's factory; what it raises is reported with the plugin's and the component's name.

    What is offered beyond ``SUPPLIED`` reaches only a factory whose signature asks for it.
    """
    assert set(SUPPLIED[kind]) <= set(supplied) <= {*SUPPLIED[kind], *OFFERED.get(kind, ())}
    entry = registry.get(kind, component.name)
    try:
        options = built(of_the_start(component.options), registry)
        made = entry.factory(**taken(kind, entry.factory, supplied), **options)
        let_change(made, component.options)
    except UserError as error:
        raise UserError(f"{kind} '{component.name}': {error}") from error
    except Exception as error:
        raise UserError(
            f"{kind} '{component.name}' of the plugin '{entry.plugin}' could not be built: {type(error).__name__}: {error}"
        ) from error
    if kind in MEMBERS:
        _check_members(made, entry)
    return made


def _check_members(made: Any, entry: Entry) -> None:
    """The factory gave what the kind's protocol describes, as far as names say."""
    who = f"{entry.kind} '{entry.name}' of the plugin '{entry.plugin}'"
    if entry.kind != "dataset" and not isinstance(made, nn.Module):
        raise UserError(f"{who}: its factory must return an nn.Module, not a {type(made).__name__}.")
    if lacking := [name for name in MEMBERS[entry.kind] if not hasattr(made, name)]:
        raise UserError(f"{who} has no '{lacking[0]}', which 'i2i.protocols' describes. 'i2i plugins test' checks all of it.")
    if odd := sorted({*getattr(made, "pictures", ())} - made.exposes) if entry.kind == "generator" else ():
        raise UserError(f"{who} names '{odd[0]}' in 'pictures', and does not expose it.{nearest(odd[0], made.exposes)}")
    if wrong := misnamed(made) if entry.kind == "loss" else "":
        raise UserError(f"{who}: {wrong}")


def misnamed(loss: Any) -> str:
    """What is wrong with a loss's ``order`` and ``networks``, or an empty string."""
    orders, modules = ("generator_first", "discriminator_first"), [name for name, _ in loss.named_modules() if name]
    if loss.order not in orders:
        return f"'order' is {loss.order!r}, and must be {' or '.join(map(repr, orders))}."
    if odd := [name for name in loss.networks if name not in modules]:
        return f"'networks' names '{odd[0]}', which is not a module of the loss.{nearest(odd[0], modules)}"
    own = tuple(f"{name}." for name in loss.networks)
    if lost := [name for name, p in loss.named_parameters() if p.requires_grad and not name.startswith(own)]:
        return f"'{lost[0]}' is not trained: list its module in 'networks', or make it a buffer."
    return ""


def build_discriminator(
    recipe: Recipe, registry: Registry, needs: Needs, domains: Mapping[str, Domain], sizes: Mapping[str, Size]
) -> nn.Module | None:
    """The recipe's discriminator: one for all judged domains, one for each, or several; None if the loss is not adversarial."""
    if not needs.adversarial:
        return None
    if recipe.discriminator is None:
        raise UserError(
            f"loss '{recipe.called('loss')}' is adversarial, but the recipe has no discriminator. "
            f"Add 'discriminator: {{name: …}}'; there are: {', '.join(registry.names('discriminator'))}."
        )
    sources = judged(needs)
    shown = {target: domains[target] for target in sources}
    conditions = {target: domains[source] for target, source in sources.items()} if needs.conditional else {}
    components = recipe.components("discriminator")

    def built(place: Loc, *keys: str) -> nn.Module:
        seen = {key: conditions[key] for key in keys if key in conditions}
        given = {"domains": {key: shown[key] for key in keys}, "conditions": seen, "size": sizes[keys[0]]}
        made: nn.Module = construct(registry, "discriminator", components[place], **given)
        return made

    if () in components:
        return built((), *shown)
    if judges_of(recipe):
        return build_judges(recipe, lambda i: built((i,), *shown))
    _check_keys("discriminator", "domains", components, shown)
    return ByDomain({key: built((key,), key) for key in shown})
