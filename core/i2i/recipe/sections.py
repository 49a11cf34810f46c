"""The sections of a recipe, each a model with its defaults."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.types import Discriminator, Tag

from i2i.recipe.components import Component
from i2i.recipe.lengths import Epochs, InEpochs, Steps

_FORM = Discriminator(lambda start: "(parts)" if isinstance(start, dict | Start) else "(name)")
_AUGMENT = Discriminator(lambda augment: "(adaptive)" if isinstance(augment, dict | Augment) else "(always)")


Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


AUTO = "auto"
PLAIN: dict[str, Any] = {"threads": None, "channels_last": False, "precision": "fp32", "compile": False}
"""The values of ``auto`` if nothing is measured; None is torch's own number of threads."""


class Section(BaseModel):
    """What all sections share: unknown keys and infinite numbers are refused, and a field's docstring is its description."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        validate_assignment=True,
        ser_json_inf_nan="constants",
        use_attribute_docstrings=True,
    )

    def resolved(self, check: "Check") -> Self:
        """The section with the options of its components checked and complete; one that holds components overrides this."""
        return self


Check = Callable[..., Component]
"""``check(kind, component, *place)`` with the component's place in the section, ``("metrics", 0)``: the same component with its
options complete. Problems in them are reported together with all other problems in the recipe."""


class Schedule(Section):
    """The learning rate over the steps; ``optim.rate_factor`` has the formulas."""

    name: Literal["constant", "constant_then_linear", "step", "cosine", "plateau"] = "constant"
    """The curve of the rate."""
    constant: Share = 0.5
    """constant_then_linear: the fraction of the steps before the decay, if start is not given."""
    start: Annotated[int, InEpochs()] | None = None
    """constant_then_linear: the step at which the rate begins to fall."""
    end: Steps | None = None
    """The step at which the rate reaches zero. Default: the last of the run."""
    every: Steps = 1000
    """step, plateau: the number of steps between two reductions, or two checks of the loss."""
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """step, plateau: what the rate is multiplied by."""
    patience: Count = 5
    """plateau: the number of checks without a better loss before the rate is reduced."""
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """plateau: the fraction by which a loss must fall to count as better."""
    warmup: Annotated[int, Field(ge=0), InEpochs()] = 0
    """The rate rises linearly over these first steps."""
    hold: Steps = 1
    """The rate stays the same for this number of steps: 1 epoch, as in programs that count epochs."""
    ahead: Annotated[int, Field(ge=0)] = 0
    """The number of holds by which the rate is ahead, for programs that update it before they train."""

    @model_validator(mode="after")
    def _own_options(self) -> Self:
        if foreign := sorted(self.model_fields_set & self._foreign()):
            raise ValueError(f"the schedule '{self.name}' has no option {' or '.join(map(repr, foreign))}")
        start, end = self.start, self.end
        if start is not None and end is not None and (type(start) is not type(end) or end <= start):
            raise ValueError(f"the schedule's end, {end}, must come after its start, {start}, both in steps or both in epochs")
        return self

    @model_serializer(mode="wrap")
    def _own(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name not in self._foreign()}

    def _foreign(self) -> set[str]:
        """The options that belong to other schedules."""
        counted = {"warmup", "hold", "ahead"}
        own = {
            "constant": {"warmup"},
            "constant_then_linear": {"constant", "start", "end", *counted},
            "step": {"every", "factor", *counted},
            "cosine": {"end", *counted},
            "plateau": {"every", "factor", "patience", "threshold"},
        }
        return set(type(self).model_fields) - own[self.name] - {"name"}


class Group(Section):
    """A part of a player with its own learning rate."""

    lr: Annotated[float, Field(gt=0)] | None = None
    """Its learning rate. Default: the one that the network asks for (rates), else the player's."""
    frozen_until: Steps | Literal["end"] | None = None
    """Freeze its weights for this number of steps, or to the end of the run."""


class Optimizer(Section):
    """The optimizer of a player."""

    optimizer: str = "adam"
    """The name of an optimizer of torch or timm."""
    lr: Annotated[float, Field(gt=0)] = 2e-4
    """The learning rate, which the schedule varies."""
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    """Adam's decays of the means of the gradients and of their squares."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """The weight decay."""
    options: dict[str, Any] = {}
    """Further options of the optimizer: {eps: 1e-6}."""
    groups: dict[str, Group] = {}
    """Parts of the player with their own settings: {mapping: {lr: 2e-6, frozen_until: 1000}}."""
    schedule: Schedule | None = None
    """The player's own learning rate schedule. Default: train.schedule."""


class Start(Section):
    """Trained weights to begin with. A run notes in its recipe.yaml which they were."""

    generator: str | None = None
    """Where the generator's weights are from, and those of networks that the loss owns: RUN, RUN@STEP, MODEL or OWNER/NAME."""
    discriminator: str | None = None
    """Where the discriminator's weights are from. Default: it begins with random weights."""
    missing: Literal["error", "allow"] = "error"
    """If a weight is missing or has another shape: error, or allow, and its layer begins with random weights."""
    sha256: dict[str, str] = {}
    """The hashes of the weights, which must be these ones. Default: any."""

    @property
    def sources(self) -> set[str]:
        """What is named."""
        return {self.generator, self.discriminator} - {None}  # type: ignore[return-value]


Kind = Literal["color", "translation", "cutout"]


class Augment(Section):
    """Adaptive augmentation: each kind with a probability that rises while the discriminator is too sure of real images."""

    kinds: Annotated[list[Kind], Field(min_length=1)]
    """The augmentations."""
    target: Annotated[float, Field(gt=-1, lt=1)] = 0.6
    """The mean sign of the discriminator's logits for real images above which the probability rises."""
    every: Count = 4
    """The number of steps between two adjustments of the probability."""
    images: Count = 500_000
    """The number of images in which the probability can rise from 0 to 1. A short run needs a smaller number."""


class Train(Section):
    """The loop. Where ``precision``, ``channels_last``, ``compile`` or ``threads`` is ``auto``, a plugin may choose."""

    steps: Steps = 1000
    """The number of steps of the whole run. A recipe says this or epochs."""
    epochs: Annotated[float, Field(gt=0, lt=10**9)] | None = Field(default=None, exclude=True)
    """Instead of steps: how often the run sees the whole data set."""
    epoch: Count | None = None
    """The number of steps in an epoch. Default: samples / (batch_size x accumulate x processes), rounded, at least 1."""
    batch_size: Count = 1
    """The number of samples in the batch of each process."""
    generator: Optimizer = Optimizer()
    """The optimizer of the generator, and of the networks that losses own."""
    discriminator: Optimizer = Optimizer()
    """The optimizer of the discriminator."""
    schedule: Schedule = Schedule()
    """The learning rate schedule of both players."""
    ema: Beta | None = None
    """The decay of the average of the generator's weights, which the samples and the saved model use."""
    start: Annotated[Annotated[str, Tag("(name)")] | Annotated[Start, Tag("(parts)")], _FORM] | None = None
    """Trained weights to begin with: RUN, RUN@STEP, MODEL or OWNER/NAME, with its discriminator where it has one."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """The seed of the weights, the samples and all other random numbers."""
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    """The precision in which networks compute; weights stay in fp32."""
    emulate: bool = False
    """Allow a precision for which the device has no instructions."""
    accumulate: Count = 1
    """The number of batches whose gradients make one step."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Clip the norm of a player's gradients to this value."""
    augment: Annotated[Annotated[list[Kind], Tag("(always)")] | Annotated[Augment, Tag("(adaptive)")], _AUGMENT] = []
    """Augmentations of all images that the discriminator sees, real and generated: for small data sets."""
    channels_last: bool | Literal["auto"] = False
    """Use the channels-last memory layout: the results are the same, the speed differs."""
    compile: bool | Literal["auto", "reduce-overhead"] = False
    """Use torch.compile, or its mode with CUDA graphs: reduce-overhead."""
    non_finite: Literal["stop", "skip"] = "stop"
    """If gradients are NaN or infinite: stop, or skip and count such steps, which means checking every step."""
    fast: bool = True
    """Use faster versions of layers with the same result; false uses the textbook versions everywhere."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """The number of loader processes for each training process; it does not change the samples."""
    threads: Count | Literal["auto"] | None = "auto"
    """The number of threads on CPUs; null leaves it to torch."""

    @property
    def graphs(self) -> bool:
        """Whether CUDA graphs are wanted."""
        return self.compile == "reduce-overhead"

    def settled(self, before: Self | None = None) -> Self:
        """The same with a value for every ``auto``: that of the settings *before*, or the default; the start is theirs."""
        kept = PLAIN if before is None else dict(before.settled())
        start = self.start if before is None else before.start
        return self.model_copy(update={"start": start, **{name: kept[name] for name in PLAIN if getattr(self, name) == AUTO}})

    @model_validator(mode="after")
    def _scaled(self) -> Self:
        if self.epochs is not None:
            if "steps" in self.model_fields_set:
                raise ValueError("'steps' and 'epochs' both say how long to train. Give one of them")
            self.__dict__.update(steps=Epochs(self.epochs), epochs=None)  # assignments are validated again
            self.model_fields_set.add("steps")
        if self.precision == "fp16" and self.non_finite == "skip":
            raise ValueError("with precision fp16 the scaler already skips updates that overflow; leave out non_finite")
        return self


class Samples(Section):
    """Grids of sample pictures."""

    every: Steps = 250
    """The number of steps between two grids."""
    count: Count = 4
    """The number of pictures in a grid."""
    dataset: dict[str, Any] = {}
    """Options that replace the data set's, to show held-out pictures: {split: test}."""
    use: dict[str, Any] = {}
    """Options of the generator that may change after training, only for the grids: {steps: 4}."""


class Checkpoint(Section):
    """Complete checkpoints, from which a run can continue."""

    every: Steps = 500
    """The number of steps between two checkpoints."""
    keep_last: Count = 2
    """The number of most recent healthy checkpoints to keep."""
    keep_every: Steps | None = None
    """Keep checkpoints at multiples of this number of steps forever."""


class Log(Section):
    """What is written of the losses, rates and speed."""

    every: Steps = 10
    """The number of steps between two lines in metrics.jsonl and in the trackers."""
    trackers: list[str] = ["tensorboard"]
    """Trackers by name: any that Accelerate knows."""
