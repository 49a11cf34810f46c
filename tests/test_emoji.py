"""The emoji sample: alignment, splits, independence, refusals, and many domains of one model."""

import importlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import features

import i2i_cyclegan
import i2i_emoji
import i2i_objectives
import i2i_pix2pix
from i2i.data import SeededDataset
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.recipe.components import Component
from i2i.registry import Registry
from i2i.training.assembly import assemble
from i2i.training.loop import accumulated_step
from i2i_emoji.dataset import TWINS, EmojiDataset, Side, names, pictures

REGISTRY = Registry({"emoji": i2i_emoji, "pix2pix": i2i_pix2pix, "cyclegan": i2i_cyclegan, "objectives": i2i_objectives})
STRANGERS = Path(__file__).parent / "third_party"


def data(split: str = "val", **options: Any) -> EmojiDataset:
    return EmojiDataset(split=split, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("side", "channels"), [("ink", 1), ("flat", 3), ("glossy", 3), ("noto", 3)])
def test_pictures_have_the_shape_and_range_of_the_contract(side: str, channels: int) -> None:
    sample = data(a=side, b="flat" if side != "flat" else "ink", size=64)[3]["a"]
    assert (tuple(sample.shape), sample.dtype) == ((channels, 64, 64), torch.float32)
    assert -1 <= sample.min() < 0 < sample[:, :2, :2].min()  # a drawing on white
    assert sample.max() <= 1


def test_the_pictures_are_their_own_pixels_scaled_down_once() -> None:
    whole = pictures("flat", "val")
    assert (tuple(whole.shape), whole.dtype) == ((156, 3, 96, 96), torch.uint8)
    assert torch.equal(((data(a="flat", b="noto")[7]["a"] + 1) * 127.5).round().byte(), whole[7])
    small = pictures("flat", "val", 48)
    averaged = torch.nn.functional.avg_pool2d(whole.float(), 2)
    assert (small.float() - averaged).abs().mean() < 1.5
    assert pictures("flat", "val", 48) is small


def test_splits_share_nothing_and_name_what_they_show() -> None:
    every = [name for split in ("train", "val", "test") for name in names(split)]  # type: ignore[arg-type]
    assert len(every) == len(set(every)) == 1561 - len(TWINS)
    assert [len(data(split)) for split in ("train", "val", "test")] == [1267, 156, 135]
    assert SeededDataset(data(), 0).name((0, 5)) == names("val")[5]


@pytest.mark.parametrize("side", ["ink", "flat", "glossy", "noto"])
def test_no_held_out_drawing_is_in_train(side: Side) -> None:
    trained, held = pictures(side, "train", 32), torch.cat([pictures(side, "val", 32), pictures(side, "test", 32)])
    nearest = torch.cdist(held.flatten(1).float(), trained.flatten(1).float()).min() / trained[0].numel() ** 0.5
    assert nearest > 0.015 * 255  # clocks at other hours come nearest


def test_ink_flat_and_glossy_are_aligned_and_noto_is_the_same_thing_in_another_shape() -> None:
    drawn = {side: pictures(side, "val", 24).float().mean(1).flatten(1) < 200 for side in ("flat", "glossy", "noto")}  # type: ignore[arg-type]

    def overlap(a: str, b: str, shift: int = 0) -> float:
        other = drawn[b].roll(shift, 0)
        return float(((drawn[a] & other).sum(1) / (drawn[a] | other).sum(1)).median())

    assert overlap("flat", "glossy") > 0.85
    assert overlap("flat", "glossy", 1) + 0.1 < overlap("flat", "noto") < 0.8


def test_paired_is_what_is_true_of_the_pictures() -> None:
    assert data("train").paired
    assert data("train", a="flat").paired
    assert not data("train", a="noto", b="flat").paired
    assert data("val", a="noto", b="flat").paired  # the true counterparts, for metrics and grids
    assert not data("val", a="noto", b="flat", paired=False).paired
    assert not data("train", paired=False).paired
    assert not data("train", domains=("ink", "flat", "noto")).paired
    assert data("train", domains=("ink", "flat", "glossy")).paired


def test_a_paired_sample_shows_one_thing_flipped_alike() -> None:
    one, other = (data("train", a=a, b=b, size=16, flip=True) for a, b in (("ink", "flat"), ("flat", "ink")))
    seen = set()
    for index in range(12):
        sample, swapped = (SeededDataset(d, 0)[0, index] for d in (one, other))
        assert torch.equal(sample["a"], swapped["b"])
        assert torch.equal(sample["b"], swapped["a"])
        seen.add(torch.equal(sample["a"], data("train", a="ink", b="flat", size=16)[index]["a"]))
    assert seen == {True, False}
    assert torch.equal(data(size=16, flip=True)[5]["a"], data(size=16)[5]["a"])  # not in val


def test_unpaired_sides_are_drawn_independently_in_train_and_fixed_in_val() -> None:
    train = data("train", a="noto", b="flat")
    torch.manual_seed(0)
    drawn = torch.tensor([[train.things(i)["a"], train.things(i)["b"]] for i in range(1267)], dtype=torch.float)
    assert drawn[:, 0].tolist() == list(range(1267))
    assert abs(torch.corrcoef(drawn.T)[0, 1]) < 0.1
    assert len(drawn[:, 1].unique()) > 700
    assert (drawn[:, 0] == drawn[:, 1]).sum() < 8
    held = data(domains=("ink", "flat", "noto"), paired=False)
    assert held.things(150) == {"ink": 150, "flat": 46, "noto": 98}
    assert all(len(set(held.things(i).values())) == 3 for i in range(len(held)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a": "noto", "b": "flat", "paired": True}, "agree in name, not in their pixels.*Leave 'paired' out"),
        ({"domains": ("ink", "noto"), "paired": True}, "nothing paired to train on"),
        ({"a": "flat", "b": "flat"}, "a and b are both 'flat'"),
        ({"domains": ("ink",)}, "domains: name two or more, each once"),
        ({"domains": ("ink", "flat", "ink")}, "domains: name two or more, each once"),
        ({"a": "noto", "domains": ("ink", "flat")}, "either 'domains' or 'a' and 'b'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data("train", **options)


def test_a_loss_that_compares_pixels_is_refused_with_noto(tmp_path: Path) -> None:
    text = (
        "dataset: {name: emoji, a: noto, b: flat, size: 16}\ngenerator: {name: resnet, width: 2, blocks: 1}\n"
        "discriminator: {name: patchgan, width: 2, layers: 1}\nloss: {name: LOSS}\ntrain: {steps: 1}\n"
    )
    path = tmp_path / "r.yaml"
    path.write_text(text.replace("LOSS", "pix2pix"))
    with pytest.raises(UserError, match="'pix2pix' compares pixels and needs paired data"):
        assemble(load_recipe(path, [], REGISTRY), REGISTRY)
    path.write_text(text.replace("LOSS", "cyclegan"))
    assemble(load_recipe(path, [], REGISTRY), REGISTRY)


def test_a_pillow_without_avif_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(UserError, match=r"reads no AVIF pictures. Install the one from PyPI"):
        pictures.__wrapped__("flat", "val")
    assert len(pictures.__wrapped__("ink", "val")) == 156


def test_all_four_are_domains_of_a_strangers_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(STRANGERS / "seasons")
    registry = Registry({"seasons": importlib.import_module("i2i_seasons"), "emoji": i2i_emoji})
    recipe = load_recipe(STRANGERS / "seasons/i2i_seasons/recipes/seasons.yaml", [], registry)
    options = {"domains": ["ink", "flat", "glossy", "noto"], "size": 16}
    run = assemble(recipe.model_copy(update={"dataset": Component(name="emoji", options=options)}), registry)
    assert {domain.channels for domain in run.parts.domains.values()} == {3}
    run.training_mode()
    terms = accumulated_step(run, run.batches())
    assert {name.rpartition("_")[2] for name in terms} >= {"ink", "flat", "glossy", "noto"}


def test_untranslated_pictures_are_measured_against_their_counterparts(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the benchmark, whose model returns what it is given."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    untranslated = importlib.import_module("untranslated")
    monkeypatch.setattr("sys.argv", ["untranslated", "--metrics", "psnr", "--json", str(tmp_path / "f.json")])
    untranslated.main()
    assert "From noto to flat. 156 pictures of 64 x 64 pixels from the split val" in " ".join(capsys.readouterr().out.split())
    noto, flat = (pictures(side, "val", 64).double() / 255 for side in ("noto", "flat"))  # type: ignore[arg-type]
    wanted = (-10 * (noto - flat).square().mean((1, 2, 3)).log10()).mean()
    assert json.loads((tmp_path / "f.json").read_text())["psnr"] == pytest.approx(float(wanted), rel=1e-5)
    text = (root / "recipes/cyclegan_noto2flat.yaml").read_text(encoding="utf-8")
    (tmp_path / "r.yaml").write_text(text.replace("b: flat, size: 64", "b: flat, size: 64, paired: false"))
    monkeypatch.setattr("sys.argv", ["untranslated", str(tmp_path / "r.yaml"), "--metrics", "retrieval"])
    with pytest.raises(
        UserError, match="'retrieval' compares each translation with its truth, but the data 'emoji' are unpaired"
    ):
        untranslated.main()


def test_sources_and_licences_are_shipped_beside_the_pictures() -> None:
    told = {
        "README.md": ("Fluent Emoji", "Microsoft Corporation", "Noto Emoji", "Google Inc", "changed"),
        "LICENSE-fluent-MIT.txt": ("Microsoft Corporation", "The above copyright notice and this permission notice shall be"),
        "LICENSE-noto-Apache-2.0.txt": ("Apache License", "END OF TERMS AND CONDITIONS"),
    }
    for name, words in told.items():
        text = (files("i2i_emoji") / "data" / name).read_text(encoding="utf-8")
        assert all(word in text for word in words)
    assert "MIT" in EmojiDataset.licence
    assert "Apache 2.0" in EmojiDataset.licence
