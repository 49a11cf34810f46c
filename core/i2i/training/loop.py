"""The training loop. It knows two players and no architecture.

Order and reuse are the loss's choice (see ``protocols.Loss``): whichever player steps first, ``translate`` runs once with its
graph, and the discriminator sees either those images, detached, or fresh ones made without a graph.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from i2i.building.nested import detach, total
from i2i.errors import UserError, nearest
from i2i.layers import frozen
from i2i.protocols import Batch, Images, Terms
from i2i.training.optim import parameters_of
from i2i.training.state import Run

if TYPE_CHECKING:
    from i2i.training.records import Records


def train(run: Run, batches: Iterator[Batch], records: "Records | None" = None, until: int | None = None) -> None:
    """Train from ``run.step`` to the recipe's number of steps, or step *until*, or until ``run.stop`` is set.

    Its *records* guard and write the run. A run without them, such as a replay, writes nothing and does not stop at NaN.
    """
    run.training_mode()
    begin(run, records)
    last = run.recipe.train.steps if until is None else until
    while run.step < last and not run.stop:
        run.terms = accumulated_step(run, batches)
        for schedule in run.schedules:
            schedule.step(run.generator_terms)
        run.step += 1
        end_step(run, records)
    end(run, records)


def begin(run: Run, records: "Records | None") -> None:
    """What comes before the first step. The order matters: drawing the first grid does not count as logged time."""
    if records is not None:
        if records.grids is not None:
            records.grids.run_started(run)
        records.checkpoints.run_started(run)
        records.log.run_started(run)
    run.hook.run_started(run=run)


def end_step(run: Run, records: "Records | None") -> None:
    """What follows a step, in this order: what is saved has been averaged, found finite, and seen by every observer."""
    if run.ema is not None:
        run.ema.update(run.bare_generator)
    if run.adaptive is not None:
        run.adaptive.step_ended(run.step, run.accelerator.reduce)
    if records is not None:
        records.guard.step_ended(run)
    run.hook.step_ended(run=run)
    if records is not None:
        records.log.step_ended(run)
        if records.grids is not None:
            records.grids.step_ended(run)
        records.checkpoints.step_ended(run)


def end(run: Run, records: "Records | None") -> None:
    """What follows the last step. The order matters: a run that is asked to end has little time, so it saves first."""
    if records is not None:
        records.guard.run_ended(run)
        records.checkpoints.run_ended(run)
        if records.grids is not None:
            records.grids.run_ended(run)
        records.log.run_ended(run)
    run.hook.run_ended(run=run)
    if records is not None:
        records.log.tracking.finish()


def accumulated_step(run: Run, batches: Iterator[Batch]) -> Terms:
    """One optimizer step of each player, over ``train.accumulate`` batches; the last batch's terms."""
    terms: Terms = {}
    begin_step(run)
    if run.recipe.train.graphs:
        # What the networks gave in the step before may be overwritten from here on.
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    for _ in range(run.recipe.train.accumulate):
        before = time.perf_counter()
        batch = next(batches)
        run.waited += time.perf_counter() - before
        with run.accelerator.accumulate(*run.trained):
            terms = train_step(run, batch)
    return terms


def begin_step(run: Run) -> None:
    """What comes before a step, in this order: groups that are no longer frozen, judges that join, ``begin``, ``resting``."""
    due = [group for group in run.frozen if group.until <= run.step]
    for group in due:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
        if group.until == run.step:
            run.note(f"step {run.step}: '{group.name}' {group.then}")
    if due:
        run.frozen = [group for group in run.frozen if group not in due]
        run.share()
    for begin in run.beginnings:
        begin(run.step, run.recipe.train.steps)
    rest(run)


def rest(run: Run) -> None:
    """Find out which parameters rest in the next step, and which players have no others that train.

    Raises:
        UserError: a loss names what there is not, or nothing is left.
    """
    names = {name: None for resting in run.rests for name in resting(run.step)}
    run.resting = [parameter for name in names for parameter in named(run, name)]
    rests = set(map(id, run.resting))
    run.idle = {
        player
        for player, own in run.players.items()
        if not any(p.requires_grad and id(p) not in rests for p in own.parameters.values())
    }
    if run.idle == set(run.players):
        raise UserError(f"step {run.step + 1}: every player is frozen or rests, so this step would change nothing.")
    run.norms, run.generator_terms = {}, {}


def named(run: Run, name: str) -> list[nn.Parameter]:
    """The parameters of a player or of a part of one: ``generator.mapping``.

    Raises:
        UserError: there are none of that name.
    """
    player, _, part = name.partition(".")
    found = run.players[player].part(part) if player in run.players else []
    if not found and name != "discriminator":
        known = [*run.players, *(f"{player}.{part}" for player, own in run.players.items() for part in own.parts())]
        raise UserError(
            f"loss '{run.recipe.called('loss')}': 'resting' names '{name}', which is not a part.{nearest(name, known)}"
        )
    return found


def train_step(run: Run, batch: Batch) -> Terms:
    """One batch's share of a step, for the players that do not rest, in the order that the loss declares."""
    with run.accelerator.autocast(), torch.set_grad_enabled("generator" not in run.idle):
        images = run.loss.translate(run.generator, batch)
    steps = {"generator": generator_step, "discriminator": discriminator_step}
    order = steps if run.loss.order == "generator_first" else reversed(steps)
    terms = {player: steps[player](run, batch, images) for player in order if player in run.players.keys() - run.idle}
    return {**terms.get("generator", {}), **terms.get("discriminator", {})}


def generator_step(run: Run, batch: Batch, images: Images) -> Terms:
    """Minimise the generator's terms. The discriminator is frozen and unwrapped: no gradient is kept or synchronised."""
    judge = None if run.discriminator is None else run.accelerator.unwrap_model(run.discriminator)
    with frozen(judge), run.accelerator.autocast():
        terms: Terms = run.loss.generator_terms(run.shown_to(judge, learns=False), batch, images)
    run.generator_terms = minimise(run, terms, "generator")
    return run.generator_terms


def discriminator_step(run: Run, batch: Batch, images: Images) -> Terms:
    """Minimise the discriminator's terms on detached images, made again if the loss wants fresh ones."""
    if run.loss.fresh_fakes:
        with torch.no_grad(), run.accelerator.autocast():
            images = run.loss.fakes(run.generator, batch, images)
    with run.accelerator.autocast():
        terms: Terms = run.loss.discriminator_terms(run.shown_to(run.discriminator, learns=True), batch, detach(images))
    return minimise(run, terms, "discriminator")


def minimise(run: Run, terms: Terms, player: str) -> Terms:
    """Backward and one optimizer step; unscaling and clipping touch this player's gradients only. The terms, detached."""
    optimizer = run.optimizers[player]
    run.accelerator.backward(total(terms))
    for parameter in run.resting:
        parameter.grad = None
    limit, skips = run.recipe.train.clip, run.recipe.train.non_finite == "skip"
    if run.accelerator.sync_gradients and (limit is not None or skips or run.logs_next):
        run.accelerator.unscale_gradients(optimizer)
        parameters = parameters_of(optimizer)
        run.norms[player] = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if limit is not None:
            nn.utils.clip_grads_with_norm_(parameters, limit, run.norms[player])
    if skips and run.accelerator.sync_gradients and not bool(run.norms[player].isfinite()):
        run.skipped += 1
    else:
        optimizer.step()
        _constrain(run, player)
    optimizer.zero_grad()
    return {name: term.detach() for name, term in terms.items()}


def _constrain(run: Run, player: str) -> None:
    """After a step of the optimizer, and not after a batch whose gradients are kept for it."""
    if run.accelerator.sync_gradients and run.constraints.get(player):
        with torch.no_grad():
            for constrain in run.constraints[player]:
                constrain()
