"""Whether the networks that a loss calls offer what it needs of them beside images and logits."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from i2i.building.keywords import check_keywords
from i2i.building.naming import judged, keyed
from i2i.errors import UserError
from i2i.protocols import Needs
from i2i.recipe import Recipe
from i2i.registry import Entry, Registry


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
        others = [entry.name for entry in registry.entries(kind) if unmet <= _promised(entry)]
        such, it = f" ({', '.join(others)})" if others else "", "it" if len(unmet) == 1 else "them"
        raise UserError(
            f"loss '{name}' needs {' and '.join(map(repr, sorted(unmet)))} of the {kind}, and '{component}' does not "
            f"expose {it}. Choose a {kind} that does{such}, or set the weights of the terms that need {it} to 0."
        )


def _called(recipe: Recipe, kind: str, network: Any, keys: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """The components that a loss calls; *keys* are those of networks by their place in the recipe."""
    for place, component in recipe.components(kind).items():
        if network is not None and (place == () or place[0] in keys):
            yield component.name, network.networks[keys[str(place[0])]] if place else network


def _promised(entry: Entry) -> frozenset[str]:
    """What a component exposes whatever its options are, as far as its factory says so."""
    try:
        exposes = getattr(entry.factory, "exposes", None)
    except UserError:  # it cannot be imported
        return frozenset()
    return exposes if isinstance(exposes, frozenset) else frozenset()
