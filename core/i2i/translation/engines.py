"""What ``--backend`` can name: engines of plugins, which compute a trained generator; ``torch`` is the core's own.

A plugin registers a factory by the hook ``register_engines``. It is called with the translator once a model is loaded, and
gives ``engine(x, source, target) -> images``: x (B, C, H, W), float32, prepared and padded as the generator takes it, on the
translator's device; images (B, C_target, H, W), on any. A style goes only to an engine whose signature takes ``**given``.

Two attributes of the factory are looked at before weights are read. ``precisions`` are what it computes in (without it, fp32
alone); the translator has the one that was asked for. ``needs`` are top-level modules that it imports, with what pip
installs for each. High resolution goes through torch in any case, as tiles need to look into the network.
"""

import inspect
from collections.abc import Mapping
from importlib.util import find_spec

from torch import Tensor

from i2i.errors import UserError
from i2i.hooks import Factory
from i2i.registry import Registry

TORCH = "torch"


def engine_called(backend: str, precision: str, registry: Registry) -> Factory | None:
    """The factory of the engine with that name; None for torch.

    Raises:
        UserError: no plugin that is loaded has such an engine, it or its library is not there, or it does not compute in
            *precision*.
    """
    if backend == TORCH:
        return None
    try:
        factory = registry.get("engine", backend).factory
    except UserError as error:
        raise UserError(f"backend: {error} {TORCH} is always available.") from error
    needs: Mapping[str, str] = getattr(factory, "needs", {})
    if package := next((package for module, package in needs.items() if find_spec(module) is None), None):
        raise UserError(f"the backend {backend} is not installed: pip install '{package}'.")
    able = getattr(factory, "precisions", ("fp32",))
    if precision not in able:
        raise UserError(
            f"the backend {backend} computes in {' or '.join(able)}, not in {precision}. Use that, or the backend {TORCH}."
        )
    return factory


class Engine:
    """An engine in use, which is only called with what it supports."""

    def __init__(self, name: str, run: Factory) -> None:
        self.name, self.run = name, run

    def __call__(self, x: Tensor, source: str, target: str, **given: Tensor) -> Tensor:
        if given and not self._takes(given):
            raise UserError(f"the backend {self.name} takes no {' or '.join(given)}. Use the backend {TORCH}.")
        made: Tensor = self.run(x, source, target, **given).to(x.device)
        if len(made) != len(x) or made.shape[2:] != x.shape[2:]:
            raise UserError(f"the backend {self.name} made {tuple(made.shape)} of {tuple(x.shape)}. Use the backend {TORCH}.")
        return made

    def _takes(self, given: dict[str, Tensor]) -> bool:
        try:
            inspect.signature(self.run).bind(None, "", "", **given)
        except TypeError:
            return False
        return True
