"""The first step's computations before anything is written, to find what fails in a loss, a network or their data."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from i2i.building.judges import Judges
from i2i.building.naming import between
from i2i.building.nested import detach, total
from i2i.errors import UserError
from i2i.layers import frozen
from i2i.protocols import Batch, Domain, Judged, SeveralJudgesError, Terms, Translation
from i2i.randomness import seeded, undrawn

Rehearsed = tuple[set[nn.Parameter], Terms]
"""The parameters that a gradient comes to, if only one of zeros, and both players' terms."""


class FirstStepError(UserError):
    """A part of the recipe breaks in the first step."""


def rehearse(
    batch: Batch,
    domains: Mapping[str, Domain],
    loss: Any,
    generator: nn.Module,
    discriminator: nn.Module | None,
    names: tuple[str, str, str],
    shown: Callable[[Any], Any] = lambda judge: judge,
    quick: Callable[[nn.Module], nn.Module] | None = lambda generator: generator,
    seed: int = 0,
) -> Rehearsed:
    """Compute both players' terms on a batch as networks see it and their gradients, as the first step does.

    Then the generator translates one picture in each direction in evaluation mode, one that takes many steps as *quick* gives
    it; where that is None, it does not.

    ``names`` are those of the generator, the discriminator and the loss, for the messages; the loss calls *shown* of the
    discriminator. Random numbers, which are drawn from *seed*, the networks' modes, and their state and the loss's are left as
    they were; no gradient is kept.

    Raises:
        UserError: the loss or a network breaks, or gives what the contract does not allow; or the memory is too small.
    """
    G = _Watched(f"generator '{names[0]}'", generator, _check_translation(domains))
    D = None if discriminator is None else _Watched(f"discriminator '{names[1]}'", discriminator, _check_verdict)
    watching = _each_watched(D, discriminator) if D is not None and isinstance(discriminator, Judges) else nullcontext()
    judge = None if D is None else shown(D)
    parts = [part for part in (generator, discriminator, loss) if part is not None]
    try:
        with undrawn(), seeded(seed), untouched(parts), watching:
            random.seed(seed)
            made = _first_step(batch, loss, G, D, judge, names[2])
            if quick is not None:
                G.network, G.who = quick(generator.eval()), f"{G.who} in evaluation mode"
                with torch.no_grad():
                    for source, target in between(loss.needs.directions):
                        G(batch[source][:1], source, target)
        return made
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the device's memory is too small for the first step with batches of {len(next(iter(batch.values())))}. Try a "
            "smaller train.batch_size with a larger train.accumulate, a smaller crop, or a smaller generator."
        ) from error


def _first_step(batch: Batch, loss: Any, G: Any, D: Any, judge: Any, name: str) -> Rehearsed:
    """Both players' terms and gradients, as ``loop.train_step`` has them computed."""
    with naming(name, "translate"):
        images = loss.translate(G, batch)
    with frozen(D and D.network):
        with naming(name, "generator_terms"):
            terms = loss.generator_terms(judge, batch, images)
            _check_terms(terms, "generator_terms", G.network)
        reached = _descend(name, "generator_terms", terms, G.network, loss)
    if D is None:
        return reached, terms
    if loss.fresh_fakes:
        with naming(name, "fakes"), torch.no_grad():
            images = loss.fakes(G, batch, images)
    with naming(name, "discriminator_terms"):
        judged = loss.discriminator_terms(judge, batch, detach(images))
        _check_terms(judged, "discriminator_terms", D.network)
    return reached | _descend(name, "discriminator_terms", judged, D.network), {**terms, **judged}


def _descend(name: str, method: str, terms: Terms, *networks: nn.Module) -> set[nn.Parameter]:
    """The networks' parameters that the gradient of a player's terms comes to; the caller's autocast is not for it."""
    if any(term.requires_grad for term in terms.values()):
        minimised = total(terms)
        kind = minimised.device.type
        plain = torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
        with naming(name, f"the backward pass of {method}"), plain:
            torch.autograd.backward(minimised)
    parameters = [parameter for network in networks for parameter in network.parameters()]
    reached = {parameter for parameter in parameters if parameter.grad is not None}
    for parameter in parameters:
        parameter.grad = None
    return reached


@contextmanager
def untouched(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Within it the networks train; afterwards their modes, buffers (statistics, pools …) and extra state are as before."""
    kept = [_Kept(module) for network in networks for module in network.modules()]
    for network in networks:
        network.train()
    try:
        yield
    finally:
        with torch.no_grad():
            for before in kept:
                before.put_back()


class _Kept:
    """What calls may change of one module, without the modules in it."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.training = module, module.training
        self.buffers = {name: (buffer, None if buffer is None else buffer.clone()) for name, buffer in module._buffers.items()}
        own = type(module).get_extra_state is not nn.Module.get_extra_state
        self.extra = (deepcopy(module.get_extra_state()),) if own else ()

    def put_back(self) -> None:
        """Also where a buffer was added or replaced."""
        self.module.training = self.training
        buffers = self.module._buffers
        buffers.clear()
        for name, (buffer, value) in self.buffers.items():
            if buffer is not None and value is not None:
                buffer.copy_(value)
            buffers[name] = buffer
        for state in self.extra:
            self.module.set_extra_state(state)


class _Watched:
    """A network that the loss calls. Its errors name it and its inputs."""

    def __init__(self, who: str, network: Callable[..., Any], check: Callable[..., None]) -> None:
        self.who, self.network, self.check = who, network, check

    def __call__(self, *asked: Any, **given: Any) -> Any:
        try:
            made = self.network(*asked, **given)
        except torch.OutOfMemoryError:
            raise
        except UserError as error:
            if str(error).startswith(" ".join(self.who.split()[:2])):
                raise
            raise UserError(f"{self.who}: {error}") from error
        except Exception as error:
            raise FirstStepError(
                f"{self.who} fails on {_described(*asked, **given)}: {type(error).__name__}: {error}"
            ) from error
        self.check(self.who, made, *asked)
        return made


@contextmanager
def _each_watched(D: _Watched, judges: Judges) -> Iterator[None]:
    """Within it, errors of a list of judges name the one that breaks."""

    def noted(who: str, *_: Any) -> None:
        D.who = who

    hooks = []
    for i, (name, judge) in enumerate(zip(judges.names, judges.networks, strict=False)):
        who = f"discriminator '{name}' (discriminator.{i} in the recipe)"
        hooks.append(judge.register_forward_pre_hook(partial(noted, who)))
        hooks.append(judge.register_forward_hook(lambda _, __, made, who=who: _check_verdict(who, made)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _described(image: Any, *_rest: Any, **given: Any) -> str:
    """What a network was given."""
    keywords = f" and the keyword {' and '.join(given)}" if given else ""
    if not isinstance(image, Tensor) or image.ndim != 4:
        return f"what is not a batch of images{keywords}"
    return f"an image of {image.shape[-1]} x {image.shape[-2]} with {image.shape[1]} channels{keywords}"


@contextmanager
def naming(name: str, method: str) -> Iterator[None]:
    try:
        yield
    except SeveralJudgesError as error:
        raise UserError(f"loss '{name}': {error}") from None
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise FirstStepError(f"loss '{name}' fails in {method}: {type(error).__name__}: {error}") from error


def _check_translation(domains: Mapping[str, Domain]) -> Callable[..., None]:
    def check(who: str, made: object, x: Tensor, _source: str, *targets: str) -> None:
        if not isinstance(made, Translation):
            raise FirstStepError(f"{who} returned a {type(made).__name__}, not a Translation.")
        for target in targets:
            if target not in made.images:
                raise FirstStepError(f"{who} returned no Translation with an image of '{target}'.")
            image, expected = made.images[target], (len(x), domains[target].channels, *x.shape[-2:])
            if tuple(image.shape) != expected:
                raise FirstStepError(f"{who} returned the shape {tuple(image.shape)}; expected {expected}.")

    return check


def _check_verdict(who: str, verdict: object, *_asked: object) -> None:
    if getattr(verdict, "judges", ()):
        return  # each was checked
    scales = verdict if isinstance(verdict, list | Judged) and verdict else [None]
    if not all(isinstance(s, list) and s and isinstance(s[-1], Tensor) and s[-1].ndim == 4 for s in scales):
        raise FirstStepError(f"{who} did not return a verdict: a list for each scale, ending in logits (B, 1, h, w).")


def _check_terms(terms: Terms, where: str, player: nn.Module) -> None:
    """Check that the terms can be summed and minimised."""
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.ndim:
            shape = f"the shape {tuple(term.shape)}" if isinstance(term, Tensor) else f"the type {type(term).__name__}"
            raise TypeError(f"'{name}' has {shape}, and must be a scalar tensor (0-d)")
    if any(p.requires_grad for p in player.parameters()) and not any(term.requires_grad for term in terms.values()):
        raise TypeError(f"no term of {where} depends on a trainable network" if terms else f"{where} gives no term")
