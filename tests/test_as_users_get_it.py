"""Figures, grids and comparisons are of the pictures that ``i2i translate`` gives, whatever batch they came in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import i2i_evaluate
import i2i_metrics
import i2i_pix2pix
import toy
from i2i.data import SeededDataset
from i2i.metrics import Figure, Seen
from i2i.protocols import Domain, Translation
from i2i.recipe import load_recipe
from i2i.recipe.components import Component
from i2i.registry import default_registry
from i2i.training.assembly import assemble
from i2i.training.samples import Sampling
from i2i.training.state import Run
from i2i.training.unsaved import as_saved
from i2i.translation.loading import load
from i2i.translation.translator import Translator
from i2i_evaluate import comparison
from i2i_evaluate.comparison import compare
from i2i_evaluate.evaluating import Evaluating
from i2i_evaluate.held import held_out
from i2i_evaluate.measuring import Evaluation, Fitted
from i2i_pix2pix.networks import unet

REGISTRY = toy.registry(metrics=i2i_metrics, pix2pix=i2i_pix2pix, evaluate=i2i_evaluate)
AS_PUBLISHED = "generator={name: unet, width: 2, downs: 6, inference: train_mode, dropout: true}"
"""Batch norm takes the batch's own statistics and dropout stays on, so that a picture depends on its batch and on the seed."""


RECIPES = Path(__file__).parents[1] / "recipes"


def held(length: int = 9, size: int = 64) -> Any:
    return held_out(Component(name="stripes", options={"size": size, "length": length}), REGISTRY, "test")


@pytest.fixture(scope="module")
def model() -> Translator:
    torch.manual_seed(0)
    domains = {"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}
    network = unet(domains=domains, directions=(("a", "b"),), width=2, downs=6, init_gain=0.3)
    return Translator(network, domains, (("a", "b"),), {}, torch.device("cpu"), REGISTRY)


def figures(model: Translator, batch_size: int, seed: int = 0) -> dict[str, Figure]:
    metrics = [
        Component(name="psnr"),
        Component(name="ssim"),
        Component(name="diversity", options={"distance": "l1", "styles": 2}),
    ]
    found = Evaluation(model, held(), metrics, seed=seed, batch_size=batch_size).run()
    return {figure.name: figure for figure in found}


def truth_and_translations(model: Translator, seed: int) -> tuple[Tensor, Tensor]:
    data = held().dataset
    samples = [SeededDataset(data, seed)[0, index] for index in range(len(data))]
    made = [model.translate(sample["a"], style_seed=seed) for sample in samples]
    return torch.stack([sample["b"] for sample in samples]), torch.stack(made)


@pytest.mark.parametrize("seed", [0, 3])
def test_figures_are_those_of_single_pictures_at_every_batch_size(model: Translator, seed: int) -> None:
    alone = figures(model, 1, seed)
    truth, made = truth_and_translations(model, seed)
    by_hand = -10 * torch.log10(((made - truth) / 2).double().square().mean((1, 2, 3)))
    assert alone["psnr"].value == pytest.approx(float(by_hand.mean()), rel=1e-5)
    for batch_size in (8, 32):
        together = figures(model, batch_size, seed)
        assert together.keys() == alone.keys()
        for name, figure in together.items():
            assert figure.value == pytest.approx(alone[name].value, rel=1e-4), name
            assert figure.key == alone[name].key
    assert alone["psnr"].protocol["statistics"] == "each picture's own"
    assert alone["psnr"].protocol["seed"] == seed


def test_a_batch_from_python_is_its_pictures_one_by_one(model: Translator) -> None:
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    made = model.translate(x)
    for picture, one in zip(x, made, strict=True):
        assert torch.equal(model.translate(picture), one)


def test_pictures_share_a_batch_where_it_changes_nothing() -> None:
    """One pass for the whole batch: no model that can is slowed down."""
    domains = {"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}
    network = unet(domains=domains, directions=(("a", "b"),), width=2, downs=6, inference="eval")
    seen: list[int] = []
    network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    fixed = Translator(network, domains, (("a", "b"),), {}, torch.device("cpu"), REGISTRY)
    shared = fixed.batch(torch.rand(6, 3, 64, 64), ("a", "b"))
    assert seen[4:] == [6]  # after four passes of two pictures that look for what a result depends on
    fixed.batch(torch.rand(6, 3, 64, 64), ("a", "b"))
    assert seen[5:] == [6]
    assert shared.shape == (6, 3, 64, 64)
    protocol = Evaluation(fixed, held(2), [Component(name="psnr")]).run()[0].protocol
    assert protocol["statistics"] == "fixed"


def trained(folder: Path, *overrides: str) -> tuple[Run, Sampling, Evaluating]:
    """A run on pictures of 64 px, with what watches it."""
    evaluate = "evaluate={every: 3, metrics: [psnr], keep_best: psnr}"
    size = ["dataset={name: stripes, size: 64}", "train.batch_size=3", "train.steps=3", "train.generator.lr=0.05"]
    state = toy.trained(folder, *size, evaluate, *overrides, plugins=REGISTRY)
    sampling, evaluating = Sampling.of(state), Evaluating(state, state.recipe.section("evaluate"))
    sampling.run_ended(state)  # once more, to look at what it draws
    return state, sampling, evaluating


HALF = ["train.precision=bf16", "train.emulate=true"]


@pytest.mark.parametrize("more", [[], ["train.ema=null"], HALF, ["train.ema=null", *HALF]], ids=str)
def test_grids_and_figures_of_a_run_are_those_of_the_model_that_it_saves(tmp_path: Path, more: list[str]) -> None:
    """Batch norm in training mode, with and without an average of the weights, in whatever precision is trained."""
    state, sampling, evaluating = trained(tmp_path, AS_PUBLISHED, "train.seed=5", *more)
    model = load(tmp_path / "out", "cpu", registry=REGISTRY)
    given, made = sampling.latest["a", "b"]
    for picture, one in zip(given, made, strict=True):
        assert torch.allclose(model.translate(picture), one, atol=1e-5)
    (now,) = evaluating.evaluate(state)
    (saved,) = Evaluation(model, evaluating.held, [Component(name="psnr")]).run()
    assert now.value == pytest.approx(saved.value, rel=1e-5)
    assert now.key == saved.key
    assert state.bare_generator.training


def test_a_comparison_shows_what_users_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path, AS_PUBLISHED)
    shown: list[Any] = []
    plain = comparison.contact_sheet
    monkeypatch.setattr(comparison, "contact_sheet", lambda columns: shown.extend(columns) or plain(columns))
    compare([tmp_path / "out", tmp_path / "out" / "model"], REGISTRY, metrics=["psnr"], pictures=3)
    model = load(tmp_path / "out", "cpu", registry=REGISTRY)
    (_, given, _), (_, made, _) = shown[:2]
    for picture, one in zip(given, made, strict=True):
        assert torch.allclose(model.translate(picture), one, atol=1e-6)


def test_metrics_that_draw_again_draw_what_translate_samples_draws(model: Translator) -> None:
    seen: list[Tensor] = []

    class Remembers:
        names, better, paired, least, protocol = ("x",), "lower", False, 1, {}

        def update(self, batch: Seen) -> None:
            seen.append(batch.translate(batch.source, *batch.direction, 2))

        def state(self) -> dict[str, Any]:
            return {}

        def merge(self, states: Any) -> None: ...

        def figures(self) -> list[Figure]:
            return [Figure("x", 0.0, "lower")]

    evaluation = Evaluation(model, held(2), [Component(name="psnr")], seed=4)
    evaluation.metrics["a", "b"] = [Fitted("x", Remembers())]
    evaluation.run()
    data = SeededDataset(held(2).dataset, 4)
    assert torch.equal(seen[0][1], model.translate(data[0, 1]["a"], style_seed=6))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_shipped_models_have_the_same_figures_at_every_batch_size(name: str) -> None:
    """They share batches, in which no picture depends on another."""
    registry = default_registry()
    recipe = load_recipe(RECIPES / f"{name}.yaml", [], registry)
    larger = {"crop": 64, "max_ocean": 0.9} if recipe.dataset.name == "earth" else {}
    held_out_places = held_out(recipe.dataset, registry, "val", larger, 9)
    metrics = [Component(name=metric) for metric in ("l1", "cycle", "identity", "kid")]
    found = []
    with as_saved(assemble(recipe, registry)) as model:
        for batch_size in (1, 8, 32):
            figures = Evaluation(model, held_out_places, metrics, batch_size=batch_size, lenient=True).run()
            found.append({figure.key: figure.value for figure in figures})
        assert not any(any(model.dependence(way, (64, 64))) for way in model.directions)
    assert found[0]
    for together in found[1:]:
        assert together == pytest.approx(found[0], rel=1e-4)


class OneSize(nn.Module):
    """A generator that takes 48 px only, and the mean of its batch."""

    exposes = frozenset[str]()
    divisor = 1

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        if x.shape[-1] != 48:
            raise ValueError("48 px only")
        return Translation({targets[0]: x - x.mean()})


class Jitters(nn.Module):
    """A generator whose last bits are never the same twice, as those of some convolutions on GPUs in 16 bits."""

    exposes = frozenset[str]()
    divisor = 1

    def __init__(self, mixes: bool) -> None:
        super().__init__()
        self.mixes, self.numbers, self.seen = mixes, np.random.default_rng(0), list[int]()

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        self.seen.append(len(x))
        noise = torch.from_numpy(self.numbers.uniform(-2e-3, 2e-3, tuple(x.shape))).float()
        return Translation({targets[0]: x + noise - (x.mean() if self.mixes else 0)})


@pytest.mark.parametrize("mixes", [False, True])
def test_bits_that_are_never_the_same_are_told_from_a_dependence(mixes: bool) -> None:
    domains = {"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}
    network = Jitters(mixes)
    model = Translator(network, domains, (("a", "b"),), {}, torch.device("cpu"), REGISTRY)
    model.batch(torch.rand(3, 3, 16, 16), ("a", "b"))
    assert network.seen[4:] == ([1, 1, 1] if mixes else [3])


def test_a_network_of_one_size_is_looked_at_in_that_size() -> None:
    domains = {"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}
    model = Translator(OneSize(), domains, (("a", "b"),), {}, torch.device("cpu"), REGISTRY)
    x = torch.rand(2, 3, 48, 48)
    assert torch.equal(model.batch(x, ("a", "b"))[1], x[1] - x[1:].mean())
    first, second = (Evaluation(model, held(5, 48), [Component(name="psnr")]) for _ in range(2))
    (alone,) = first.run()
    states = (first.sizes, [metric.state() for metric in first.every_metric()])
    (without_pictures,) = second.run((1, 2), lambda mine: [states, mine])
    assert without_pictures == alone


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_trains_compiled_shows_what_translate_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``i2i translate`` does not compile, and a compiler draws other random numbers."""
    seen: list[bool] = []
    whole = torch.nn.Module.compile

    def noting(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        return lambda *given: (seen.append(True), graph(*given))[1]

    monkeypatch.setattr(torch.nn.Module, "compile", lambda network, **_: whole(network, backend=noting))
    run = assemble(toy.recipe(tmp_path, "train.compile=true", "train.ema=null", plugins=REGISTRY), REGISTRY)
    x = torch.zeros(1, 3, 16, 16)
    run.generator(x, "a", "b")
    assert seen
    seen.clear()
    with as_saved(run) as shown:
        shown.translate(x)
    assert not seen
