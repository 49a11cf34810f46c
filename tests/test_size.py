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
from i2i.testing import check_discriminator, check_generator
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
