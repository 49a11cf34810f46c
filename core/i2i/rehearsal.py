"""One sample through every way of the networks before anything is written: wrong shapes and sizes are found here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.labels import to_network
from i2i.protocols import Domain, Needs, Translation
from i2i.randomness import seeded

Result = TypeVar("Result")


def rehearse(
    sample: Mapping[str, Tensor],
    domains: Mapping[str, Domain],
    needs: Needs,
    generator: nn.Module,
    discriminator: nn.Module | None,
    names: tuple[str, str],
    batch_size: int = 1,
) -> None:
    """Translate one sample (C, H, W) of each source, *batch_size* times, and judge it, in training mode without gradient.

    ``names`` are those of the generator and the discriminator, for the messages. The random state and the networks'
    buffers are left as they were.

    Raises:
        UserError: a network cannot take images of this size, or returns what the contract does not allow.
    """
    networks = [network for network in (generator, discriminator) if network is not None]
    with seeded(0), torch.no_grad(), untouched(networks):
        batch = {key: to_network(sample[key].expand(batch_size, *sample[key].shape), domain) for key, domain in domains.items()}
        for source, target in needs.directions:
            translated = _asked(f"generator '{names[0]}'", generator, batch[source], source, target)
            image = _image(translated, target, batch[source], domains[target], names[0])
            if discriminator is not None and source != target:
                condition = batch[source] if needs.conditional else None
                verdict = _asked(f"discriminator '{names[1]}'", discriminator, image, target, condition)
                _check_verdict(verdict, names[1])


@contextmanager
def untouched(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Within it the networks train; afterwards their modes and buffers (running statistics …) are as before."""
    modes = [network.training for network in networks]
    before = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    for network in networks:
        network.train()
    try:
        yield
    finally:
        for network, training in zip(networks, modes, strict=True):
            network.train(training)
        for buffer, saved in before:
            buffer.copy_(saved)


def _asked(who: str, network: Callable[..., Result], image: Tensor, *rest: object) -> Result:
    try:
        return network(image, *rest)
    except UserError:
        raise
    except Exception as error:
        size = f"{image.shape[-1]} x {image.shape[-2]}"
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{who} fails on an image of {size} with {image.shape[1]} channels: {reason}") from error


def _image(translated: object, target: str, x: Tensor, domain: Domain, name: str) -> Tensor:
    if not isinstance(translated, Translation) or target not in translated.images:
        raise UserError(f"generator '{name}' returned no Translation with an image of '{target}'.")
    image = translated.images[target]
    expected = (len(x), domain.channels, *x.shape[-2:])
    if tuple(image.shape) != expected:
        raise UserError(f"generator '{name}' returned the shape {tuple(image.shape)}; expected {expected}.")
    return image


def _check_verdict(verdict: object, name: str) -> None:
    scales = verdict if isinstance(verdict, list) else [None]
    if not all(isinstance(s, list) and s and isinstance(s[-1], Tensor) and s[-1].ndim == 4 for s in scales):
        raise UserError(f"discriminator '{name}' returned no verdict: a list for each scale, ending in logits (B, 1, h, w).")
