"""Which generators, losses and discriminators can be combined: every combination is built and makes one step.

By default this happens on torch's ``meta`` device, where tensors have shapes but no values. It takes little memory and finds
every need that is not met and every shape that does not fit, but not values that are NaN or infinite. A combination that fails
there is tried again on the CPU before it counts as a crash, as a loss may read a random number.
"""

import warnings
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from i2i.building.needs import check_needs
from i2i.building.rehearsal import FirstStepError, rehearse
from i2i.errors import UserError
from i2i.labels import to_network
from i2i.protocols import Domain, Needs
from i2i.registry import Entry
from i2i.testing.workshop import AND, DATA, WITH, Choice, Workshop
from i2i.training.assembly import TRIES
from i2i.training.players import Player, reach

Result = Literal["trains", "refused", "crashed"]
Entries = tuple[Entry, ...]
"""The generator, the loss and the discriminators of a combination."""


class Cell(NamedTuple):
    """One combination and its result; ``discriminator`` is empty for a loss that needs none, "A + B" for a list of judges.

    ``loss`` may be "LOSS with OBJECTIVE".
    """

    generator: str
    loss: str
    discriminator: str
    data: str
    result: Result
    reason: str


def cells_of(choice: Choice) -> Iterator[Cell]:
    """Try every combination of the registered components, on both kinds of data.

    A loss that stands beside others only, and so translates nothing itself, is tried with one generator, and so is a list of
    judges with each loss, as what a judge sees does not depend on the generator. Each objective is tried with each loss that
    takes one, in the first combination that trains.
    """
    workshop, known = Workshop(choice), choice.registry
    judges: list[Entries] = [(judge,) for judge in known.entries("discriminator")]
    several = tuple(known.get("discriminator", name) for name in choice.judges)
    generators = [*known.entries("generator")]
    for data in DATA:
        open_ = {loss.name for loss in known.entries("loss") if several and choice.wants(loss, *several)}
        for generator, loss in product(generators, known.entries("loss")):
            if generator is not generators[0] and workshop.stands_beside(data, workshop.called(loss)):
                continue
            for judge in judges or [()]:
                if not choice.wants(generator, loss, *judge):
                    continue
                cell = _cell(workshop, data, (generator, loss, *judge))
                if not cell.discriminator and not choice.wants(generator, loss):
                    break
                yield cell
                if not cell.discriminator:
                    break
                if cell.result == "trains" and loss.name in open_:
                    open_.remove(loss.name)
                    yield _cell(workshop, data, (generator, loss, *several))

    for loss in known.entries("loss"):
        objectives = [each for each in known.entries("objective") if choice.wants(loss, each)]
        if objectives and workshop.objective_option(workshop.called(loss)):
            yield from _with_objectives(workshop, loss, objectives)


def _with_objectives(workshop: Workshop, loss: Entry, objectives: Iterable[Entry]) -> Iterator[Cell]:
    known = workshop.choice.registry
    for data, generator, judge in product(DATA, known.entries("generator"), known.entries("discriminator")):
        if _cell(workshop, data, (generator, loss, judge)).result == "trains":
            for each in objectives:
                yield _cell(workshop, data, (generator, loss, judge), objective=workshop.called(each))
            return


def _cell(workshop: Workshop, data: str, entries: Entries, objective: str = "") -> Cell:
    cell = _tried(workshop, data, entries, objective)
    if cell.result != "crashed" or workshop.choice.device == "cpu":
        return cell
    computed = _tried(workshop.with_values, data, entries, objective)
    if computed.result != "refused":
        return computed
    return computed._replace(reason=f"it cannot run on the meta device, and on the CPU: {computed.reason}")


def _tried(workshop: Workshop, data: str, entries: Entries, objective: str) -> Cell:
    result: Result = "trains"
    generator, loss, *judges = map(workshop.called, entries)
    reason, names = "", [generator, WITH.join(filter(None, (loss, objective))), AND.join(judges)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _step(workshop, data, names)
        except FirstStepError as error:
            result, reason = "crashed", str(error)
        except UserError as error:
            broke = error.__cause__ is not None and not isinstance(error.__cause__, UserError)
            result, reason = "crashed" if broke else "refused", str(error)
        except Exception as error:
            result, reason = "crashed", f"{type(error).__name__}: {error}"
    judge = names[2] if workshop.adversarial(data, names[1]) else ""
    return Cell(names[0], names[1], judge, data, result, " ".join(reason.split()))


def _step(workshop: Workshop, data: str, names: list[str]) -> None:
    """Build the three, and make one step of both players."""
    domains, recipe = DATA[data], workshop.recipe(*names)
    device = torch.device(workshop.choice.device)
    loss = workshop.loss(data, names[1])
    needs: Needs = loss.needs
    if needs.wants:
        raise UserError(
            f"loss '{names[1]}' wants '{min(needs.wants)}' in its batches, and the matrix only has images and labels. "
            "Try it with a recipe: i2i run RECIPE --dry-run."
        )
    generator = workshop.generator(data, names[0], needs.directions)
    judge = workshop.judge(data, names[2], needs)
    check_needs(recipe, names[1], needs, generator, judge, workshop.choice.registry)
    divisor = int(generator.divisor)
    side = -(-workshop.choice.size // divisor) * divisor
    with device, _DrawnOnCpu():
        batch = {key: _batch(domain, side) for key, domain in domains.items()}
        players = {"generator": Player(generator, {name: loss.get_submodule(name) for name in loss.networks})}
        players |= {"discriminator": Player(judge, {})} if judge is not None else {}
        tries, wrong = list[set[Any]](), ""
        for seed in range(TRIES):  # a loss may choose at random what it trains
            found, terms = rehearse(batch, domains, loss, generator, judge, (names[0], names[2], names[1]), seed=seed)
            if odd := [name for name, term in terms.items() if not term.is_meta and not bool(term.isfinite())]:
                raise ArithmeticError(f"the term '{odd[0]}' is not finite")
            tries.append(found)
            _, wrong = reach(recipe, players, found.union(*tries), needs)
            if not wrong:
                return
    if all(found == tries[0] for found in tries):  # otherwise more tries could reach more
        raise UserError(wrong)


class _DrawnOnCpu(TorchFunctionMode):
    """Draws single numbers on the CPU, because a loss may read their values, which do not exist on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.rand, torch.randn, torch.randint) and "device" not in kwargs:
            with torch.device("meta"):
                single = func(*args, **kwargs).ndim == 0
            kwargs = {**kwargs, "device": "cpu"} if single else kwargs
        return func(*args, **kwargs)


def _sample(domain: Domain, side: int) -> Tensor:
    """One sample as a data set returns it."""
    if domain.kind == "labels":
        return torch.randint(domain.label_count, (1, side, side))
    return torch.rand(domain.channels, side, side) * 2 - 1


def _batch(domain: Domain, side: int) -> Tensor:
    """A batch of two as networks see it."""
    return to_network(torch.stack([_sample(domain, side) for _ in range(2)]), domain)


def as_markdown(cells: Iterable[Cell]) -> str:
    """One table for each kind of data, with a row for each generator and loss, and a column for each discriminator.

    One more has a row for each loss and a column for each objective. A number after "refused" or "crashed" refers to the list
    of reasons below the tables.
    """
    rows: dict[str, dict[tuple[str, str], dict[str, Cell]]] = {}
    objectives: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        loss, _, objective = cell.loss.partition(WITH)
        if objective:
            objectives.setdefault(loss, {})[objective] = cell
            continue
        rows.setdefault(cell.data, {}).setdefault((cell.generator, cell.loss), {})[cell.discriminator] = cell
    reasons: list[str] = []
    lines: list[str] = []
    for data, table in rows.items():
        judges = list(dict.fromkeys(judge for found in table.values() for judge in found if judge))
        lines += [f"**{data}**", "", f"| generator | loss | {' | '.join(judges)} |", "|---" * (len(judges) + 2) + "|"]
        for (generator, loss), found in table.items():
            fates = [_fate(found.get(judge, found.get("")), reasons) for judge in judges]
            lines.append(f"| {generator} | {loss} | {' | '.join(fates)} |")
        lines.append("")
    if objectives:
        names = list(dict.fromkeys(name for found in objectives.values() for name in found))
        lines += ["**objectives**", "", f"| loss | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for loss, tried in objectives.items():
            lines.append(f"| {loss} | {' | '.join(_fate(tried.get(name), reasons) for name in names)} |")
        lines.append("")
    return "\n".join([*lines, *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))])


def _fate(cell: Cell | None, reasons: list[str]) -> str:
    if cell is None or cell.result == "trains":
        return "" if cell is None else cell.result
    if cell.reason not in reasons:
        reasons.append(cell.reason)
    return f"{cell.result} ({reasons.index(cell.reason) + 1})"
