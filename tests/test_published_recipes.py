"""The papers' own settings: they load, the networks have the published sizes, and the data are read by their real names."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from i2i.building.combined import joined
from i2i.building.epochs import in_steps, steps_of_epoch
from i2i.building.parts import build_generator, construct
from i2i.errors import UserError
from i2i.protocols import Domain
from i2i.recipe import Recipe, load_recipe
from i2i.registry import default_registry
from i2i.training.assembly import assemble
from i2i.training.dry_run import parameters

FOLDER = Path(__file__).parents[1] / "recipes" / "published"
RGB = Domain("photo", "image", 3)
CITY = Domain("labels", "labels", 36, instances=True)
ADE = Domain("labels", "labels", 151)
COCO = Domain("labels", "labels", 184, instances=True)

# Parameters of all generators and all discriminators of a recipe, from the published programs' networks.
UNET, RESNET, PATCH, PATCH_PAIR = 54_413_955, 11_378_179, 2_764_737, 2_768_705
SIZES = {
    "pix2pix_facades": (RGB, UNET, PATCH_PAIR),
    "pix2pix_maps": (RGB, UNET, PATCH_PAIR),
    "pix2pix_edges2shoes": (RGB, UNET, PATCH_PAIR),
    "pix2pix_night2day": (RGB, UNET, PATCH_PAIR),
    "cyclegan_horse2zebra": (RGB, 2 * RESNET, 2 * PATCH),
    "cyclegan_monet2photo": (RGB, 2 * RESNET, 2 * PATCH),
    "cyclegan_vangogh2photo": (RGB, 2 * RESNET, 2 * PATCH),
    "spade_cityscapes": (CITY, 93_048_003, 5_601_410),
    "spade_ade20k": (ADE, 96_492_483, 5_836_930),
    "spade_coco": (COCO, 97_480_899, 5_904_514),
    "unit_edges2shoes": (RGB, 2 * 11_140_483, 2 * 8_271_171),
}


# Of each recipe the samples of its training split, the steps of the run, and start, end and hold of its schedule in steps.
LENGTHS: dict[str, tuple[int, int, tuple[int, int, int] | None]] = {
    "pix2pix_facades": (400, 80_000, (39_600, 80_000, 400)),
    "pix2pix_maps": (1096, 219_200, (108_504, 219_200, 1096)),
    "pix2pix_edges2shoes": (49_825, 186_840, None),
    "pix2pix_night2day": (17_823, 75_752, None),
    "cyclegan_horse2zebra": (1334, 266_800, (132_066, 266_800, 1334)),
    "cyclegan_monet2photo": (6287, 1_257_400, (622_413, 1_257_400, 6287)),
    "cyclegan_vangogh2photo": (6287, 1_257_400, (622_413, 1_257_400, 6287)),
    "spade_cityscapes": (2975, 18_600, (9300, 18_600, 93)),
    "spade_ade20k": (20_210, 126_400, (63_200, 126_400, 632)),
    "spade_coco": (118_287, 369_700, None),
    "unit_edges2shoes": (49_825, 1_000_000, None),
}


def recipe(name: str, *overrides: str) -> Recipe:
    return load_recipe(FOLDER / f"{name}.yaml", list(overrides), default_registry())


def test_every_published_recipe_is_counted_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(SIZES)


@pytest.mark.parametrize("name", list(SIZES))
def test_networks_have_the_published_sizes(name: str) -> None:
    source, generators, discriminators = SIZES[name]
    checked, registry = recipe(name), default_registry()
    domains = {"a": source, "b": RGB}
    with torch.device("meta"):
        first = next(iter(checked.components("loss").values()))
        needs = joined([(first.name, construct(registry, "loss", first, domains=domains).needs)])
        G = build_generator(checked, registry, domains, needs.directions, dict.fromkeys(domains, (256, 256)))
        across = [(s, t) for s, t in needs.directions if s != t]
        conditions = {t: domains[s] for s, t in across} if needs.conditional else {}
        judged = {t: domains[t] for _, t in across}
        assert checked.discriminator is not None
        D: Any = construct(registry, "discriminator", checked.discriminator, domains=judged, conditions=conditions)
    assert (parameters(G), parameters(D)) == (generators, discriminators)


@pytest.mark.parametrize("name", list(SIZES))
@pytest.mark.parametrize("processes", [1, 8])
def test_epochs_are_the_published_numbers_of_steps(name: str, processes: int) -> None:
    """In one process, and for SPADE's batches of 32 in eight with batches of 4."""
    samples, steps, schedule = LENGTHS[name]
    checked = recipe(name)
    split = processes if checked.train.batch_size == 32 else 1
    train = checked.train.model_copy(update={"batch_size": checked.train.batch_size // split})
    made = in_steps(checked, train.epoch or steps_of_epoch(samples, train, split)).train
    assert made.steps == steps
    found = made.schedule
    assert ((found.start, found.end, found.hold) if found.name == "constant_then_linear" else None) == schedule
    said = (FOLDER / f"{name}.yaml").read_text()
    assert ("  epochs: " in said) == (name != "unit_edges2shoes")  # whose paper counts steps


def _street(root: Path, count: int) -> None:
    for split in ("train", "val"):
        for i in range(count):
            stem = f"aachen_{i:06d}_000019"
            for ending, mode in (("leftImg8bit", "RGB"), ("gtFine_labelIds", "L"), ("gtFine_instanceIds", "L")):
                path = root / ending.split("_")[0] / split / "aachen" / f"{stem}_{ending}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new(mode, (64, 32), 7).save(path)


def test_cityscapes_is_read_and_built_from_its_own_layout(tmp_path: Path) -> None:
    """Small networks on two street scenes; the perceptual term, which needs VGG19's weights, is left out."""
    _street(tmp_path, 2)
    small = ("generator.width=1", "generator.upsampling=normal", "discriminator.width=2", "discriminator.layers=2")
    here = (f"dataset.root={tmp_path}", "dataset.transform={resize: [64, 128]}", "loss={name: spade}", "train.batch_size=1")
    run = assemble(recipe("spade_cityscapes", *small, *here), default_registry())
    assert run.parts.domains["a"].channels == 36
    assert run.parts.domains["a"].instances


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cityscapes"):
        assemble(recipe("spade_cityscapes", f"dataset.root={tmp_path}"), default_registry())
