"""What a player trains: its parameters by name, the groups in which its optimizer has them, and which of them are frozen."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn

from i2i.building.judges import judges_of
from i2i.building.reach import leave_out, unreached
from i2i.errors import UserError, nearest
from i2i.protocols import Needs
from i2i.recipe import Recipe
from i2i.recipe.sections import Optimizer

_CONTAINER = re.compile(r"\b(networks|losses)\.\w+\.")
"""Where adapters and lists of losses keep their parts."""


class Frozen(NamedTuple):
    """A group that learns only after *until* steps, and what the log says then."""

    name: str
    until: float
    parameters: list[nn.Parameter]
    then: str = "is no longer frozen"


class Player:
    """The trainable parameters of a network, and of the networks that losses own, whose names begin with ``loss.``.

    A part is named as modules are: ``mapping``, ``encoder.0``. Where a network is made of several, for directions or domains,
    ``mapping`` is that of each, and ``networks.a_b.mapping`` that of one; in a list of judges, ``networks.0.mapping``. What
    networks ask for are ``rates``, relative to the player's. For a parameter, the innermost part that was named decides.
    """

    def __init__(self, network: nn.Module, own: Mapping[str, nn.Module]) -> None:
        self.networks = {"": network, **{f"loss.{name}.": net for name, net in own.items()}}
        self.parameters: dict[str, nn.Parameter] = {}
        self.rates: dict[str, float] = {}
        for above, net in self.networks.items():
            self.parameters |= {above + name: p for name, p in net.named_parameters() if p.requires_grad}
            for place, part in net.named_modules():
                rates, within = getattr(part, "rates", None), f"{above}{place}.".lstrip(".")
                named = dict(rates) if isinstance(rates, Mapping) else {}
                if odd := [name for name in named if not hasattr(part, name.partition(".")[0])]:
                    there = nearest(odd[0], [name for name, _ in part.named_children()])
                    raise UserError(f"{type(part).__name__}: 'rates' names '{odd[0]}', which it does not have.{there}")
                self.rates |= {within + name: rate for name, rate in named.items()}

    def leave_out(self, parts: Mapping[nn.Module, Collection[str]]) -> None:
        """Take optional parts out of the networks, and note that."""
        for network in self.networks.values():
            leave_out(network, parts[network])
            told = f"{', '.join(parts[network])}: left out, because no loss trains it"
            vars(network)["notes"] = (*getattr(network, "notes", ()), *([told] if parts[network] else []))
        kept = {p for network in self.networks.values() for p in network.parameters()}
        self.parameters = {name: p for name, p in self.parameters.items() if p in kept}

    def part(self, name: str) -> list[nn.Parameter]:
        """The parameters of a part; all of them, if the name is empty."""
        return [parameter for full, parameter in self.parameters.items() if not name or _innermost(full, (name,))]

    def parts(self) -> list[str]:
        """The names that a part may have."""
        whole = [name for full in self.parameters for name in _forms(full)]
        return list(dict.fromkeys(name[: dot.start()] for name in whole for dot in re.finditer(r"\.", name)))

    def groups(self, settings: Optimizer) -> list[dict[str, Any]]:
        """Groups for an optimizer, each with a rate and a name; first those that learn as the player does, without a name."""
        found: dict[tuple[str, float], list[nn.Parameter]] = {("", settings.lr): []}
        for full, parameter in self.parameters.items():
            name, asked = _innermost(full, settings.groups), _innermost(full, self.rates)
            own = settings.groups[name].lr if name else None
            lr = settings.lr * self.rates.get(asked, 1.0) if own is None else own
            found.setdefault((name or _CONTAINER.sub("", asked), lr), []).append(parameter)
        return [{"params": group, "lr": lr, "name": name} for (name, lr), group in found.items() if group]

    def frozen(self, settings: Optimizer) -> list[Frozen]:
        """The groups that are frozen at the start."""
        until = {name: group.frozen_until for name, group in settings.groups.items() if group.frozen_until is not None}
        mine = {name: [p for full, p in self.parameters.items() if _innermost(full, settings.groups) == name] for name in until}
        return [Frozen(name, math.inf if step == "end" else step, mine[name]) for name, step in until.items()]


def _innermost(full: str, names: Collection[str]) -> str:
    """The name of the innermost part that has a parameter, or an empty string."""
    forms = [f"{form}." for form in _forms(full)]
    fitting = [(len(form) - len(name), name) for name in names for form in forms if form.startswith(f"{name}.")]
    return min(fitting, default=(0, ""))[1]


def _forms(full: str) -> list[str]:
    """A parameter's names: without containers, without those within the outermost one, and in full."""
    outer = found.end() if (found := _CONTAINER.match(full)) else 0
    return [_CONTAINER.sub("", full), full[:outer] + _CONTAINER.sub("", full[outer:]), full]


def joining(recipe: Recipe, players: Mapping[str, Player], frozen: Iterable[Frozen]) -> list[Frozen]:
    """The *frozen* groups, and the judges of a list that join later; what is in both waits for both."""
    judges = judges_of(recipe).items() if "discriminator" in players else ()
    late = [
        Frozen(judge.name, judge.since, players["discriminator"].part(f"networks.{i}"), "judges from here on")
        for i, judge in judges
        if judge.since
    ]
    since = {p: judge.until for judge in late for p in judge.parameters}
    made = [group._replace(parameters=[p for p in group.parameters if group.until >= since.get(p, 0)]) for group in frozen]
    waiting = {p for group in made for p in group.parameters}
    return [*made, *(judge._replace(parameters=[p for p in judge.parameters if p not in waiting]) for judge in late)]


def reach(
    recipe: Recipe, players: Mapping[str, Player], reached: Collection[nn.Parameter], needs: Needs
) -> tuple[dict[nn.Module, list[str]], str]:
    """What losses have not *reached*: the optional parts of each network, and a sentence on the first other part, if any."""
    left, wrong = dict[nn.Module, list[str]](), list[str]()
    for player, own in players.items():
        for above, network in own.networks.items():
            left[network], part = unreached(network, reached, needs.keywords | needs.extras | needs.verdict)
            if part is not None:
                kind, name = "loss" if above else player, (above + part).rstrip(".")
                source = "" if above else f" from loss '{recipe.called('loss')}'"
                wrong.append(
                    f"{kind} '{recipe.called(kind)}': '{name}' gets no gradient{source}. Choose options that use it, or "
                    f"another {kind}, or freeze it: train.{player}.groups: {{{name}: {{frozen_until: end}}}}."
                )
    return left, wrong[0] if wrong else ""


def check_groups(recipe: Recipe, players: Mapping[str, Player]) -> None:
    """Check that every group in the recipe is a part of its player, and learns at some step of the run.

    Raises:
        UserError: there is no such part, or it would stay frozen to the end though the recipe names a step.
    """
    for player, own in players.items():
        for name, group in getattr(recipe.train, player).groups.items():
            place = ("train", player, "groups", name)
            if not own.part(name):
                known = own.parts()
                listed = ", ".join(part for part in known if "." not in part or re.fullmatch(r"networks\.\d+", part))
                there = nearest(name, known) or f" There are: {listed}."
                raise UserError(f"{recipe.where(*place)}: the {player} has no trained part of that name.{there}")
            if isinstance(group.frozen_until, int) and group.frozen_until >= recipe.train.steps:
                raise UserError(
                    f"{recipe.where(*place, 'frozen_until')}: the run has {recipe.train.steps} steps, so this group would "
                    "never be trained. Give fewer, or 'end' if that is what you want."
                )
