"""The least that a loss can stand beside, for losses that refuse to stand alone."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from i2i.building.combined import Losses, joined
from i2i.errors import UserError
from i2i.objectives import Adversarial
from i2i.protocols import Batch, Discriminator, Generator, Images, Needs, Terms, Verdict
from i2i.testing.subject import Domains


class Difference:
    """The objective that is the mean of D(fake) - D(real), without options."""

    paired = False

    def real(self, logits: Tensor) -> Tensor:
        return -logits.mean()

    def fake(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def generator(self, logits: Tensor) -> Tensor:
        return -logits.mean()


class Leading(nn.Module):
    """Adversarial, from the first domain to the last; *conditional* if its discriminator sees the source."""

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(self, domains: Domains, *, conditional: bool) -> None:
        super().__init__()
        self.adversarial = Adversarial(Difference())
        self.source, self.target = next(iter(domains)), list(domains)[-1]
        self.needs = Needs(((self.source, self.target),), paired=conditional, conditional=conditional)

    def translate(self, G: Generator, batch: Batch) -> Images:
        return {f"fake_{self.target}": G(batch[self.source], self.source, self.target).image}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        return self.translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        real = partial(self._judged, D, batch[self.target], batch)
        return {"gan": self.adversarial.generator(self._judged(D, images[f"fake_{self.target}"], batch), real)}

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        real, fake = (self._judged(D, image, batch) for image in (batch[self.target], images[f"fake_{self.target}"]))
        return self.adversarial.discriminator(real, fake)

    def _judged(self, D: Discriminator, image: Tensor, batch: Batch) -> Verdict:
        return D(image, self.target, batch[self.source] if self.needs.conditional else None)


def standing(factory: Callable[..., Any], name: str, domains: Domains, build: Callable[[Needs | None], Any]) -> Any:
    """The loss that *build* makes of the needs of those before it: alone, or in a list behind ``Leading`` if it refuses that.

    Raises:
        UserError: it refuses both.
    """
    try:
        return build(None)
    except UserError:
        if "beside" not in inspect.signature(factory).parameters:
            raise
    refusal: UserError | None = None
    for conditional in (False, True):
        leading = Leading(domains, conditional=conditional)
        try:
            return Losses([("leading", leading), (name, build(joined([("leading", leading.needs)])))])
        except UserError as error:
            refusal = error
    assert refusal is not None
    raise refusal
