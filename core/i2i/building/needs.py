"""Whether the data and the networks have what a loss needs of them: domains and pairs, keywords and extras."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from i2i.building.naming import judged, keyed
from i2i.errors import UserError
from i2i.objectives import pairing_objective
from i2i.protocols import Dataset, Needs
from i2i.recipe import Recipe
from i2i.recipe.components import Component
from i2i.registry import Entry, Registry


def accepted(generator: Any) -> frozenset[str]:
    """The keywords that a generator takes: its attribute ``accepts``, if it has one."""
    return frozenset(getattr(generator, "accepts", ()))


def owed(extra: str, keywords: Iterable[str], given: Container[str]) -> bool:
    """Whether a call that was given these of its *keywords* returns the extra: ``style_mean`` belongs to ``style``."""
    return all(key in given for key in keywords if extra.startswith(f"{key}_"))


def check_keywords(name: str, needs: Needs, component: str, generator: Any) -> None:
    """The generator takes what the loss *name* gives it, and so owes it the extras of keywords.

    Raises:
        UserError: it does not, or an extra belongs to a keyword that the loss does not give.
    """
    takes = accepted(generator)
    if missing := needs.keywords - takes:
        raise UserError(
            f"loss '{name}' passes {_quoted(missing)} to the generator, but '{component}' accepts "
            f"{_quoted(takes) or 'no keyword'}. Choose another generator, or other options of the two."
        )
    if late := [extra for extra in sorted(needs.extras) if not owed(extra, takes, needs.keywords)]:
        raise UserError(
            f"loss '{name}' needs '{late[0]}', which the generator '{component}' returns only to a call that gives it "
            f"{_quoted(takes - needs.keywords)}, and the loss does not."
        )


def check_data(recipe: Recipe, component: Component, loss: Any, dataset: Dataset) -> None:
    """The data have the domains that a loss translates between, and are paired if it compares the pictures of a sample."""
    name, needs = component.name, loss.needs
    if missing := {key for direction in needs.directions for key in direction} - set(dataset.domains):
        ways = ", ".join(f"{source}→{target}" for source, target in needs.directions)
        raise UserError(
            f"loss '{name}' translates {ways}, but dataset '{recipe.dataset.name}' has only the "
            f"domains {', '.join(dataset.domains)}: {', '.join(sorted(missing))} is missing."
        )
    if made := {target for _, target in needs.directions if dataset.domains[target].instances}:
        raise UserError(
            f"loss '{name}' translates into '{dataset.domains[made.pop()].name}', whose instance borders no network can "
            "make. Leave the instances out of the data set."
        )
    pairing = pairing_objective(loss, component.options) if needs.adversarial else ""
    if (needs.paired or pairing) and not dataset.paired:
        compares = f"with {pairing} compares pictures of the same sample" if pairing else "compares pixels"
        raise UserError(
            f"loss '{name}' {compares} and needs paired data, but dataset '{recipe.dataset.name}' is unpaired. Set "
            f"'dataset.paired: true' if its sides are aligned, or choose a loss {'and an objective ' if pairing else ''}for "
            "unpaired data."
        )


def check_needs(
    recipe: Recipe, name: str, needs: Needs, generator: nn.Module, discriminator: nn.Module | None, registry: Registry
) -> None:
    """Each network that the loss *name* calls accepts and exposes what the loss needs of that player.

    Raises:
        UserError: one does not; it names that component, and others that do.
    """
    ways = {key: f"{source}_{target}" for key, (source, target) in keyed(needs.directions).items()}
    for component, network in _called(recipe, "generator", generator, ways):
        check_keywords(name, needs, component, network)
        _check_exposed(name, "generator", needs.extras, component, network, registry)
    for component, network in _called(recipe, "discriminator", discriminator, {key: key for key in judged(needs)}):
        _check_exposed(name, "discriminator", needs.verdict, component, network, registry)


def _check_exposed(name: str, kind: str, wanted: frozenset[str], component: str, network: Any, registry: Registry) -> None:
    if unmet := wanted - frozenset(network.exposes):
        names = [entry.name for entry in registry.entries(kind) if unmet <= _promised(entry)]
        others = [other for other in names if other != component]
        such, it = f" ({', '.join(others)})" if others else "", "it" if len(unmet) == 1 else "them"
        how = " with these options" if component in names else ""
        raise UserError(
            f"loss '{name}' needs {_quoted(unmet)} of the {kind}, and '{component}' does not expose {it}{how}. "
            f"Choose a {kind} that does{such}, or set the weights of the terms that need {it} to 0."
        )


def _called(recipe: Recipe, kind: str, network: Any, keys: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """The components that a loss calls; *keys* are those of networks by direction or domain."""
    for place, component in recipe.components(kind).items():
        key = place[0] if place and isinstance(place[0], int) else keys.get(str(*place))
        if network is not None and (place == () or key is not None):
            yield component.name, network.networks[key] if place else network


def _promised(entry: Entry) -> frozenset[str]:
    """What a component exposes with any options, if its factory says so."""
    try:
        exposes = getattr(entry.factory, "exposes", None)
    except UserError:  # it cannot be imported
        return frozenset()
    return exposes if isinstance(exposes, frozenset) else frozenset()


def _quoted(names: Iterable[str]) -> str:
    return " and ".join(f"'{name}'" for name in sorted(names))
