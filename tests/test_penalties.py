"""A penalty on the discriminator's gradients is the same function where the networks are compiled."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i.protocols import Verdict
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i.training.assembly import assemble
from i2i.training.loop import accumulated_step
from i2i.training.penalties import WithoutCompiler
from i2i.training.state import Run

SEASONS = Path(__file__).parent / "third_party/seasons"


def stepped(registry: Registry, *overrides: str) -> Run:
    recipe = load_recipe(SEASONS / "i2i_seasons/recipes/seasons.yaml", overrides, registry)
    run = assemble(recipe, registry)
    run.training_mode()
    batches = run.batches()
    for _ in range(2):
        run.terms = accumulated_step(run, batches)
    return run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("augment", ["[]", "[cutout]"])
def test_r1_trains_a_compiled_discriminator(augment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch.compile without its code generator, which needs no compiler of C++ and has the same gradients."""
    monkeypatch.syspath_prepend(SEASONS)
    registry = Registry({"seasons": importlib.import_module("i2i_seasons")})
    whole, judges = nn.Module.compile, registry.get("discriminator", "seasons").factory

    def aot(network: nn.Module, **_: Any) -> None:
        if isinstance(network, judges):  # type: ignore[arg-type]
            whole(network, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", aot)
    usual, compiled = (stepped(registry, f"train.compile={on}", f"train.augment={augment}") for on in ("false", "true"))
    assert {name for name in compiled.terms if name.startswith("r1")}
    for name, term in usual.terms.items():
        torch.testing.assert_close(compiled.terms[name], term, rtol=1e-3, atol=1e-4, msg=name)
    pairs = zip(usual.parts.discriminator.parameters(), compiled.parts.discriminator.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


class Judge(nn.Module):
    """One scale."""

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        return [[image.square()]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("learns", "image", "compiled"),
    [
        (True, "detached", True),
        (True, "leaf", False),
        (True, "mixed", False),
        (False, "detached", True),
        (False, "leaf", False),
        (False, "mixed", True),  # a translation, of which only the first derivative is wanted
    ],
)
def test_only_what_needs_it_runs_without_the_compiler(learns: bool, image: str, compiled: bool) -> None:
    seen: list[bool] = []

    def noting(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        return lambda *given: (seen.append(True), graph(*given))[1]

    judge = Judge()
    judge.compile(backend=noting)
    leaf = torch.ones(1, 3, 4, 4).requires_grad_()
    given = {"detached": leaf.detach(), "leaf": leaf, "mixed": leaf * 2}[image]
    WithoutCompiler(judge, learns=learns)(given, "b")
    assert bool(seen) == compiled
