"""Options that may change after training: checked as a recipe's are, recorded, and free to change where a run goes on."""

from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from PIL import Image
from pydantic import Field
from rich.console import Console
from torch import Tensor, nn
from typer.testing import CliRunner

import strangers
import toy
from i2i.adapters import per_direction
from i2i.cli import app
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.recipe.at_use import changed_options, in_use
from i2i.registry import Registry, default_registry, hookimpl
from i2i.testing import check_generator
from i2i.testing.described import describe
from i2i.training.running import run_recipe
from i2i.translation.loading import load
from i2i.translation.translator import Translator
from i2i_export.export import export
from toy import trained

Steps = Annotated[int, Field(ge=1, le=100)]


class Sampler(nn.Module):
    """Adds a part of its weights at each step; ``calls`` counts the steps of all."""

    at_use = frozenset({"steps", "ode"})
    small = {"steps": 1, "width": 1}  # noqa: RUF012 - never changed
    calls = 0

    def __init__(self, in_channels: int, out_channels: int, *, width: int = 3, steps: Steps = 2, ode: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(in_channels, out_channels, width, padding=width // 2)
        self.register_buffer("parts", torch.full((steps,), 1 / 64), persistent=False)
        self.ode = ode

    def forward(self, x: Tensor) -> Tensor:
        made = x
        for part in self.parts:
            made = made + part * self.layer(x)
            Sampler.calls += 1
        return torch.tanh(made)


class Growing(Sampler):
    """Its weights depend on what it says may change."""

    def __init__(self, in_channels: int, out_channels: int, *, steps: Steps = 2) -> None:
        super().__init__(in_channels, out_channels, steps=steps)
        self.gains = nn.Parameter(torch.ones(steps))


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"sampler": per_direction(Sampler), "growing": per_direction(Growing)}


REGISTRY = Registry(plugins={"toys": toy, "mine": Plugin()})
RECIPE = """\
dataset: {name: stripes}
generator: {name: sampler, steps: 3}
loss: {name: toy, adversarial: false}
train: {steps: 2, ema: 0.9}
samples: {every: 10, count: 1}
log: {trackers: []}
"""


def run(folder: Path, *overrides: str, **given: Any) -> Any:
    return trained(folder, *overrides, text=RECIPE, plugins=REGISTRY, **given)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampler")
    run(folder)
    return folder / "out"


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ({"steps": 0}, "use.steps: must be at least 1, not 0"),
        ({"steps": "many"}, "use.steps: must be a whole number, not"),
        ({"width": 5}, "use.width: it is fixed by training. You can change after training: ode, steps."),
        ({"step": 5}, "use.step: there is no such option. Did you mean 'steps'\\? You can change after training: ode, steps."),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, model: Path, use: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(model, "cpu", registry=REGISTRY, use=use)
    with pytest.raises(UserError, match=f"samples.{message}") as told:
        toy.recipe(tmp_path, f"samples.use={use}", text=RECIPE, plugins=REGISTRY)
    assert "--set samples.use" in str(told.value)


def test_a_model_without_such_options_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"samples.use.width: it is fixed by training. No option can change"):
        toy.recipe(tmp_path, "samples.use={width: 5}")


def test_an_option_that_changes_weights_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'at_use' changes its weights.*gains"):
        run(tmp_path, "generator={name: growing}", "samples.use={steps: 5}")
    assert not (tmp_path / "out").exists()


def test_a_loaded_model_takes_them_and_tells_of_them(model: Path) -> None:
    x = torch.rand(1, 3, 16, 16)
    plain, more = (load(model, "cpu", registry=REGISTRY, use=use) for use in (None, {"steps": 50}))
    assert (plain.use, more.use) == ({"steps": 3, "ode": False}, {"steps": 50, "ode": False})
    assert plain.config == more.config
    assert not torch.equal(plain.translate(x), more.translate(x))
    again = load(model, "cpu", registry=REGISTRY, use={"steps": 3})
    assert torch.equal(plain.translate(x), again.translate(x))


class Watch:
    """What grids showed, and of what."""

    def __init__(self) -> None:
        self.shown: list[tuple[Tensor, Tensor]] = []

    @hookimpl
    def grid_saved(self, pictures: Any) -> None:
        self.shown += pictures.values()


def test_grids_take_them_on_the_weights_of_their_time(tmp_path: Path) -> None:
    watch = Watch()
    run(tmp_path, "samples.use={steps: 20}", "samples.every=1", watcher=watch)
    assert len(watch.shown) == 3
    saved = load(tmp_path / "out", "cpu", registry=REGISTRY, use={"steps": 20})
    (_, first), _, (x, last) = watch.shown
    torch.testing.assert_close(last, saved.translate(x))
    assert not torch.equal(first, last)
    assert saved.recorded["recipe"]["samples"]["use"] == {"steps": 20}


def test_the_rehearsal_takes_the_few_steps_of_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i.training.assembly import assemble

    monkeypatch.setattr(Sampler, "calls", 0)
    assemble(toy.recipe(tmp_path, "generator.steps=50", text=RECIPE, plugins=REGISTRY), REGISTRY)
    assert Sampler.calls % 50 == 1  # the loss's own calls take all, as in training


def test_a_run_goes_on_with_other_values_and_says_so(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match=r"another 'generator' \(generator.width: 3 → 5\)"):
        run(tmp_path, "generator.width=5", "generator.steps=9", resume=True)
    run(tmp_path, "generator.steps=9", "train.steps=3", resume=True)
    assert "changed after step 2: generator.steps: 3 → 9" in (tmp_path / "out/log.txt").read_text()
    assert load(tmp_path / "out", "cpu", registry=REGISTRY).use["steps"] == 9


def test_the_command_line_takes_them(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i.translation.loading.default_registry", lambda: REGISTRY)
    Image.new("RGB", (16, 16), "teal").save(tmp_path / "in.png")
    arguments = ["translate", str(model), str(tmp_path / "in.png"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    for given, message in (("steps", "write OPTION=VALUE, for instance --use steps=50"), ("steps=0", "at least 1")):
        refused = CliRunner().invoke(app, [*arguments, "--use", given])
        assert message in str(refused.exception)
    done = CliRunner().invoke(app, [*arguments, "--use", "steps=5", "--use", "ode=true"])
    assert done.exit_code == 0, done.output
    from i2i_provenance.inspection import inspect, lines

    stated = inspect(tmp_path / "out/in.png")
    assert stated is not None
    assert stated.use == "steps=5, ode=true"
    assert "  use: steps=5, ode=true" in lines(Path("x"), stated)


def test_figures_tell_of_them(model: Path) -> None:
    import i2i_metrics
    from i2i.recipe.components import Component
    from i2i_evaluate.comparison import fresh_result
    from i2i_evaluate.evaluation import Result, weights_hash, write_result
    from i2i_evaluate.held import held_out
    from i2i_evaluate.measuring import Evaluation

    registry = Registry(plugins={"toys": toy, "mine": Plugin(), "metrics": i2i_metrics})
    held = held_out(Component(name="stripes"), registry, "", {})
    translator: Translator = load(model, "cpu", registry=registry, use={"steps": 7})
    figures = Evaluation(translator, held, [Component(name="psnr")]).run()
    assert figures[0].protocol["use"] == {"steps": 7, "ode": False}
    write_result(model / "evaluation.json", Result(str(model), weights_hash(model), 2, figures))
    assert fresh_result(model, "", translator.use) is not None
    assert fresh_result(model, "", {"steps": 3, "ode": False}) is None


def test_generators_by_direction_each_take_what_is_theirs() -> None:
    parts = {"ab": (per_direction(Sampler), {"steps": 2}), "ba": (per_direction(toy.ToyNet), {"width": 4})}
    options, problems = changed_options(parts, {"steps": 9})
    assert not problems
    assert (options["ab"]["steps"], options["ba"]["width"]) == (9, 4)
    assert in_use({key: (factory, options[key]) for key, (factory, _) in parts.items()}) == {"ab.steps": 9, "ab.ode": False}


def test_the_kit_and_the_listing_know_them() -> None:
    class Odd(Sampler):
        at_use = frozenset({"speed"})

    assert [option.help for option in describe("generator", per_direction(Sampler))] == [
        "",
        *2 * ["May change after training."],
    ]
    with pytest.raises(AssertionError, match="'at_use' names 'speed', which is not one of its options"):
        check_generator(per_direction(Odd))


def test_a_stranger_s_bridge_walks_in_tiles_and_its_ode_is_one_file(tmp_path: Path) -> None:
    with strangers.installed(tmp_path, "bridge"):
        registry = default_registry()
        recipe = load_recipe("bridge:bridge", ["train.steps=1"], registry)
        run_recipe(recipe, tmp_path / "out", registry, resume=False, console=Console(quiet=True))
        x = torch.rand(1, 3, 90, 72) * 2 - 1
        drawn, ode = (load(tmp_path / "out", "cpu", use=use) for use in ({"steps": 2}, {"steps": 2, "ode": True}))
        torch.testing.assert_close(drawn.translate(x, tile=40), drawn.translate(x), atol=1e-4, rtol=0)
        assert not torch.equal(drawn.translate(x), drawn.translate(x, style_seed=1))
        assert torch.equal(ode.translate(x), ode.translate(x, style_seed=1))
        export(ode, "torch-export", tmp_path / "ode.pt2")
        with pytest.raises(UserError, match="draws random numbers"):
            export(drawn, "torch-export", tmp_path / "drawn.pt2")
