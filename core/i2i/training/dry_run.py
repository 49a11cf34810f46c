"""``i2i run --dry-run``: build everything, push one batch through one step, write nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from i2i.building.epochs import with_data
from i2i.building.judges import judges_of
from i2i.protocols import Batch
from i2i.recipe import Recipe
from i2i.registry import Registry
from i2i.stopping import launched_processes
from i2i.training.log import epochs_of
from i2i.training.loop import accumulated_step
from i2i.training.run_folder import busy, check_content, check_place, is_locked
from i2i.training.starting import begun_with, check_length, ready
from i2i.training.state import Run
from i2i.training.tracking import check_trackers


def dry_run(recipe: Recipe, out: Path, registry: Registry, resume: bool, console: Console) -> None:
    """Print shapes, parameter counts, the losses of the first step and an estimate of the memory that training takes.

    Raises:
        UserError: the run would not begin, or not get to its first grid and evaluation.
    """
    check_length(recipe)
    check_place(out)
    if is_locked(out):
        raise busy(out)
    check_content(out, resume)
    check_trackers(recipe.log.trackers)
    before = begun_with(recipe, out, registry) if resume else None
    recipe, dataset = with_data(recipe, registry, launched_processes(), before.train.epoch if before else None)
    run, _, changed = ready(recipe.settled(before), before, out, registry, console, dataset)
    for line in [*run.began, *(f"changed after step {run.step}: {line}" for line in changed)]:
        console.print(line, highlight=False, markup=False)
    batches = run.batches()
    batch = next(batches)
    console.print(_shapes(run, batch))
    console.print(_sizes(run))
    run.training_mode()
    given = [batch, *(next(batches) for _ in range(recipe.train.accumulate - 1))]
    with saved_bytes() as activations:
        run.terms = accumulated_step(run, iter(given))
    for name, value in run.terms.items():
        console.print(f"  {name:<24} {float(value):.4g}", highlight=False)
    later = ", and more when further judges join" if any(judge.since for judge in judges_of(recipe).values()) else ""
    needed = f"{memory(run, activations[0]) / 2**20:.0f} MiB"
    console.print(f"memory: about {needed} for training, in addition to Python and torch{later}")
    console.print(f"steps: {recipe.train.steps}; {epochs_of(run)}", highlight=False)
    if run.adaptive is not None:
        most = min(1.0, run.adaptive.rise * recipe.train.steps)
        console.print(
            f"augmentation: its probability can rise to {most:.3g} in this run (train.augment.images)", highlight=False
        )
    console.print("Everything fits together. Nothing was written.")


def _shapes(run: Run, batch: Batch) -> Table:
    table = Table("domain", "name", "kind", "batch as the networks see it")
    for key, domain in run.parts.domains.items():
        table.add_row(key, domain.name, domain.kind, " x ".join(map(str, batch[key].shape)))
    return table


def _sizes(run: Run) -> Table:
    table = Table("network", "component", "parameters")
    for kind, network in run.parts.networks.items():
        judges = judges_of(run.recipe) if kind == "discriminator" else {}
        for i, judge in judges.items():
            trained = sum(p.numel() for p in run.players[kind].part(f"networks.{i}")) if kind in run.players else 0
            joins = f", from step {judge.since}" if judge.since else ""
            table.add_row(f"{kind}.{i}", f"{judge.name}, weight {judge.weight:g}{joins}", f"{trained:,}")
        if not judges:
            table.add_row(kind, run.recipe.called(kind), f"{parameters(network):,}")
    return table


def parameters(network: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def memory(run: Run, activations: int) -> int:
    """Bytes for weights, gradients, two optimizer moments, the average, and what one step keeps for its backward pass."""
    networks = run.parts.networks.values()
    weights = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
    averaged = sum(p.numel() * p.element_size() for p in run.ema.network.parameters()) if run.ema else 0
    return 4 * weights + averaged + activations


@contextmanager
def saved_bytes() -> Iterator[list[int]]:
    """Count the bytes of distinct tensors that autograd keeps within it; yields a list with that one number.

    A step frees the first player's graph before the second's is complete, so this is an upper estimate.
    """
    count, seen = [0], set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            count[0] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield count
