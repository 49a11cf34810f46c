"""The sections of a recipe, each a model with its defaults."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_serializer, model_validator

from i2i.components import Component

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


AUTO = "auto"
PLAIN: dict[str, Any] = {"threads": None, "channels_last": False, "precision": "fp32", "compile": False}
"""What ``auto`` stands for where nothing is tried; None is torch's own number of threads."""


class Section(BaseModel):
    """What all sections share: unknown keys and infinite numbers are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, validate_assignment=True, ser_json_inf_nan="constants")


class Optimizer(Section):
    """An optimizer: one of torch's or timm's by name, with whatever further ``options`` it takes (``{eps: 1e-6}``)."""

    optimizer: str = "adam"
    lr: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    options: dict[str, Any] = {}


class Schedule(Section):
    """The learning rate over the steps; ``optim.rate_factor`` has the formulas.

    ``warmup`` steps rise linearly at the start of any of them. ``hold`` keeps the rate for so many steps, an epoch of
    programs that count in epochs, and ``ahead`` counts so many of these ahead, as programs do that update it first.
    """

    name: Literal["constant", "constant_then_linear", "step", "cosine", "plateau"] = "constant"
    constant: Share = 0.5
    start: int | None = None
    end: Count | None = None
    every: Count = 1000
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    patience: Count = 5
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.01
    warmup: Annotated[int, Field(ge=0)] = 0
    hold: Count = 1
    ahead: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _own_options(self) -> Self:
        foreign = sorted(self.model_fields_set & self._foreign())
        if foreign:
            raise ValueError(f"the schedule '{self.name}' has no option {' or '.join(map(repr, foreign))}")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"the schedule's end, {self.end}, must come after its start, {self.start}")
        return self

    @model_serializer
    def _own(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if name not in self._foreign()}

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


class Train(Section):
    """The loop. ``ema`` is the decay of the averaged generator, ``clip`` the largest norm of a player's gradients.

    ``batch_size`` is that of each process, ``accumulate`` the batches whose gradients make one step. ``channels_last``,
    ``compile`` (torch.compile, or its mode ``reduce-overhead``, CUDA graphs) and ``threads`` change the speed, not the
    function; where they or ``precision`` are ``auto``, ``probing.probed`` chooses. ``emulate`` insists on a ``precision`` that
    the device has no instructions for. ``augment`` is for small data: what the discriminator sees, real or generated, is varied
    in these ways. ``non_finite: skip`` leaves out updates whose gradients are not finite and counts them, which costs a look at
    the device's numbers at every step. ``workers`` is how many processes load data for each one that trains; their number
    changes no sample, and ``data.loader_processes`` chooses it for ``auto``. ``fast: false`` takes the textbook's way
    everywhere: see ``layers.set_fast``.
    """

    steps: Count = 1000
    batch_size: Count = 1
    generator: Optimizer = Optimizer()
    discriminator: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    ema: Beta | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    emulate: bool = False
    accumulate: Count = 1
    clip: Annotated[float, Field(gt=0)] | None = None
    augment: list[Literal["color", "translation", "cutout"]] = []
    channels_last: bool | Literal["auto"] = False
    compile: bool | Literal["auto", "reduce-overhead"] = False
    non_finite: Literal["stop", "skip"] = "stop"
    fast: bool = True
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    threads: Count | Literal["auto"] | None = "auto"

    @property
    def graphs(self) -> bool:
        """Whether CUDA graphs are wanted."""
        return self.compile == "reduce-overhead"

    def settled(self) -> Self:
        """The same with the plain value for every ``auto``."""
        return self.model_copy(update={name: value for name, value in PLAIN.items() if getattr(self, name) == AUTO})

    @model_validator(mode="after")
    def _scaled(self) -> Self:
        if self.precision == "fp16" and self.non_finite == "skip":
            raise ValueError("with precision fp16 the scaler skips updates that overflow by itself; leave out non_finite")
        return self


class Samples(Section):
    """Grids of ``count`` pictures. ``dataset`` holds options laid over the data set's, to draw held-out pictures."""

    every: Count = 250
    count: Count = 4
    dataset: dict[str, Any] = {}


class Checkpoint(Section):
    """A complete checkpoint ``every`` so many steps. The last sound ones are kept, and those at multiples of ``keep_every``."""

    every: Count = 500
    keep_last: Count = 2
    keep_every: Count | None = None


class Log(Section):
    """Metrics ``every`` so many steps, to metrics.jsonl and to ``trackers`` (any that Accelerate knows, by name)."""

    every: Count = 10
    trackers: list[str] = ["tensorboard"]


def _named(metric: Any) -> Any:
    """``psnr`` as ``{name: psnr}``."""
    return {"name": metric} if isinstance(metric, str) else metric


class Evaluate(Section):
    """Metrics ``every`` so many steps, over pictures of the data set with the options ``dataset`` laid over its own.

    The split is ``val`` unless ``dataset`` says otherwise; ``images`` takes no more than so many of its pictures. A metric is
    a name or a component with options. ``keep_best`` names the figure by which the best model is kept in ``best``.
    ``batch_size`` changes no figure.
    """

    every: Count = 1000
    metrics: Annotated[list[Annotated[Component, BeforeValidator(_named)]], Field(min_length=1)]
    keep_best: str | None = None
    dataset: dict[str, Any] = {}
    images: Count | None = None
    batch_size: Count = 8
