"""What every adversarial objective must do: scalars of logits of any shape, whose gradients lead the right way."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from i2i.objectives import objective_of
from i2i.testing.subject import Subject, ensure, is_finite

SHAPES = ((2, 1, 4, 4), (3, 1, 1, 1), (2, 5))
EXTREME = 1e4


def declared(subject: Subject) -> None:
    """It says whether it is paired, and has the methods of its kind."""
    _built(subject)


def scalars(subject: Subject) -> None:
    """Each term of finite logits of any shape is a finite scalar, with a finite gradient for each of the logits."""
    for shape in SHAPES:
        for name, term, count in _terms(subject):
            for scale in (1.0, EXTREME):
                logits = [_random(shape, seed, scale).requires_grad_() for seed in range(count)]
                found = term(*logits)
                ensure(
                    isinstance(found, Tensor) and not found.ndim, f"{name} must return a scalar tensor (0-d): take the mean."
                )
                ensure(is_finite((found,)), f"{name} is {found.item()} for logits of {scale:g}: compute it stably.")
                ensure(found.requires_grad, f"{name} has no gradient: do not detach its logits.")
                torch.autograd.backward(found)
                own = logits if name == "discriminator" else logits[:1]
                ensure(all(x.grad is not None for x in own), f"{name} does not depend on all its logits.")
                ensure(is_finite(x.grad for x in logits if x.grad is not None), f"the gradient of {name} is not finite.")


def means(subject: Subject) -> None:
    """Each term is a mean over the logits: of the same pictures twice it is the same."""
    for name, term, count in _terms(subject):
        logits = [_random((2, 1, 4, 4), seed) for seed in range(count)]
        once = _built_term(subject, name)(*logits)
        twice = term(*(x.repeat(2, 1, 1, 1) for x in logits))
        same = torch.allclose(once, twice, rtol=1e-4, atol=1e-5)
        ensure(same, f"{name} depends on the number of pictures in a batch: take the mean, not the sum.")


def directions(subject: Subject) -> None:
    """Both players are led the right way: the discriminator to larger logits for real pictures, the generator for its own."""
    low, high = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    objective = _built(subject)
    right: dict[str, tuple[tuple[Tensor, ...], tuple[Tensor, ...], str]] = {
        "real": ((high,), (low,), "logits of 1 than for logits of 0"),
        "fake": ((low,), (high,), "logits of 0 than for logits of 1"),
        "discriminator": ((high, low), (low, high), "real logits of 1 and fake ones of 0 than the other way round"),
        "generator": ((high, low), (low, high), "logits of 1 for its own pictures than for logits of 0"),
    }
    for name, _, count in _terms(subject):
        better, worse, where = right[name]
        falls = getattr(objective, name)(*better[:count]) < getattr(objective, name)(*worse[:count])
        ensure(falls, f"{name} must be smaller for {where}: check its signs.")


def pairing(subject: Subject) -> None:
    """A paired one compares logits one by one: other pairs give another term."""
    for name, term, count in _terms(subject):
        if count == 1:
            return
        one, other = (_random((3, 1, 4, 4), seed) for seed in range(2))
        alike = torch.allclose(term(one, other), term(one, other.roll(1, 0)), rtol=1e-5, atol=1e-6)
        ensure(not alike, f"{name} does not compare the pictures of a sample, and so needs no paired data: set paired = False.")


CHECKS = (declared, scalars, means, directions, pairing)
SLOW = ()


def _built(subject: Subject) -> object:
    return objective_of(subject.build())


def _terms(subject: Subject) -> Iterator[tuple[str, Callable[..., Tensor], int]]:
    """Each method, of an objective built for it, with the number of its logits."""
    paired = objective_of(subject.build()).paired
    for name in ("discriminator", "generator") if paired else ("real", "fake", "generator"):
        yield name, _built_term(subject, name), 2 if paired else 1


def _built_term(subject: Subject, name: str) -> Callable[..., Tensor]:
    term: Callable[..., Tensor] = getattr(_built(subject), name)
    return term


def _random(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
