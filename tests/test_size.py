"""A network that asks for the size of the training pictures: from the first sample, in the kit, in a saved model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import toy
from i2i.adapters import per_direction, per_domain
from i2i.errors import UserError
from i2i.recipe.options import options_model
from i2i.registry import Registry, hookimpl
from i2i.testing import Subject, check_dataset, check_discriminator, check_generator, generators, subjects_of
from i2i.testing.matrix import cells_of
from i2i.testing.workshop import Choice
from i2i.training.assembly import assemble
from i2i.training.checkpoint import write_model
from i2i.translation.model_folder import load_model


class Whole(nn.Module):
    """A weight for every pixel of the training pictures; other sizes are refused."""

    divisor = 4

    def __init__(self, in_channels: int, out_channels: int, *, size: tuple[int, int], width: int = 3) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(in_channels, width, 1), nn.Conv2d(width, out_channels, 1)
        self.pixels = nn.Parameter(torch.ones(1, 1, *size))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.first(x) * nn.functional.interpolate(self.pixels, x.shape[-2:])
        return self.last(y).tanh()  # type: ignore[no-any-return]


class Judge(nn.Module):
    def __init__(self, in_channels: int, *, size: tuple[int, int]) -> None:
        super().__init__()
        self.layer, self.seen = nn.Conv2d(in_channels, 1, 1), size

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class _Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"whole": per_direction(Whole)}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"seeing": per_domain(Judge)}


REGISTRY = Registry(plugins={"toys": toy, "mine": _Plugin()})
RECIPES: Mapping[str, str] = {
    "one": "generator: {name: whole}\ndiscriminator: {name: seeing}\n",
    "each": "generator: {ab: {name: whole}}\ndiscriminator: {b: {name: seeing}}\n",
}


def recipe(tmp_path: Path, networks: str) -> Any:
    text = f"dataset: {{name: stripes, size: 12}}\n{networks}loss: {{name: toy}}\n"
    return toy.recipe(tmp_path, text=text, plugins=REGISTRY)


def test_recipes_cannot_set_it(tmp_path: Path) -> None:
    assert list(options_model("generator", per_direction(Whole)).model_fields) == ["width"]
    with pytest.raises(UserError, match=r"generator\.size: unknown key"):
        recipe(tmp_path, RECIPES["one"].replace("whole", "whole, size: [8, 8]"))


@pytest.mark.parametrize("networks", RECIPES.values(), ids=list(RECIPES))
def test_it_is_the_first_samples_and_a_model_is_rebuilt_with_it(networks: str, tmp_path: Path) -> None:
    run = assemble(recipe(tmp_path, networks), REGISTRY)
    pixels = {name: tuple(value.shape) for name, value in run.model.state_dict().items() if name.endswith("pixels")}
    assert set(pixels.values()) == {(1, 1, 12, 12)}
    assert [module.seen for module in run.discriminator.modules() if isinstance(module, Judge)] == [(12, 12)]
    write_model(run, tmp_path / "model")
    model = load_model(tmp_path / "model", registry=REGISTRY)
    for name, value in run.model.state_dict().items():
        assert torch.equal(model.module.state_dict()[name], value)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    del config["extra"]["sizes"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="the generator 'whole' cannot be rebuilt"):
        load_model(tmp_path / "model", registry=REGISTRY)


def test_the_kit_says_the_size_of_its_pictures() -> None:
    check_generator(per_direction(Whole))
    check_discriminator(per_domain(Judge))


class Broad(Whole):
    """Too large for a check; ``small`` says what the kit builds."""

    small = {"width": 2}  # noqa: RUF012


def test_small_options_are_what_the_kit_builds_unless_others_are_given() -> None:
    factory: Any = per_direction(Broad)
    assert factory.small == {"width": 2}
    assert Subject("generator", "broad", factory).complete() == {"width": 2}
    assert Subject("generator", "broad", factory, {"width": 5}).complete() == {"width": 5}
    factory.small = {"widht": 2}
    with pytest.raises(UserError, match=r"generator 'broad': widht: unknown key\. Did you mean 'width'"):
        Subject("generator", "broad", factory).complete()


class Needy:
    def __init__(self, *, root: str) -> None:
        raise AssertionError(root)


class Torn(Whole):
    def __init__(self, in_channels: int, out_channels: int, *, size: tuple[int, int]) -> None:
        raise ZeroDivisionError("here")


def test_the_kit_says_which_option_is_missing_and_for_which_domains_a_factory_fails() -> None:
    with pytest.raises(
        AssertionError, match=r"cannot be built without the option 'root'\. Give it with --set dataset\.Needy\.root"
    ):
        check_dataset(Needy)
    with pytest.raises(AssertionError, match=r"for a 3 channels, b 3 channels, its factory fails: ZeroDivisionError: here"):
        check_generator(per_direction(Torn))


class Refusing(Whole):
    compiles = exports = False

    def forward(self, x: Tensor) -> Tensor:
        raise UserError("no picture suits it.")


def test_what_a_network_refuses_and_declares_is_said_with_its_name(tmp_path: Path) -> None:
    class Plugin:
        @hookimpl
        def register_generators(self) -> dict[str, Any]:
            return {"refusing": per_direction(Refusing)}

    registry = Registry(plugins={"toys": toy, "mine": Plugin()})
    text = "dataset: {name: stripes}\ngenerator: {name: refusing}\ndiscriminator: {name: judge}\nloss: {name: toy}\n"
    with pytest.raises(UserError, match=r"^generator 'refusing': no picture suits it\.$"):
        assemble(toy.recipe(tmp_path, text=text, plugins=registry), registry)
    compiled = toy.recipe(tmp_path, "train.compile=true", text=text, plugins=registry)
    with pytest.raises(UserError, match=r"train\.compile: Refusing declares compiles = False"):
        assemble(compiled, registry, rehearsed=True)


class Drawing(toy.ToyLoss):
    """Asks a single number that it draws for its value, as StarGAN's does for its next domain."""

    def translate(self, G: Any, batch: Any) -> Any:
        return super().translate(G, batch) if int(torch.randint(1, 2, ())) and float(torch.rand(())) < 2 else {}


class Breaking(toy.ToyLoss):
    def __init__(self, *, domains: Any) -> None:
        raise ZeroDivisionError("here")


def test_the_matrix_draws_single_numbers_and_calls_crashed_what_crashes() -> None:
    class Plugin:
        @hookimpl
        def register_losses(self) -> dict[str, Any]:
            return {"drawing": Drawing, "breaking": Breaking}

    registry = Registry(plugins={"toys": toy, "mine": Plugin()})
    cells = [cell for cell in cells_of(Choice(registry, {}, size=16, plugin="mine")) if cell.generator == "toy"]
    found = {cell.loss: cell.result for cell in cells if cell.data == "images"}
    assert found == {"breaking": "crashed", "drawing": "trains"}


def test_a_loss_is_tried_with_its_plugins_own_networks() -> None:
    """Bare functions give no extra of two dimensions by that name."""
    subjects = subjects_of("toys", toy.registry())
    own = {subject.name: subject.own for subject in subjects if subject.kind == "loss"}
    assert all(one is not None and one.kind == "generator" for one, _ in own.values())
    assert all(subject.own == (None, None) for subject in subjects if subject.kind != "loss")


class FixedSize(Whole):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(len(x), 3, int(x.shape[2]), x.shape[3]))


def test_an_export_is_tried_with_any_size() -> None:
    with pytest.raises(AssertionError, match=r"torch\.export fails \(.*rows"):
        generators.exports(Subject("generator", "fixed", per_direction(FixedSize)))
