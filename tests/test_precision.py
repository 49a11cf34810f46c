"""Accumulation, layouts, half precision and compilation: the same mathematics by other ways."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

import i2i_cyclegan
import i2i_objectives
import i2i_pix2pix
import toy
from i2i.errors import UserError
from i2i.layers import InstanceNorm
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i.training.running import run_recipe
from i2i.training.state import Run

TEXT = """\
dataset: {name: stripes, size: 16, paired: false}
generator: {name: resnet, width: 4, blocks: 1}
discriminator: {name: patchgan, width: 4, layers: 1, norm: instance}
loss: {name: cyclegan, pool: 0, cycle: 0}
train:
  steps: 2
  batch_size: 1
  seed: 1
  generator: {optimizer: sgd, lr: 1e-3}
  discriminator: {optimizer: sgd, lr: 1e-3}
samples: {every: 9, count: 1}
log: {every: 1, trackers: []}
"""
# No L1 terms: their gradient is a sign, which rounding can flip.
REGISTRY = {"toys": toy, "cyclegan": i2i_cyclegan, "pix2pix": i2i_pix2pix, "objectives": i2i_objectives}


def trained(folder: Path, name: str, *overrides: str) -> Run:
    path = folder / "r.yaml"
    path.write_text(TEXT)
    registry = Registry(plugins=REGISTRY)
    recipe = load_recipe(path, list(overrides), registry)
    return run_recipe(recipe, folder / name, registry, resume=False, console=Console(quiet=True))


def assert_same(one: Run, other: Run, tolerance: float) -> None:
    for role in ("generator", "discriminator"):
        a, b = one.shared_state()[role], other.shared_state()[role]
        assert a.keys() == b.keys()
        for name in a:
            assert (a[name] - b[name]).abs().max() <= tolerance, f"{role} {name}: {(a[name] - b[name]).abs().max():.1e}"


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    parts = trained(tmp_path, "parts", "train.accumulate=3")
    whole = trained(tmp_path, "whole", "train.batch_size=3")
    assert_same(parts, whole, 1e-6)
    other = trained(tmp_path, "other", "train.accumulate=2")
    with pytest.raises(AssertionError):
        assert_same(parts, other, 1e-6)


def test_channels_last_is_the_same_function(tmp_path: Path) -> None:
    usual = trained(tmp_path, "usual")
    last = trained(tmp_path, "last", "train.channels_last=true")
    weight = last.bare_generator.networks["a_b"].stem.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert_same(usual, last, 1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_s_gradient_is_right_when_the_incoming_one_is_channels_last(batch: int) -> None:
    """torch's own instance norm is wrong there at batch 1 on CPUs."""
    torch.manual_seed(0)
    x = torch.randn(batch, 4, 6, 6, dtype=torch.float64)
    incoming = torch.randn_like(x)

    def gradient(norm: object, x: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
        leaf = x.clone().requires_grad_()
        norm(leaf).backward(incoming.to(x.dtype).contiguous(memory_format=layout))  # type: ignore[operator]
        assert leaf.grad is not None
        return leaf.grad.double()

    expected = gradient(F.instance_norm, x, torch.contiguous_format)
    for layout in (torch.channels_last, torch.contiguous_format):
        ours = gradient(InstanceNorm(), x.float().contiguous(memory_format=layout), layout)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_half_precision_trains(tmp_path: Path) -> None:
    usual, half = trained(tmp_path, "usual"), trained(tmp_path, "half", "train.precision=bf16")
    assert all(parameter.dtype == torch.float32 for parameter in half.bare_generator.parameters())
    assert_same(usual, half, 1e-2)
    with pytest.raises(AssertionError):
        assert_same(usual, half, 1e-9)


def test_clipping_bounds_the_step_of_each_player(tmp_path: Path) -> None:
    """SGD moves by rate times the clipped gradient."""
    start = trained(tmp_path, "start", "train.steps=1", "train.generator.lr=1e-12", "train.discriminator.lr=1e-12")
    end = trained(tmp_path, "end", "train.steps=1", "train.clip=0.1", "train.generator.lr=1.0")
    before, after = (run.shared_state()["generator"] for run in (start, end))
    moved = torch.stack([(after[name] - before[name]).norm() for name in after]).norm()
    assert moved == pytest.approx(0.1, rel=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_compiled_networks_are_the_same_function_under_the_same_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs and gradients are captured and run as they are; tests/test_backends.py has one made into C++, which takes long."""
    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, mode: compile_(self, backend="aot_eager"))
    usual = trained(tmp_path, "usual", "train.ema=0.5")
    compiled = trained(tmp_path, "compiled", "train.ema=0.5", "train.compile=true")
    assert_same(usual, compiled, 1e-5)


def test_cuda_graphs_begin_anew_with_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of torch; tests/test_gpu.py has what comes of it."""
    asked: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, mode: asked.append(mode))
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: asked.append("step"))
    trained(tmp_path, "graphs", "train.compile=reduce-overhead", "train.accumulate=2", "train.steps=3")
    assert asked == [*["reduce-overhead"] * 2, *["step"] * 3]
    trained(tmp_path, "none", "train.compile=true", "train.steps=1")
    assert asked[5:] == [None] * 2


def test_cuda_graphs_are_refused_with_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i.training.processes.launched_processes", lambda: 2)
    with pytest.raises(UserError, match=r"train\.compile: .* one process\. Take 'compile: true'"):
        trained(tmp_path, "two", "train.compile=reduce-overhead")
