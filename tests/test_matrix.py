"""Every generator with every loss and discriminator, computed in earnest."""

from collections.abc import Mapping
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import i2i
from i2i.registry import default_registry
from i2i.testing.matrix import as_markdown, cells_of
from i2i.testing.workshop import Choice

GENERATORS: Mapping[str, Mapping[str, Any]] = {
    "unet": {"width": 4, "downs": 4},
    "resnet": {"width": 4, "blocks": 1},
    "unit": {"width": 4, "downs": 1, "blocks": 1},
    "spade": {"width": 1, "hidden": 4},
    "timm_unet": {"backbone": "test_resnet", "width": 4},
}
DISCRIMINATORS: Mapping[str, Mapping[str, Any]] = {
    "patchgan": {"width": 4},
    "pixel": {"width": 4},
    "multiscale": {"width": 4},
    "spade": {"width": 4},
    "timm": {"width": 4, "weights": "bundled"},
}
LOSSES = ("pix2pix", "cyclegan", "unit", "spade")
PERCEPTUAL = {"backbone": "tf_efficientnet_lite0", "layers": [0, 1], "weights": "bundled"}
LATENT = ("unit", "unit")
"""UNIT's loss with UNIT's own generator; any other serves it without the terms of the latent."""


@pytest.mark.slow
def test_the_page_of_the_matrix_is_true_of_values(root: Path) -> None:
    """Finite terms and a gradient for every parameter in each cell; docs/matrix.md was made of shapes alone."""
    options = {f"generator {name}": given for name, given in GENERATORS.items()}
    options |= {f"discriminator {name}": given for name, given in DISCRIMINATORS.items()}
    given = {**options, "loss perceptual": PERCEPTUAL, "loss self_similarity": {"levels": [0, 1], "weights": "bundled"}}
    every = list(cells_of(Choice(default_registry(), given, device="cpu", size=64, judges=("patchgan", "timm"))))
    listed = [cell for cell in every if "+" in cell.discriminator]
    adversarial = product((*LOSSES, "mismatch", "penalty"), ("images", "labels"))
    assert {(cell.loss, cell.data) for cell in listed if cell.result == "trains"} == {*adversarial}
    cells = [cell for cell in every if cell not in listed]
    assert as_markdown(cells) in (root / "docs/matrix.md").read_text()
    assert not [cell for cell in cells if cell.result == "crashed"]
    asked = [cell for cell in cells if cell.loss in LOSSES and cell.discriminator != "spade"]
    assert len(asked) == 5 * 4 * 4 * 2
    assert sum(cell.result == "trains" for cell in asked) >= 0.8 * len(asked)


def whole_runs() -> list[tuple[str, str, str, str]]:
    """Every generator with every loss; the discriminators take turns, and so do the kinds of data with each of them."""
    judges = cycle(("patchgan", "pixel", "multiscale", "timm", "patchgan"))
    pairs = product(enumerate(GENERATORS), enumerate(LOSSES))
    return [(generator, loss, next(judges), ("day", "labels")[(i + j) % 2]) for (i, generator), (j, loss) in pairs]


@pytest.mark.slow
@pytest.mark.parametrize(("generator", "loss", "judge", "data"), whole_runs())
def test_a_combination_trains_saves_and_translates(generator: str, loss: str, judge: str, data: str, tmp_path: Path) -> None:
    """Two steps, then a picture from the saved model."""
    i2i.run(written(tmp_path / "recipe.yaml", generator, loss, judge, data), out=tmp_path / "run")
    model = i2i.load(tmp_path / "run")
    size, mode = (48, 40), "L" if data == "labels" else "RGB"
    made = model.translate(Image.new(mode, size, 1), to="night")
    assert (made.size, made.mode) == (size, "RGB")


def written(path: Path, generator: str, loss: str, judge: str, data: str) -> Path:
    """A recipe of the four on the Earth sample."""
    without_latent = {"kl": 0, "cycle_kl": 0} if loss == "unit" and (generator, loss) != LATENT else {}
    recipe = {
        "dataset": {"name": "earth", "a": data, "b": "night", "paired": True, "crop": 64},
        "generator": {"name": generator, **GENERATORS[generator]},
        "discriminator": {"name": judge, **DISCRIMINATORS[judge]},
        "loss": {"name": loss, **without_latent},
        "train": {"steps": 2, "workers": 0},
    }
    path.write_text(yaml.safe_dump(recipe))
    return path
