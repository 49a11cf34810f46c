"""``train.start``: a run that begins with trained weights. A resume continues from its checkpoint instead."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from i2i.building.judges import Judges
from i2i.building.nested import changes
from i2i.building.reach import left_out
from i2i.errors import UserError
from i2i.files import present, sha256
from i2i.published.fitting import check_domains, fit, moved_channels, shortened
from i2i.recipe.sections import Start
from i2i.training.state import Run, renamed
from i2i.translation.checkpoints import checkpoint_at, manifest_of
from i2i.translation.finding import find_model, split_run
from i2i.translation.limits import MAX_PARAMETERS
from i2i.translation.model_check import check_finite, read_header
from i2i.translation.model_config import CONFIG, DISCRIMINATOR, WEIGHTS, Description, read_description

FILES = {"generator": WEIGHTS, "loss": "process-0/loss.safetensors", "discriminator": DISCRIMINATOR}
"""The generator's in its model folder; the others in a checkpoint, or a discriminator beside its generator."""


def load_start(run: Run) -> list[str]:
    """Give a run that has made no step the weights that its recipe names; its recipe then names their hashes.

    Returns what fitted and what did not.

    Raises:
        UserError: there are no such weights, they are damaged, or another network's.
    """
    asked = run.recipe.train.start
    start = asked if isinstance(asked, Start) else Start(generator=asked, discriminator=asked)
    try:
        if not start.sources:
            raise UserError("name a generator or a discriminator.")
        lines, hashes = _loaded(run, start, strict=start is asked)
    except UserError as error:
        raise UserError(f"train.start: {error}") from error
    judge = start.discriminator if "discriminator" in hashes else None
    used = start.model_copy(update={"discriminator": judge, "sha256": hashes})
    run.recipe = run.recipe.model_copy(update={"train": run.recipe.train.model_copy(update={"start": used})})
    return lines


def _loaded(run: Run, start: Start, strict: bool) -> tuple[list[str], dict[str, str]]:
    """What was taken, in lines, and the hashes by role. *strict*: a discriminator that is named must be there."""
    places = [("generator", start.generator), ("loss", start.generator), ("discriminator", start.discriminator)]
    sources = {text: Source.of(text) for text in sorted(start.sources)}
    lines, hashes = [], {}
    for name, source in sources.items():
        lines += check_domains(source.told.domains, run.parts.domains, name, start.missing == "allow")
    for role, text in places:
        if text is not None and (network := Network.of(run, role)) is not None:
            found = sources[text].weights(role)
            if found is not None and start.sha256.get(role, found[1]) != found[1]:
                raise UserError(f"{text}: the {role} is not the one that train.start.sha256 names. Leave that out to take it.")
            if found is not None:
                lines += _taken(run, network.of_one(found[0]), sources[text], found[0], start)
                hashes[role] = found[1]
            elif strict and role == "discriminator":
                raise UserError(f"{text} has no discriminator. Name one that has, or leave train.start.discriminator out.")
            else:
                lines.append(f"{text} has no {network.called}: random weights")
        elif strict and role == "discriminator" and text is not None:
            raise UserError("the recipe's loss needs no discriminator. Leave train.start.discriminator out.")
    return [f"start: {line}" for line in lines], hashes


@dataclass(frozen=True)
class Source:
    """A model folder, and the checkpoint of the same step where it is a run's."""

    text: str
    folder: Path
    told: Description
    checkpoint: Path

    @classmethod
    def of(cls, text: str) -> Self:
        path = Path(text)
        if path.is_file():
            raise UserError(f"{text}: this is a file. Make a model of it with i2i convert, and name the model's folder.")
        folder = present(find_model(path, (DISCRIMINATOR,)))
        told, run = read_description(folder / CONFIG), (split_run(path) or (path,))[0]
        return cls(text, folder, told, checkpoint_at(run, told.config["extra"].get("step") or 0))

    def weights(self, role: str) -> tuple[dict[str, Tensor], str] | None:
        """The weights of a role and their hash, or None if there are none."""
        name, place, recorded = FILES[role], self.folder, self.told.weights_sha256
        if role != "generator" and self.checkpoint.is_dir():
            place, recorded = self.checkpoint, manifest_of(self.checkpoint).get("files", {}).get(name)
        elif role != "generator":
            recorded = (self.told.config["extra"].get("discriminator") or {}).get("sha256")
        path = place / name
        if role != "generator" and not path.is_file():
            return None
        try:
            if recorded not in (None, found := sha256(path)):
                raise UserError(
                    f"{path}: the file is damaged or was changed (its SHA-256 is not the recorded one). Copy it again."
                )
            if (numbers := sum(x.numel() for x in read_header(path, sys.maxsize).values())) > MAX_PARAMETERS:
                raise UserError(f"{path}: it holds {numbers:,} numbers; no more than {MAX_PARAMETERS:,} are taken.")
            return load_file(path), found
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: the weights cannot be read ({error}). Copy the file again.") from error


@dataclass(frozen=True)
class Network:
    """What is to get weights: a module, and the names of its own that may get some: all, or of a loss those of its networks."""

    role: str
    module: Any
    names: tuple[str, ...] = ("",)
    place: str = ""

    @classmethod
    def of(cls, run: Run, role: str) -> Self | None:
        """The network of a role, without wrappers; None if there is none."""
        if role == "loss":
            return cls(role, run.loss, tuple(f"{name}." for name in run.loss.networks)) if run.loss.networks else None
        module = run.generator if role == "generator" else run.discriminator
        return None if module is None else cls(role, run.accelerator.unwrap_model(module))

    def of_one(self, state: Mapping[str, Tensor]) -> Self:
        """Of a list of judges the first one with weights of these names, if the state is that of one discriminator."""
        judges = self.module.networks if isinstance(self.module, Judges) else ()
        fitting = [(i, judge) for i, judge in enumerate(judges) if judge.state_dict().keys() == state.keys()]
        return replace(self, module=fitting[0][1], place=f".{fitting[0][0]}") if fitting else self

    @property
    def called(self) -> str:
        return "networks of the loss" if self.role == "loss" else self.role + self.place

    def state(self) -> dict[str, Tensor]:
        state = self.module.state_dict()
        return self.of_these(renamed(self.module, state) if self.role == "loss" else state)

    def of_these(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What may be taken of a state: parts that this network has left out are not missed here."""
        gone = tuple(f"{part}." for part in left_out(self.module))
        return {name: x for name, x in state.items() if name.startswith(self.names) and not name.startswith(gone)}

    def load(self, state: dict[str, Tensor]) -> None:
        if self.role == "loss":
            state = renamed(self.module, {**renamed(self.module, self.module.state_dict()), **state}, wrap=True)
        self.module.load_state_dict(state)


def _taken(run: Run, network: Network, source: Source, weights: Mapping[str, Tensor], start: Start) -> list[str]:
    """Put weights into a network of the run; returns what fitted."""
    here = run.parts.domains
    images = {domain.channels for domain in here.values() if domain.kind == "image"}
    made = fit(network.of_these(weights), network.state(), moved_channels(source.told.domains, here), images)
    if made.problems and (start.missing == "error" or not (made.taken or made.cut)):
        raise _misfit(run, network, source, made.problems, start)
    network.load(made.state)
    check_finite(network.module, source.folder)
    return [f"{network.called} of {source.text}: {line}" for line in made.lines()]


def _misfit(run: Run, network: Network, source: Source, problems: list[str], start: Start) -> UserError:
    there = {key: {"name": made.name, **made.options} for key, made in source.told.origins.items()}
    here = {"".join(map(str, place)): c.model_dump(mode="json") for place, c in run.recipe.components("generator").items()}
    other = [line.lstrip(".") for line in changes(there, here)] if network.role == "generator" else []
    options = f" The options differ (there → here): {'; '.join(shortened(other, 4))}." if other else ""
    way = "" if start.missing == "allow" else ", or take what fits: train.start: {generator: …, missing: allow}"
    return UserError(
        f"{source.text}: {'not every weight' if way else 'not one layer'} of its {network.called} fits the recipe's: "
        f"{'; '.join(shortened(problems, 3))}.{options} Use the same architecture and options{way}."
    )
