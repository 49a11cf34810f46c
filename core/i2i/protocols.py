"""The contract of generators, discriminators, losses, objectives and data sets.

B batch, C channels, H height, W width. Images are float32 in [-1, 1]. Label maps are integer ids (B, 1, H, W) until they are on
the device; networks and losses see them one-hot, float32 (B, classes, H, W), see ``i2i.labels``.

A component is registered as a *factory*: a class or function whose keyword-only, typed parameters are the options of a
recipe. The core itself supplies the parameters in ``i2i.recipe.options.SUPPLIED``, and those in
``OFFERED`` if a factory asks for them; recipes cannot set them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from i2i.verdicts import Judged as Judged
from i2i.verdicts import JudgedBySeveral as JudgedBySeveral
from i2i.verdicts import SeveralJudgesError as SeveralJudgesError
from i2i.verdicts import Verdict as Verdict

Batch = Mapping[str, Tensor]
"""One tensor for each domain key: ``{"a": (B, C_a, H, W), "b": (B, C_b, H, W)}``, and further entries that a loss ``wants``."""

Images = Mapping[str, Any]
"""A mapping of tensors for the loss's own use; the loop only detaches them."""

Terms = dict[str, Tensor]
"""Named scalars (0-d), already weighted; their sum is minimised."""

Direction = tuple[str, str]
"""(source key, target key), for instance ``("a", "b")``."""


@dataclass(frozen=True)
class Preparation:
    """How a file becomes a sample of a domain. A model keeps it with the domain; ``i2i.pictures.reading`` applies it.

    Images: ``alpha`` is the background behind transparent pixels (or drops the transparency); the two values of ``range``
    become -1 and 1. None means 0 and 255 for 8 bits, 0 and 65535 for 16 bits, 0 and 1 for floats.

    Labels: a number v in a file means the class in ``values``, pairs (v, class), else the class v + ``offset``. If the files
    are ``colored``, their colours are looked up in the domain's colours; other colours are the class ``unknown``, unless it is
    None.

    Both are scaled to ``size`` (height, width), unless it is None; with ``cover``, to the smallest size of the same proportions
    that covers it.
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
    """A set of images that is a source or a target of translations.

    ``name`` is shown to users ("day"); ``kind`` is what it holds; ``channels`` is the number of channels that a network sees (3
    for RGB, the number of classes for labels). ``classes`` and ``colors`` (0-255 RGB, one for each class) describe a label
    domain. With ``instances`` its samples are (2, H, W), class ids and instance numbers; networks see the borders of the
    instances as one more channel, which ``channels`` includes. ``preparation`` says how files become samples; domains that
    differ only in it are equal.
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
        """The number of classes of a label domain: its channels without the one for the borders of instances."""
        return self.channels - self.instances


class Translation(NamedTuple):
    """What a generator returns: ``images``, target key -> (B, C_target, H, W), and the ``extras`` that it exposes.

    If an extra belongs to a target and a call has several targets, ``"b.cam"`` is the extra of the target b, and ``"cam"`` that
    of the first target.
    """

    images: dict[str, Tensor]
    extras: dict[str, Tensor] = {}  # noqa: RUF012 - never mutated

    @property
    def image(self) -> Tensor:
        """The only image, (B, C, H, W), if there is one target."""
        (image,) = self.images.values()
        return image


@dataclass(frozen=True)
class Needs:
    """What a loss needs, checked before step 0.

    ``directions`` are those of its translations; if ``paired``, the images of a batch must be aligned. ``extras`` is what the
    generator must expose, ``verdict`` what the discriminator must; ``keywords`` is what the generator must accept. With
    ``adversarial=False`` no discriminator is built and its phase is skipped. ``judged`` names the directions whose images the
    discriminator judges; by default all those between two domains. With ``conditional`` the discriminator sees the source image
    too. ``wants`` names further entries of a batch besides its domains, such as class ids; no other loss sees them.
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

    def __post_init__(self) -> None:
        if text := [name for name in ("extras", "verdict", "keywords", "wants") if isinstance(getattr(self, name), str)]:
            raise TypeError(f"Needs: '{text[0]}' must be a set of names, such as frozenset({{'mean'}}), not text")
        if odd := [way for way in (*self.directions, *(self.judged or ())) if isinstance(way, str) or len(way) != 2]:
            raise TypeError(f"Needs: {odd[0]!r} is not a direction. Give pairs of keys, such as directions=(('a', 'b'),)")


class Generator(Protocol):
    """Factory: ``(*, domains, directions, **options) -> nn.Module``.

    ``exposes`` names the extras of its translations; a call without targets asks only for extras. It may have an attribute
    ``accepts``, a frozenset of the keywords that a call may pass besides the image. An extra called ``KEYWORD_…`` belongs to
    that keyword, and must be returned only if the keyword is given. These names have a fixed meaning:

    - the extra ``"mean"``: the mean of the latent distribution.
    - the keyword ``"latent"``: ``extras["latent"]`` of an earlier call, to decode it without encoding x again.
    - the keyword ``"style"``: an image of the target domain (B, C_target, H, W); without it, a style is drawn from torch's
      default generator.
    - the keyword ``"mix"``, with ``style`` (n, C_target, H, W): n weights that sum to 1, by which those styles are averaged.

    ``divisor``: H and W must be multiples of it; inference pads to it and crops back, and clamps images to [-1, 1]. It may
    have ``any_source = True`` if it ignores the source: then users name only the target.

    It may have ``pictures``, the names of extras that sample grids show: (B, 1 or 3, h, w) in [-1, 1], of any height and width.

    It, or a part of it, may have ``rates``, the learning rates of its parts relative to the player's: ``{"mapping": 0.01}``.
    It may have ``parts``, which names the parts that only a keyword or an extra needs: ``{"style": ("encoder",)}``. If no loss
    needs that keyword or extra and no gradient reaches the parts, they become None, and the keyword or extra is removed from
    ``accepts`` and ``exposes``. Discriminators and the networks of losses may have both too.
    """

    exposes: frozenset[str]
    divisor: int

    def __call__(self, x: Tensor, source: str, *targets: str, **given: Tensor) -> Translation:
        """Translate x (B, C_source, H, W) with one encoding, and one decoding for each target; without targets, only extras."""
        ...


class Discriminator(Protocol):
    """Factory: ``(*, domains, conditions, **options) -> nn.Module``, with one judge for each key of ``domains``.

    ``conditions`` maps the key of a judged domain to the Domain of the source image that it sees with the image; it is empty
    for unconditional losses. ``exposes`` may contain ``"features"``: then the verdict's lists have feature maps before the
    logits. All other names are extras of a verdict of type ``Judged``.
    """

    exposes: frozenset[str]

    def __call__(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Judged:
        """Judge image (B, C, H, W) as a member of the domain with that key; without extras, a plain list is enough."""
        ...


class Loss(Protocol):
    """Factory: ``(*, domains, **options) -> nn.Module``. It may hold networks, an image pool, a perceptual network.

    It only calls ``G(…)`` and ``D(…)``: no methods, no ``.module``, no isinstance. Its state from step to step is in its
    ``state_dict``. ``order`` says whose step comes first; ``needs`` and ``fresh_fakes`` are explained where they are used.
    ``networks`` lists the trainable networks that it owns (several in a ``ModuleList`` or ``ModuleDict`` under one name); they
    share the generator's optimizer. It must not modify the tensors that it receives, because another loss may use them too.
    In a list of losses, ``images["fake_b"]`` is that of a loss before it if it has no image of that name itself; by this
    convention others find the translation into the domain b, which a loss's discriminator judges.

    It may have an attribute ``together = False``. The core sets it to true if the networks treat every image separately
    (``layers.let_call_together``): then the loss may put different images into one call, which is faster.

    It, or a part of it, may have a method ``begin(step, steps)`` for anything that changes during training. It is called before
    each step with the number of steps that the run has made, and the number that it will make in total; a resumed run continues
    its count. Then comes a method ``resting(step)``, if there is one. It returns the names of players ("generator",
    "discriminator") that are not trained in this step, and of parts ("generator.mapping") whose weights stay the same. It
    depends only on the step.
    """

    needs: Needs
    order: Literal["generator_first", "discriminator_first"]
    fresh_fakes: bool
    networks: tuple[str, ...]

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Every image that the generator's terms need, with its graph."""
        ...

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """The images for the discriminator's step, translated again. Called without gradient, only if ``fresh_fakes``."""
        ...

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The terms that the generator minimises. D is frozen: gradients pass through it, but its weights get none."""
        ...

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The terms of the discriminator. ``images`` are detached: of ``fakes`` if ``fresh_fakes``, else ``translate``."""
        ...


class Objective(Protocol):
    """Factory: ``(**options)``. How logits become both players' terms; losses use it through ``objectives.Adversarial``.

    Logits are those of one scale, of any shape, and any numbers, larger where the discriminator takes a picture for a real one.
    Every method returns a mean over them, 0-d and differentiable. One that keeps tensors from step to step is an ``nn.Module``.

    It may have a ``boundary``: the logit that a picture has if it may as well be real or generated (default 0), or None if only
    differences between logits count. Adaptive augmentation goes by it.
    """

    paired: bool
    """False; true for a ``PairedObjective``."""

    def real(self, logits: Tensor) -> Tensor:
        """What the discriminator minimises on real pictures."""
        ...

    def fake(self, logits: Tensor) -> Tensor:
        """What the discriminator minimises on the generator's pictures."""
        ...

    def generator(self, logits: Tensor) -> Tensor:
        """What the generator minimises on its own pictures."""
        ...


class PairedObjective(Protocol):
    """An objective that compares the logits of a real and of a fake picture of the same sample: *real* and *fake* match."""

    paired: bool
    """True."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminator minimises."""
        ...

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """What the generator minimises; *real* has no gradient."""
        ...


@runtime_checkable
class Dataset(Protocol):
    """Factory: ``(**options)``. A map-style data set.

    ``domains`` maps the keys of the domains (a letter, then letters and digits) to them. With ``paired`` the images of a sample
    are aligned pixel by pixel. Random numbers must come from torch's default generator, which the core seeds from (seed, epoch,
    index) for each sample, so samples depend neither on the number of workers nor on a resume.
    """

    domains: Mapping[str, Domain]
    paired: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample: for each domain key float32 (C, H, W) in [-1, 1], or for labels int64 ids (1, H, W).

        It may have further entries, tensors of any shape: a loss receives those that it ``wants`` (``Needs``); the rest are
        dropped.
        """
        ...


@runtime_checkable
class Stream(Dataset, Protocol):
    """A data set that can only be read sequentially; the core asks for the samples of an epoch in the order 0, 1, 2, …

    The pictures in sample ``index`` of an epoch depend only on (seed, epoch, index). So a resumed run, which starts in the
    middle of an epoch, and the loader processes, each of which asks for some of the samples, see the same ones.
    ``dataset[index]`` is sample ``index`` in some fixed order.
    """

    def at(self, seed: int, epoch: int, index: int) -> dict[str, Tensor]:
        """Sample ``index`` of an epoch; the core calls this instead of ``dataset[index]``."""
        ...
