"""The contract: what a generator, a discriminator, a loss and a dataset are.

B batch, C channels, H height, W width. Images are float32 in [-1, 1]. Label maps travel as integer ids (B, 1, H, W) until
they are on the device; networks and losses see them one-hot, float32 (B, classes, H, W), see ``i2i.labels``.

A component is registered as a *factory*: a class or function whose keyword-only, typed parameters are the options of a
recipe. The core supplies the parameters named in ``i2i.recipe.options.SUPPLIED`` itself, and those in
``OFFERED`` where a factory asks for them; recipes cannot set them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Batch = Mapping[str, Tensor]
"""One tensor for each domain key: ``{"a": (B, C_a, H, W), "b": (B, C_b, H, W)}``, and beside them what a loss ``wants``."""

Images = Mapping[str, Any]
"""Whatever mapping of tensors a loss chose for its own use; the loop only detaches it."""

Terms = dict[str, Tensor]
"""Named scalars (0-d), already weighted; their sum is minimised."""

Verdict = Sequence[list[Tensor]]
"""One list for each scale: feature maps …, and last the logits (B, 1, h, w). Without extras, a plain list of them."""

Direction = tuple[str, str]
"""(source key, target key), for instance ``("a", "b")``."""


@dataclass(frozen=True)
class Preparation:
    """How a file becomes a sample of a domain. A model keeps it with the domain; ``i2i.pictures.reading`` applies it.

    Images: transparency is laid on ``alpha`` (or dropped); the values ``range`` become -1 and 1, where None stands for 0 and
    255 of 8 bits, 0 and 65535 of 16, 0 and 1 of floats.

    Labels: the number v in a file is the class that ``values``, pairs (v, class), give it, else v + ``offset``. If the files
    are ``colored``, their colours are looked up in the domain's; one that is none of them is the class ``unknown``, where that
    is not None.

    Both are scaled to ``size`` (height, width), where that is not None; if ``cover``, to the smallest size of the same
    proportions that covers it.
    """

    alpha: Literal["white", "black", "drop"] = "white"
    range: tuple[float, float] | None = None
    offset: int = 0
    values: tuple[tuple[int, int], ...] = ()
    colored: bool = False
    unknown: int | None = None
    size: tuple[int, int] | None = None
    cover: bool = False


@dataclass(frozen=True)
class Domain:
    """What the images of one side are.

    ``name`` is shown to people ("day"); ``channels`` is the number that a network sees (3 for RGB, the number of classes
    for labels). ``classes`` and ``colors`` (0-255 RGB, one for each class) describe a label domain. With ``instances`` its
    samples are (2, H, W), class ids and instance numbers, and networks see the instances' borders as one more channel,
    which ``channels`` counts. ``preparation`` says how files become samples; domains that differ in it only are equal.
    """

    name: str
    kind: Literal["image", "labels"]
    channels: int
    classes: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] = ()
    instances: bool = False
    preparation: Preparation = field(default=Preparation(), compare=False)

    @property
    def label_count(self) -> int:
        """The number of classes of a label domain: its channels without that of the instances' borders."""
        return self.channels - self.instances


class Translation(NamedTuple):
    """What a generator returns: ``images`` target key -> (B, C_target, H, W), and the ``extras`` that it exposes.

    Where an extra belongs to a target and the call has several, each target's own is called ``"b.cam"`` beside ``"cam"``, which
    is the first target's.
    """

    images: dict[str, Tensor]
    extras: dict[str, Tensor] = {}  # noqa: RUF012 - never mutated

    @property
    def image(self) -> Tensor:
        """The only image, (B, C, H, W), where there is one target."""
        (image,) = self.images.values()
        return image


class Judged(Verdict):
    """A verdict with the ``extras`` that a discriminator exposes: ``Judged([[logits]], {"cam": …}).extras["cam"]``.

    Tensors of 16 bits become float32. (It is no list: Accelerate, which does that with what networks return, would make a list
    anew, without its extras.)
    """

    def __init__(self, scales: Verdict, extras: Mapping[str, Tensor]) -> None:
        self.scales = [[_in_float32(x) for x in scale] for scale in scales]
        self.extras = {name: _in_float32(x) for name, x in extras.items()}

    def __getitem__(self, scale: Any) -> Any:
        return self.scales[scale]

    def __len__(self) -> int:
        return len(self.scales)


def _in_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x


@dataclass(frozen=True)
class Needs:
    """A loss's demands, checked before step 0.

    ``extras`` is what the generator must expose, ``verdict`` what the discriminator must; ``keywords`` is what the generator
    must accept. With ``adversarial=False`` no discriminator is built and its phase is skipped. ``judged`` names the directions
    whose images the discriminator judges, if these are not all between two domains. With ``conditional`` the discriminator sees
    the source image too. ``wants`` names entries of a batch beside its domains, such as class ids; no other
    loss sees them.
    """

    directions: tuple[Direction, ...]
    paired: bool = False
    conditional: bool = False
    adversarial: bool = True
    extras: frozenset[str] = frozenset()
    verdict: frozenset[str] = frozenset()
    keywords: frozenset[str] = frozenset()
    wants: frozenset[str] = frozenset()
    judged: tuple[Direction, ...] | None = None


class Generator(Protocol):
    """Factory: ``(*, domains, directions, **options) -> nn.Module``.

    ``exposes`` names the extras of its translations; a call without targets asks for nothing else. It may have an attribute
    ``accepts``, a frozenset of the keywords that a call may give beside the image. An extra called ``KEYWORD_…`` belongs to
    that keyword, and is owed only where it is given. These names have a meaning for all:

    - the extra ``"mean"``: the mean of the latent distribution.
    - the keyword ``"latent"``: ``extras["latent"]`` of an earlier call, to decode again without encoding x again.
    - the keyword ``"style"``: an image of the target domain (B, C_target, H, W); without it, a style is drawn from torch's
      default generator.
    - the keyword ``"mix"``, with ``style`` (n, C_target, H, W): n weights that sum to 1, by which those styles are averaged.

    ``divisor``: H and W must be multiples of it; inference pads to it and crops back, and clamps images to [-1, 1]. It may
    have ``any_source = True`` if the source makes no difference to it: then people name the target only.

    It may have ``pictures``, names of extras that grids show: (B, 1 or 3, h, w) in [-1, 1], of any height and width.

    It, or a part of it, may have ``rates``, the learning rates of its parts relative to the player's: ``{"mapping": 0.01}``.
    It may have ``parts``, the names of those that only a keyword or an extra needs: ``{"style": ("encoder",)}``. Where no loss
    needs that and no gradient comes there, they are None, and it is in ``accepts`` and ``exposes`` no longer.
    Discriminators and the networks of losses may have both too.
    """

    exposes: frozenset[str]
    divisor: int

    def __call__(self, x: Tensor, source: str, *targets: str, **given: Tensor) -> Translation:
        """Translate x (B, C_source, H, W) with one encoding and one decoding for each target; without any, extras only."""
        ...


class Discriminator(Protocol):
    """Factory: ``(*, domains, conditions, **options) -> nn.Module``, with one judge for each key of ``domains``.

    ``conditions`` maps a judged domain's key to the Domain of the source image it sees beside the image; it is empty for
    unconditional losses. ``exposes`` may hold ``"features"``: the verdict's lists carry feature maps before the logits. All
    else that it names are extras of a verdict that is ``Judged``.
    """

    exposes: frozenset[str]

    def __call__(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Judged:
        """Judge image (B, C, H, W) as a member of the domain with that key; a list will do where there are no extras."""
        ...


class Loss(Protocol):
    """Factory: ``(*, domains, **options) -> nn.Module``. It may hold networks, an image pool, a perceptual network.

    It calls ``G(…)`` and ``D(…)`` only: no methods, no ``.module``, no isinstance. What it keeps from step to step is in its
    ``state_dict``. ``networks`` lists the trainable networks that it owns (several in a ``ModuleList`` or ``ModuleDict`` under
    one name); they share the generator's optimizer. It
    writes into no tensor that it is given, as another loss may hold the same one.

    It may have an attribute ``together = False``. The core sets it to true where the networks treat every image as if it were
    alone (``layers.let_call_together``): then the loss may put different images into one call, which is faster.

    It, or a part of it, may have a method ``begin(step, steps)``, called before each step with the number of steps that the run
    has made and will have made, for what changes in the course of training. A resumed run goes on with its step. After it comes
    a method ``resting(step)``, if there is one: the names of players ("generator", "discriminator"), which are not trained in
    this step, and of parts ("generator.mapping"), whose weights keep their values. It depends on the step alone.
    """

    needs: Needs
    order: Literal["generator_first", "discriminator_first"]
    fresh_fakes: bool
    networks: tuple[str, ...]

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Every image that the generator's terms look at, with its graph."""
        ...

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """The images for the discriminator's step, translated again. Called without gradient, only if ``fresh_fakes``."""
        ...

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """What the generator minimises. D is frozen: gradients pass through it, but none stay in it."""
        ...

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """What the discriminator minimises. ``images`` come detached: from ``fakes`` if ``fresh_fakes``, else ``translate``."""
        ...


@runtime_checkable
class Dataset(Protocol):
    """Factory: ``(**options)``. A map-style data set.

    ``domains`` has the key of every side: a letter, then letters and digits. With ``paired`` the sides of one sample are
    aligned pixel by pixel. Whatever is drawn at random is drawn from torch's default generator, which the core seeds from
    (seed, epoch, index) for each sample: the samples depend neither on the number of workers nor on a resume.
    """

    domains: Mapping[str, Domain]
    paired: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample: for each domain key float32 (C, H, W) in [-1, 1], or for labels int64 ids (1, H, W).

        It may hold more, tensors of any shape: a loss gets what it ``wants`` of it (``Needs``), and nobody else any.
        """
        ...


@runtime_checkable
class Stream(Dataset, Protocol):
    """A data set that can only be read from front to back; the core asks for the samples of an epoch in the order 0, 1, 2, …

    Which pictures make up sample ``index`` of an epoch depends on (seed, epoch, index) alone, so that a resumed run, which
    starts in the middle of an epoch, and every loader process, which asks for some of the samples, see the same ones.
    ``dataset[index]`` is sample ``index`` of some fixed order.
    """

    def at(self, seed: int, epoch: int, index: int) -> dict[str, Tensor]:
        """Sample ``index`` of an epoch; it is used in place of ``dataset[index]``."""
        ...
