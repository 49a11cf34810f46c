"""A generator once more, with other values of options that may change after training, on the same weights."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from i2i.building.parts import Parts, build_generator
from i2i.building.reach import leave_out, left_out
from i2i.errors import UserError, one_line
from i2i.layers import set_fast
from i2i.randomness import seeded
from i2i.recipe import Recipe
from i2i.recipe.at_use import changed_options, generators_of
from i2i.registry import Registry


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
