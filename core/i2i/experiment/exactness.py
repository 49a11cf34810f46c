"""Whether a run with a user's own objects resumes exactly; where it would not, the log says why."""

from copy import deepcopy
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from i2i.data import read_sample
from i2i.experiment.own import PLUGIN, Own, Part
from i2i.hooks import hookimpl
from i2i.protocols import Stream
from i2i.training.assembly import methods_called
from i2i.training.state import Run

_OF_THE_CORE = {"training", "together", "fast", "networks", "exposes", "accepts", "pictures"}
"""Attributes that the core may set."""


class Exactness:
    """Says of a user's own objects why a resumed run would not be the same, where it finds that."""

    def __init__(self, own: Own) -> None:
        self.own = own
        self.before: dict[str, dict[str, str]] = {}

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.before = {part.name: _outside(copy) for part in self.own.parts if (copy := self._copy(part, run)) is not None}
        data, seed = run.parts.dataset, run.recipe.train.seed
        if run.recipe.dataset.name.startswith(f"{PLUGIN}:") and not isinstance(data, Stream):
            one, two = (read_sample(data, seed, (0, 0)) for _ in range(2))
            if odd := [key for key in one if not torch.equal(one[key], two[key])]:
                run.note(
                    f"warning: sample 0 of the data set is another one ('{odd[0]}') when it is read again, so a resume is not "
                    "exact: draw random numbers from torch's, Python's or NumPy's default generators, and keep nothing."
                )

    @hookimpl
    def run_ended(self, run: Run) -> None:
        for part in self.own.parts:
            copy = self._copy(part, run)
            if copy is None or part.name not in self.before:
                continue
            before, after = self.before[part.name], _outside(copy)
            changed = [name for name in after if after[name] != before.get(name)]
            if not changed:
                continue
            fresh = deepcopy(part.module)
            for begin in methods_called("begin", fresh):  # what it sets depends on the step alone
                begin(run.step - 1, run.recipe.train.steps)
            told = _outside(fresh)
            if lost := [name for name in changed if told.get(name) != after[name]]:
                run.note(
                    f"warning: {part.who} changes '{lost[0]}' while it trains, which is not in its state_dict, so a resume is "
                    "not exact. Make it a buffer, or give the class get_extra_state and set_extra_state."
                )

    def _copy(self, part: Part, run: Run) -> nn.Module | None:
        homes = (run.bare_generator, run.discriminator, run.loss)
        return next((found for home in homes if home is not None and (found := part.trained(home)) is not None), None)


def _outside(module: nn.Module) -> dict[str, str]:
    """Hashes of the attributes that a state_dict does not hold, by their dotted names."""
    found = {}
    for path, part in module.named_modules():
        if type(part).get_extra_state is nn.Module.get_extra_state:
            for name, value in vars(part).items():
                if not name.startswith("_") and name not in _OF_THE_CORE:
                    found[f"{path}.{name}".lstrip(".")] = sha256(repr(_plain(value)).encode()).hexdigest()
    return found


def _plain(value: Any) -> Any:
    """A value in terms whose text is the same if the values are."""
    if isinstance(value, Tensor):
        return tuple(value.shape), sha256(
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        ).hexdigest()
    if isinstance(value, dict):
        return [(_plain(key), _plain(one)) for key, one in value.items()]
    if isinstance(value, int | float | str | bool | None):
        return value
    try:
        return type(value).__name__, [_plain(one) for one in value] if not isinstance(value, nn.Module) else []
    except TypeError:
        return type(value).__name__
