"""What every discriminator must do."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from i2i.protocols import Domain, Judged
from i2i.randomness import seeded
from i2i.testing.subject import (
    Domains,
    Refused,
    Subject,
    backward,
    check_exposes,
    check_same_build,
    copy_state,
    ensure,
    gradientless,
    image,
    is_finite,
)


def verdicts(subject: Subject) -> None:
    """At several sizes, with and without a condition, it returns a list for each scale that ends with logits (B, 1, h, w)."""
    for conditional in _modes(subject):
        for domains, judge in subject.situations(partial(_built, subject, conditional=conditional)):
            check_exposes(judge)
            judge.eval()
            for b, h, w in ((1, _side(subject), _side(subject)), (2, _side(subject), 3 * _side(subject) // 2)):
                for key in _judged(domains):
                    with torch.no_grad():
                        verdict = judge(image(domains[key], b, h, w), key, _condition(domains, key, conditional, b, h, w))
                    _check_verdict(verdict, b, judge.exposes)


def _check_verdict(verdict: Any, batch: int, exposes: frozenset[str]) -> None:
    ensure(isinstance(verdict, list | Judged) and verdict, "forward must return a list that contains a list for each scale.")
    returned, exposed, features = _extras(verdict), exposes - {"features"}, "features" in exposes
    said = f"it exposes the extras {sorted(exposed)} but returns {sorted(returned)}"
    ensure(set(returned) == exposed, f"{said}: return an i2i.protocols.Judged with all of them.")
    ensure(all(isinstance(x, Tensor) and is_finite((x,)) for x in returned.values()), "extras must be finite tensors.")
    for scale in verdict:
        ensure(isinstance(scale, list) and scale, "each scale must be a list of feature maps that ends with the logits.")
        ensure(all(isinstance(t, Tensor) and t.ndim == 4 and len(t) == batch for t in scale), "all maps must be (B, C, h, w).")
        ensure(scale[-1].shape[1] == 1, f"logits must be (B, 1, h, w), not {tuple(scale[-1].shape)}.")
        ensure(is_finite(scale), "its output contains NaN or infinity.")
        ensure(not features or len(scale) > 1, "it exposes 'features', but a scale has no feature map before the logits.")


def gradients(subject: Subject) -> None:
    """Every parameter gets a gradient, and so does the image, even when the discriminator is frozen."""
    for conditional in _modes(subject):
        domains, judge = _first(subject, conditional)
        judge.train()
        backward(_score(subject, domains, judge, key, conditional, maps=True) for key in _judged(domains))
        missing = gradientless(judge)
        ensure(not missing, f"the parameter '{missing and missing[0]}' gets no gradient: use it or remove it.")
    judge.requires_grad_(False)
    x = image(domains["b"], 2, _side(subject), _side(subject)).requires_grad_()
    verdict = judge(x, "b", _condition(domains, "b", conditional, 2, _side(subject), _side(subject)))
    if all(scale[-1].requires_grad for scale in verdict):
        backward(scale[-1].mean() for scale in verdict)
    ensure(x.grad is not None and bool(x.grad.any()), "no gradient reaches the image, so no generator can learn from it.")


def bf16(subject: Subject) -> None:
    """Under autocast to bfloat16 nothing becomes NaN, forward or backward."""
    domains, judge = _first(subject, False)
    with torch.autocast("cpu", torch.bfloat16):
        score = _score(subject, domains, judge.train(), "b", False)
    ensure(is_finite((score,)), "in bfloat16 the output is NaN or infinite: compute sums and norms in float32.")
    backward([score])
    finite = is_finite(p.grad for p in judge.parameters() if p.grad is not None)
    ensure(finite, "in bfloat16 a gradient is NaN or infinite: compute sums and norms in float32.")


def determinism(subject: Subject) -> None:
    """The same seed gives the same network and the same verdict."""
    domains, judge = _first(subject, False)
    check_same_build(judge, _built(subject, domains, False))
    with torch.no_grad():
        one, two = (_score(subject, domains, judge.eval(), "b", False) for _ in range(2))
    ensure(torch.equal(one, two), "two calls with the same seed differ: draw only from torch's default generator.")


def state(subject: Subject) -> None:
    """Another discriminator that loads its state dict gives the same verdict."""
    domains, judge = _first(subject, False)
    other = _built(subject, domains, False, seed=1)
    with torch.no_grad():
        _score(subject, domains, judge.train(), "b", False)
        copy_state(judge, other)
        one, two = (_score(subject, domains, d.eval(), "b", False) for d in (judge, other))
    ensure(torch.equal(one, two), "a copy with its state dict gives another verdict: keep all state in the state dict.")


CHECKS = (verdicts, gradients, bf16, determinism, state)
SLOW = ()


def _modes(subject: Subject) -> tuple[bool, ...]:
    """Without and with a condition; a discriminator may refuse all conditions when it is built."""
    try:
        _first(subject, True)
    except Refused:
        return (False,)
    return (False, True)


def _judged(domains: Domains) -> list[str]:
    return list(domains)[1:]


def _built(subject: Subject, domains: Domains, conditional: bool, seed: int = 0) -> Any:
    judged = {key: domains[key] for key in _judged(domains)}
    conditions: dict[str, Domain] = dict.fromkeys(judged, domains["a"]) if conditional else {}
    return subject.build(seed=seed, domains=judged, conditions=conditions)


def _first(subject: Subject, conditional: bool) -> tuple[Domains, Any]:
    return next(subject.situations(lambda domains: _built(subject, domains, conditional)))


def _side(subject: Subject) -> int:
    return subject.side


def _condition(domains: Domains, key: str, conditional: bool, b: int, h: int, w: int) -> Tensor | None:
    return image(domains["a"], b, h, w, 7) if conditional else None


def _score(subject: Subject, domains: Domains, judge: Any, key: str, conditional: bool, maps: bool = False) -> Tensor:
    """A scalar that depends on all logits and extras (and on the *maps* before the logits), under a seed."""
    side = _side(subject)
    with seeded(0):
        verdict = judge(image(domains[key], 2, side, side), key, _condition(domains, key, conditional, 2, side, side))
    seen = [*(x for scale in verdict for x in scale[0 if maps else -1 :]), *_extras(verdict).values()]
    return torch.stack([(x.float() - 1).square().mean() for x in seen]).sum()


def _extras(verdict: Any) -> Mapping[str, Any]:
    return verdict.extras if isinstance(verdict, Judged) else {}
