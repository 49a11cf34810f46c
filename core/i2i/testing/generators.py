"""What every generator must do."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from i2i.adapters import OneDirection, pictures_of
from i2i.building.needs import accepted, owed
from i2i.building.reach import leave_out, unreached
from i2i.errors import one_line
from i2i.protocols import Direction, Domain, Translation
from i2i.randomness import seeded
from i2i.testing.subject import (
    Domains,
    Refused,
    Skipped,
    Subject,
    backward,
    check_exposes,
    check_same_build,
    copy_state,
    directions,
    ensure,
    gradientless,
    image,
    is_finite,
)


def shapes(subject: Subject) -> None:
    """At several sizes, channels and batch sizes: images of the target's shape and range."""
    for domains, generator in subject.situations(lambda domains: _built(subject, domains)):
        check_exposes(generator)
        divisor = getattr(generator, "divisor", None)
        ensure(isinstance(divisor, int) and divisor >= 1, "give it an attribute 'divisor': H and W are multiples of it.")
        side = _side(subject, generator)
        generator.eval()
        for b, h, w in ((1, side, side), (2, side, side + generator.divisor)):
            for source, target in directions(domains):
                with torch.no_grad():
                    made = generator(image(domains[source], b, h, w), source, target)
                ensure(isinstance(made, Translation), f"forward must return a Translation, not {type(made).__name__}.")
                _check_image(made.images.get(target), (b, domains[target].channels, h, w), domains[target], (source, target))


def _check_image(made: Any, shape: tuple[int, ...], domain: Domain, way: Direction) -> None:
    place = f"{way[0]}→{way[1]}"
    ensure(isinstance(made, Tensor), f"{place}: the images of the Translation have no key '{way[1]}'.")
    ensure(tuple(made.shape) == shape, f"{place}: the image has shape {tuple(made.shape)}, expected {shape}.")
    ensure(made.dtype == torch.float32 and is_finite((made,)), f"{place}: images must be finite float32, not {made.dtype}.")
    if domain.kind == "labels":
        sums = bool(torch.allclose(made.sum(1), torch.ones_like(made[:, 0]), atol=1e-3))
        ensure(sums and float(made.min()) >= 0, f"{place}: channels of labels must be probabilities: end with a softmax.")


def identities(subject: Subject) -> None:
    """From a domain to itself, as reconstruction losses use it: images of its shape and range."""
    for domains, generator in _into_themselves(subject):
        side = _side(subject, generator.eval())
        for key, domain in domains.items():
            with torch.no_grad():
                made = generator(image(domain, 2, side, side), key, key)
            _check_image(made.images.get(key), (2, domain.channels, side, side), domain, (key, key))


def several_targets(subject: Subject) -> None:
    """One call may have several targets, or none to get only extras."""
    try:
        (domains, generator), targets = next(_into_themselves(subject)), ["a", "b"]
    except Skipped:
        made = subject.situations(lambda domains: _built(subject, domains))
        domains, generator = max(made, key=lambda one: len(one[0]))
        targets = list(domains)[1:]
    x = image(domains["a"], 1, _side(subject, generator), _side(subject, generator))
    with torch.no_grad():
        every, none = generator.eval()(x, "a", *targets), generator(x, "a")
    ensure(set(every.images) == set(targets), f"called with the targets {targets}, it must return an image for each.")
    ensure(not none.images, "called without targets, it must return only extras and no images.")
    returned = set(every.extras)
    own = {name.partition(".")[2] for name in returned - generator.exposes}
    called = " and ".join(f"'{target}.cam'" for target in targets)
    expected = {f"{start}{name}" for name in own for start in ("", *(f"{target}." for target in targets))}
    ensure(
        own <= generator.exposes and returned - generator.exposes <= expected <= returned,
        f"called with the targets {targets}, it may return an exposed extra 'cam' for each target too, as {called}, but no "
        f"other extras. It returns {sorted(returned)}.",
    )


def gradients(subject: Subject) -> None:
    """Every parameter gets a finite gradient from the images or extras of all directions, with a style and without."""
    domains, generator = _first(subject)
    for terms in _learnt(subject, domains, generator.train()):
        backward(terms)
    missing = gradientless(generator)
    ensure(not missing, f"{_some(missing)} no gradient: use it, remove it, or set requires_grad to False.")


def bf16(subject: Subject) -> None:
    """Under autocast to bfloat16 nothing becomes NaN, forward or backward."""
    domains, generator = _first(subject)
    with torch.autocast("cpu", torch.bfloat16):
        every = list(_learnt(subject, domains, generator.train()))
    for terms in every:
        ensure(is_finite(terms), "in bfloat16 the output is NaN or infinite: compute sums and norms in float32.")
        backward(terms)
    missing = gradientless(generator)
    ensure(not missing, f"in bfloat16 {_some(missing)} no finite gradient: compute sums and norms in float32.")


def determinism(subject: Subject) -> None:
    """The same seed gives the same network and the same translation, in training mode too."""
    domains, generator = _first(subject)
    other = _built(subject, domains)
    check_same_build(generator, other)
    for mode in (False, True):
        with torch.no_grad():
            one, two = (_translated(subject, domains, g.train(mode), ("a", "b"), seed=3).image for g in (generator, other))
        words = "training" if mode else "evaluation"
        ensure(torch.equal(one, two), f"in {words}, two calls under one seed differ: draw only from torch's default generator.")


def state(subject: Subject) -> None:
    """Another generator that loads its state dict gives the same translation."""
    domains, generator = _first(subject)
    other = _built(subject, domains, seed=1)
    _train_a_little(subject, domains, generator)
    copy_state(generator, other)
    with torch.no_grad():
        one, two = (_translated(subject, domains, g.eval(), ("a", "b")).image for g in (generator, other))
    ensure(torch.equal(one, two), "a copy with its state dict gives another image: keep all state in the state dict.")


def extras(subject: Subject) -> None:
    """It accepts its keywords and returns exactly the extras that it exposes, those of a keyword only if it is passed."""
    domains, generator = _first(subject)
    takes = accepted(generator.eval())
    for given in dict.fromkeys((takes & {"style"}, frozenset[str]())):
        with torch.no_grad():
            made = _translated(subject, domains, generator, ("a", "b"), styled=bool(given))
        returned, exposed = set(made.extras), {name for name in generator.exposes if owed(name, takes, given)}
        spare, early, lacking = (sorted(s) for s in (returned - generator.exposes, returned - exposed, exposed - returned))
        ensure(not spare, f"it returns extras that it does not expose: {spare}. Add them to 'exposes'.")
        ensure(not early, f"it returns {early} in a call without a style: rename them, or return them only with a style.")
        ensure(not lacking, f"it exposes {lacking} but does not return them{' without a style' * (not given)}.")
        ensure(all(isinstance(extra, Tensor) for extra in made.extras.values()), "extras must be tensors.")
    for name in pictures_of([generator]):
        ensure(name in generator.exposes, f"'pictures' names '{name}', which it does not expose. Add it to 'exposes'.")
        shape = tuple(made.extras[name].shape)
        ensure(
            len(shape) == 4 and shape[1] in (1, 3), f"the extra '{name}' is a picture: make it (B, 1 or 3, h, w), not {shape}."
        )
        ensure(made.extras[name].abs().max() <= 1 + 1e-3, f"the extra '{name}' is a picture: scale its values to [-1, 1].")
    if "latent" in takes:
        ensure("latent" in made.extras, "it accepts 'latent' but does not return it: expose 'latent' as an extra.")
        x = image(domains["a"], 2, *(2 * [_side(subject, generator)]))
        with torch.no_grad():
            again = generator(x, "a", "b", latent=made.extras["latent"]).image
        ensure(torch.allclose(again, made.image, atol=1e-5), "a call with the returned 'latent' must give the same image.")


def parts(subject: Subject) -> None:
    """Calls without a style give the same image after the optional ``parts`` that they do not use are removed."""
    domains, generator = _first(subject)
    for terms in _learnt(subject, domains, generator, styles=(False,)):
        backward(terms)
    reached = {p for p in generator.parameters() if p.grad is not None}
    idle, _ = unreached(generator.eval(), reached, ())
    with torch.no_grad():
        before = _translated(subject, domains, generator, ("a", "b"), styled=False).image
        try:
            after = _translated(subject, domains, leave_out(generator, idle), ("a", "b"), styled=False).image
        except Exception as error:
            reason = f"without its 'parts' {', '.join(idle)} it fails ({type(error).__name__}: {one_line(error)})"
            raise AssertionError(f"{reason}: these attributes are None then; do not use them in such a call.") from error
    ensure(torch.equal(before, after), f"without its 'parts' {', '.join(idle)}, the image must stay the same, but it changes.")


def compiles(subject: Subject) -> None:
    """It gives the same translation with torch.compile, unless it declares ``compiles = False``."""
    domains, generator = _first(subject)
    if any(getattr(part, "compiles", True) is False for part in generator.eval().modules()):
        return
    compiled = torch.compile(generator, backend="aot_eager")
    try:
        with torch.no_grad():
            one, two = (_translated(subject, domains, g, ("a", "b")).image for g in (generator, compiled))
    except Exception as error:
        raise AssertionError(f"torch.compile fails ({type(error).__name__}): fix it, or declare 'compiles = False'.") from error
    ensure(torch.allclose(one, two, atol=1e-4), "compiled, it gives another image: fix it, or declare 'compiles = False'.")


def exports(subject: Subject) -> None:
    """It works with torch.export, on which the ONNX exporter is built, unless it declares ``exports = False``."""
    domains, generator = _first(subject)
    if any(getattr(part, "exports", True) is False for part in generator.eval().modules()):
        return
    side, divisor, network = _side(subject, generator), generator.divisor, OneDirection(generator, ("a", "b"))
    rows, columns = (divisor * torch.export.Dim(name, min=2) for name in ("rows", "columns"))
    shapes = {0: torch.export.Dim("batch", min=1), 2: rows, 3: columns}
    wide = image(domains["a"], 1, side + divisor, side + 2 * divisor)
    try:
        with torch.no_grad():
            example = image(domains["a"], 2, side, side + divisor)
            made = torch.export.export(network, (example,), dynamic_shapes=(shapes,)).module()(wide)
    except Exception as error:
        reason = f"torch.export fails ({type(error).__name__}: {one_line(error)})"
        raise AssertionError(f"{reason}: fix it, or declare 'exports = False'.") from error
    with torch.no_grad():
        same = torch.allclose(made, network(wide), atol=1e-4)
    ensure(same, "exported, it gives another image of a rectangle: fix it, or declare 'exports = False'.")


CHECKS = (shapes, identities, several_targets, gradients, bf16, determinism, state, extras, parts)
SLOW = (compiles, exports)


def _built(subject: Subject, domains: Domains, seed: int = 0, reconstructs: bool = False) -> Any:
    own = tuple((key, key) for key in domains) if reconstructs else ()
    return subject.build(seed=seed, domains=domains, directions=(*own, *directions(domains)))


def _first(subject: Subject) -> tuple[Domains, Any]:
    """The first domains that it accepts, and the generator for them."""
    return next(subject.situations(lambda domains: _built(subject, domains)))


def _into_themselves(subject: Subject) -> Iterator[tuple[Domains, Any]]:
    """Generators that translate every domain into itself, too.

    Raises:
        Skipped: its factory refuses that.
    """
    try:
        yield from subject.situations(lambda domains: _built(subject, domains, reconstructs=True))
    except Refused as error:
        told = str(error).partition("It says: ")[2]
        raise Skipped(f"its factory refuses to translate a domain into itself, which is allowed. It says: {told}") from error


def _side(subject: Subject, generator: Any) -> int:
    """The side of the images: a multiple of the divisor, large enough for the deepest layer."""
    divisor = int(generator.divisor)
    return subject.size or max(2 * divisor, -(-32 // divisor) * divisor)


def _translated(
    subject: Subject, domains: Domains, generator: Any, way: Direction, seed: int = 0, styled: bool = True
) -> Translation:
    """Translates two images under a seed, with a style if *styled* is true and the generator accepts one."""
    source, target = way
    side = _side(subject, getattr(generator, "_orig_mod", generator))
    styled = styled and "style" in accepted(generator)
    given: Mapping[str, Tensor] = {"style": image(domains[target], 2, side, side, 5)} if styled else {}
    with seeded(seed):
        made: Translation = generator(image(domains[source], 2, side, side), source, target, **given)
    return made


def _learnt(
    subject: Subject, domains: Domains, generator: Any, styles: tuple[bool, ...] = (True, False)
) -> Iterator[list[Tensor]]:
    """Scalars of the images and extras of each direction, with a style and without, and of images decoded from ``latent``."""
    for way in directions(domains):
        for styled in dict.fromkeys(styled and "style" in accepted(generator) for styled in styles):
            made = [_translated(subject, domains, generator, way, styled=styled)]
            if "latent" in accepted(generator) and "latent" in made[0].extras:
                x = image(domains[way[0]], 2, *(2 * [_side(subject, generator)]))
                made.append(generator(x, *way, latent=made[0].extras["latent"]))
            tensors = [tensor for one in made for tensor in (*one.images.values(), *one.extras.values())]
            yield [tensor.float().square().mean() for tensor in tensors if tensor.requires_grad]


def _train_a_little(subject: Subject, domains: Domains, generator: Any) -> None:
    """One forward pass in training mode, to change running statistics and other buffers."""
    with torch.no_grad():
        for way in directions(domains):
            _translated(subject, domains, generator.train(), way)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 1} more get" if len(names) > 1 else " gets"
    return f"the parameter '{names[0]}'{more}" if names else ""
