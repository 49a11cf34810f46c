"""What every loss must do: make whole steps with plain functions as networks, which offer only what it declares."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from i2i.building.combined import Losses
from i2i.building.nested import detach
from i2i.building.parts import misnamed
from i2i.data import collate, read_sample, to_device
from i2i.errors import UserError
from i2i.objectives import Ramp, let_change
from i2i.protocols import Batch, Needs, Terms
from i2i.randomness import seeded
from i2i.recipe.options import fields_at, options_model
from i2i.testing.leading import standing
from i2i.testing.options import paired_objective
from i2i.testing.players import Players
from i2i.testing.subject import Domains, Refused, Skipped, Subject, backward, copy_state, ensure, image, is_finite
from i2i.training.assembly import methods_called

STEPS = 10
"""Of the run that losses are told of."""


class Step(NamedTuple):
    """The terms that one step computed, and the networks that it used."""

    made: Terms
    judged: Terms
    players: Players


def declared(subject: Subject) -> None:
    """It has the attributes that the core reads before step 0."""
    for domains, loss in _built(subject):
        ensure(isinstance(loss, nn.Module), f"the factory must return an nn.Module, not {type(loss).__name__}.")
        needs = getattr(loss, "needs", None)
        ensure(isinstance(needs, Needs), "give it an attribute 'needs', an i2i.protocols.Needs.")
        keys = {key for way in loss.needs.directions for key in way}
        ensure(loss.needs.directions and keys <= set(domains), f"needs.directions must be pairs of the keys {list(domains)}.")
        ensure(hasattr(loss, "order"), "give it an attribute 'order', 'generator_first' or 'discriminator_first'.")
        ensure(isinstance(getattr(loss, "fresh_fakes", None), bool), "give it an attribute 'fresh_fakes', True or False.")
        names = isinstance(getattr(loss, "networks", None), tuple)
        ensure(names, "give it an attribute 'networks', a tuple of the names of its trainable networks, or ().")
        ensure(not (wrong := misnamed(loss)), wrong)
        for step in range(32 if hasattr(loss, "resting") else 0):
            odd = [name for name in loss.resting(step) if str(name).partition(".")[0] not in ("generator", "discriminator")]
            ensure(not odd, f"resting({step}) names '{odd and odd[0]}': name a player or a part of it, as 'generator.mapping'.")


def bare_callables(subject: Subject) -> None:
    """It trains both players with plain functions as networks, uses only what it declares, and returns finite scalars.

    A loss that is told the time does so in the first step, in the middle of the run and in the last step.
    """
    for domains, loss in _built(subject):
        for at in (0, STEPS // 2, STEPS - 1) if methods_called("begin", loss) else (0,):
            step = _step(subject, domains, loss, at=at)
            _check_terms(step.made, "generator_terms")
            backward(step.made.values())
            reached = any(p.grad is not None for p in step.players.generator_parameters)
            ensure(reached, "generator_terms do not depend on the generator: do not detach images in translate.")
            if loss.needs.adversarial:
                _check_terms(step.judged, "discriminator_terms")
                for p in step.players.discriminator_parameters:
                    p.grad = None
                backward(step.judged.values())
                reached = any(p.grad is not None for p in step.players.discriminator_parameters)
                ensure(reached, "discriminator_terms do not depend on the discriminator: call D in it.")
        for name in loss.networks:
            lost = [n for n, p in loss.get_submodule(name).named_parameters() if p.requires_grad and p.grad is None]
            ensure(not lost, f"'{name}.{lost and lost[0]}' gets no gradient from generator_terms: use it or remove it.")


def _check_terms(terms: Any, where: str) -> None:
    ensure(isinstance(terms, dict) and terms, f"{where} must return a non-empty dict of named scalars.")
    for name, term in terms.items():
        scalar = isinstance(term, Tensor) and term.ndim == 0 and term.is_floating_point()
        ensure(scalar, f"{where}: '{name}' must be a floating-point scalar tensor (0-d).")
        ensure(is_finite((term,)), f"{where}: '{name}' is {term.item()}, and must be finite.")


def honest_pairing(subject: Subject) -> None:
    """Unless it declares ``paired``, its terms do not change when the images of b are reordered.

    Terms that depend on the random state are not checked: the reason for a change would not be known.
    """
    for domains, loss in _built(subject):
        if loss.needs.paired:
            continue
        batch = _batch(subject, domains, loss.needs)
        last = list(domains)[-1]
        shuffled = {**batch, last: batch[last].roll(1, 0)}
        drawn = [
            _step(subject, domains, _again(subject, domains), b, seed) for b, seed in ((batch, 0), (batch, 1), (shuffled, 0))
        ]
        steady, other, rolled = ({**step.made, **step.judged} for step in drawn)
        for name, term in steady.items():
            same, moved = _near(term, other[name]), not _near(term, rolled[name])
            ensure(
                not (same and moved),
                f"the term '{name}' changes when the images of '{last}' are reordered: declare paired=True in its needs.",
            )


def determinism(subject: Subject) -> None:
    """The same seed gives the same terms."""
    for domains, loss in _built(subject):
        one, two = (_step(subject, domains, each).made for each in (loss, _again(subject, domains)))
        odd = [name for name, term in one.items() if not _near(term, two[name])]
        ensure(not odd, f"the term '{odd and odd[0]}' changes under one seed: draw from torch's or Python's default generator.")


def state(subject: Subject) -> None:
    """Everything that it keeps from step to step is in its state dict: a copy computes the same next step."""
    for domains, loss in _built(subject):
        _step(subject, domains, loss, seed=0)
        other = _again(subject, domains, seed=1)
        copy_state(loss, other)
        one, two = (_step(subject, domains, each, seed=1) for each in (loss, other))
        for a, b in ((one.made, two.made), (one.judged, two.judged)):
            odd = [name for name, term in a.items() if not _near(term, b[name])]
            ensure(not odd, f"a copy with its state dict gives another '{odd and odd[0]}': keep all state in the state dict.")


def bf16(subject: Subject) -> None:
    """Under autocast to bfloat16 no term becomes NaN."""
    for domains, loss in _built(subject):
        with torch.autocast("cpu", torch.bfloat16):
            step = _step(subject, domains, loss)
        odd = [name for name, term in {**step.made, **step.judged}.items() if not is_finite((term,))]
        ensure(not odd, f"in bfloat16 the term '{odd and odd[0]}' is NaN or infinite: compute it in float32.")


def weights(subject: Subject) -> None:
    """A ``Weight`` that changes during training has the same effect as one given at the start."""
    model = options_model(subject.kind, subject.factory)
    for name in model.model_fields:
        if fields_at(model, (name,)) != list(Ramp.model_fields):
            continue
        domains, _ = _built(subject)[0]
        weight = subject.complete()[name] or 1.0
        try:
            steady, other = (
                _again(replace(subject, options={**subject.options, name: w}), domains) for w in (weight, 2 * weight)
            )
            own = steady.losses[-1] if isinstance(steady, Losses) else steady
            let_change(own, {name: Ramp(**{"from": weight, "to": 2 * weight, "until": 1 / STEPS})})
        except UserError as error:
            ensure("cannot change" not in str(error), f"{error} If it should not change, type it 'float'.")
            continue  # the loss refuses this weight with these options
        steps = (_step(subject, domains, each, at=1) for each in (steady, other))  # by then the weight has changed
        changed, built = ({**step.made, **step.judged} for step in steps)
        odd = [
            term
            for term in {**changed, **built}
            if not (term in changed and term in built and _near(changed[term], built[term]))
        ]
        ensure(
            not odd, f"'{odd and odd[0]}' does not follow the weight '{name}' when it changes: read self.{name} in each step."
        )


def comparing(subject: Subject) -> None:
    """An objective that compares the pictures of a sample gives another step than its own, or is refused in a sentence."""
    if not (given := paired_objective(subject)):
        return
    other, label = replace(subject, options={**subject.options, **given}), f"With the objective '{min(given.values())}'"
    try:
        step = _step(other, *_built(other)[0])
    except (Refused, UserError) as error:
        raise Skipped(f"{label}: {error}") from error
    _check_terms(step.made | step.judged, f"{label} its step")
    usual = _step(subject, *_built(subject)[0]).judged
    moved = [name for name, term in step.judged.items() if name not in usual or not _near(term, usual[name])]
    ensure(moved or not step.judged, f"its option '{min(given)}' has no effect: give it to i2i.objectives.Adversarial.")


CHECKS = (declared, bare_callables, honest_pairing, determinism, state, bf16, weights, comparing)
SLOW = ()


def _again(subject: Subject, domains: Domains, seed: int = 0) -> Any:
    """The loss in training mode: alone, or behind another in a list if it stands beside others only."""

    def build(beside: Needs | None) -> Any:
        return subject.build(seed=seed, domains=domains, **({} if beside is None else {"beside": beside}))

    return standing(subject.factory, subject.name, domains, build).train()


def _built(subject: Subject) -> list[tuple[Domains, Any]]:
    """The loss, built for all domains that it and the networks it is checked with accept."""
    found, refusals = [], []
    for domains, loss in subject.situations(lambda domains: _again(subject, domains)):
        try:
            _players(subject, domains, getattr(loss, "needs", None))
        except UserError as error:
            refusals.append(str(error))
            continue
        found.append((domains, loss))
    ensure(found, f"the networks that it is checked with refuse all its domains: {'; '.join(refusals)}")
    if wants := frozenset().union(*(getattr(getattr(loss, "needs", None), "wants", ()) for _, loss in found)):
        domains = _data(subject, wants).domains
        return [(domains, _again(subject, domains))]
    return found


def _players(subject: Subject, domains: Domains, needs: Needs | None) -> Players | None:
    return None if needs is None else Players(domains, needs, subject.generator, subject.discriminator)


def _batch(subject: Subject, domains: Domains, needs: Needs) -> Batch:
    """Three random images of each domain; samples of a data set if the loss wants more than domains."""
    if needs.wants:
        data = _data(subject, needs.wants)
        samples = [read_sample(data, 0, (0, index % len(data)), needs.wants) for index in range(3)]
        return to_device(collate(samples), data.domains, torch.device("cpu"))
    side = subject.size or 32
    return {key: image(domain, 3, side, side, seed) for seed, (key, domain) in enumerate(domains.items())}


def _data(subject: Subject, wants: frozenset[str]) -> Any:
    """The first of the data sets whose samples have the entries that the loss wants.

    Raises:
        Skipped: no data set has them.
    """
    reasons = []
    for each in subject.datasets:
        try:
            data = each.build()
            lacking = wants - set(read_sample(data, 0, (0, 0), wants))
        except UserError as error:
            reasons.append(f"dataset '{each.name}': {error}")
            continue
        if not lacking:
            return data
        reasons.append(f"dataset '{each.name}' has no '{min(lacking)}'.")
    raise Skipped(
        f"it wants {' and '.join(map(repr, sorted(wants)))} in its batches, and the kit knows no data set that has it. "
        f"Register one in the same plugin, or name one: check_loss('{subject.name}', dataset=…). {' '.join(reasons)}".strip()
    )


def _step(subject: Subject, domains: Domains, loss: Any, batch: Batch | None = None, seed: int = 0, at: int = 0) -> Step:
    """One step of both players as the core makes it after *at* of 10, with a seed for torch and for Python."""
    import random

    for begin in methods_called("begin", loss):
        try:
            begin(at, STEPS)
        except Exception as error:
            reason = f"begin({at}, {STEPS}) fails ({type(error).__name__}: {error})"
            raise AssertionError(f"{reason}: it gets the number of steps made and that of the run.") from error

    players = Players(domains, loss.needs, subject.generator, subject.discriminator)
    batch = _batch(subject, domains, loss.needs) if batch is None else batch
    before = random.getstate()
    random.seed(seed)
    try:
        with seeded(seed):
            return _played(loss, players, batch)
    except (AssertionError, UserError):
        raise
    except Exception as error:
        who = "plain functions as networks, whose extras are maps (B, 8, H/2, W/2)"
        if subject.generator or subject.discriminator:
            who = "the networks of its plugin"
        when = f" after {at} of {STEPS} steps" if at else ""
        raise AssertionError(
            f"it fails{when} with {who} ({type(error).__name__}: {error}). These offer only the extras in its needs: only call "
            "G(…) and D(…), declare every extra in 'needs', and list in 'wants' the entries of a batch that are not domains."
        ) from error
    finally:
        random.setstate(before)


def _played(loss: Any, players: Players, batch: Batch) -> Step:
    images = loss.translate(players.G, batch)
    ensure(isinstance(images, Mapping), f"translate must return a mapping, not {type(images).__name__}.")
    adversarial = loss.needs.adversarial
    made = loss.generator_terms(players.D if adversarial else None, batch, images)
    judged: Terms = {}
    if adversarial:
        if loss.fresh_fakes:
            with torch.no_grad():
                images = loss.fakes(players.G, batch, images)
        judged = loss.discriminator_terms(players.D, batch, detach(images))
    return Step(made, judged, players)


def _near(one: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(one, other, rtol=1e-4, atol=1e-5))
