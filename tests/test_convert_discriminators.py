"""Discriminators that were published with their generators: converted with them, and trained from there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

import junyanz
from i2i.errors import UserError
from i2i.files import sha256
from i2i.recipe import load_recipe
from i2i.registry import default_registry
from i2i.training.running import run_recipe
from i2i.translation.loading import load
from i2i.translation.model_config import DISCRIMINATOR
from i2i.translation.model_folder import CONFIG, WEIGHTS, load_model
from i2i_convert.convert import convert
from i2i_cyclegan import weights as resnet_weights
from i2i_pix2pix import weights as unet_weights
from i2i_push.publishing import prepare
from i2i_spade import weights as spade_weights
from i2i_unit import weights as unit_weights
from parity_cases import Case
from pictures_on_disk import noise, write

State = dict[str, Tensor]
REGISTRY = default_registry()
RECIPE = """\
dataset: {name: folders, a: DATA/horse, b: DATA/zebra, names: [horse, zebra], transform: {resize: 16, crop: 16}}
generator: {name: resnet, width: 64, blocks: 9}
discriminator: {name: patchgan, width: 64, layers: 1, norm: instance}
loss: {name: cyclegan}
train: {steps: 10, start: MODEL, threads: 1, workers: 0}
samples: {every: 10, count: 1}
log: {every: 10, trackers: []}
"""


def saved(state: Any, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    torch.save(state, path)
    return path


def same(one: State, other: State) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def converted(folder: Path, *paths: Path, form: str, **options: Any) -> tuple[State, dict[str, Any], tuple[str, ...]]:
    """The discriminator of a new model, what config.json says of it, and the lines that were printed."""
    report = convert(paths, form, folder, REGISTRY, **options)
    told = json.loads((folder / CONFIG).read_text())["extra"]
    assert told["discriminator"]["sha256"] == sha256(folder / DISCRIMINATOR)
    return load_file(folder / DISCRIMINATOR), told, report.lines


def test_junyanz_cyclegan(tmp_path: Path) -> None:
    case = Case("cyclegan_step_nopool.safetensors")
    states = {net: case.state(net) for net in ("netG_A", "netG_B", "netD_A", "netD_B")}
    paths = {net: saved(state, tmp_path / "in" / f"latest_{net.replace('net', 'net_')}.pth") for net, state in states.items()}
    found, told, lines = converted(tmp_path / "m", paths["netG_A"], paths["netG_B"], form="junyanz")  # they lie beside
    back = unet_weights.to_published(found, "patchgan")
    assert same(back["b"], states["netD_A"])  # judges what G_A makes of a
    assert same(back["a"], states["netD_B"])
    judge = told["discriminator"]
    assert (judge["name"], judge["plugin"], judge["conditional"]) == ("patchgan", "pix2pix", False)
    assert judge["options"]["width"] == case.options["ndf"]
    assert [file["name"] for file in told["converted"]["files"]] == [
        f"latest_net_{name}.pth" for name in ("G_A", "G_B", "D_A", "D_B")
    ]
    assert any(line.startswith("discriminator 'patchgan', for training: width") for line in lines)
    again, *_ = converted(tmp_path / "n", *reversed(paths.values()), form="junyanz")  # all are named
    assert same(again, found)
    load(tmp_path / "m", "cpu")  # who only translates needs to know nothing of it
    prepare(tmp_path / "m", "ann/x", tmp_path / "push", REGISTRY)
    assert same(load_file(tmp_path / "push" / DISCRIMINATOR), found)


def test_junyanz_pix2pix_is_conditional(tmp_path: Path) -> None:
    case = Case("pix2pix_step_unet128_vanilla.safetensors")
    paths = [saved(case.state(net), tmp_path / f"latest_net_{net[-1]}.pth") for net in ("netG", "netD")]
    found, told, _ = converted(tmp_path / "m", paths[0], form="junyanz")
    assert same(unet_weights.to_published(found, "patchgan")["b"], case.state("netD"))
    assert told["discriminator"]["conditional"]


def test_spade_and_unit(tmp_path: Path) -> None:
    case = Case("spade_step_novae.safetensors")
    for net in ("netG", "netD"):
        saved(case.state(net), tmp_path / "spade" / f"latest_net_{net[-1]}.pth")
    path = tmp_path / "spade" / "latest_net_G.pth"
    found, told, _ = converted(tmp_path / "s", path, form="spade", settings={"instances": True})
    assert same(spade_weights.to_published(found, "discriminator")["netD"], case.state("netD"))
    assert told["discriminator"]["conditional"]
    case = Case("unit_step.safetensors")
    for net in ("gen", "dis"):
        saved({key: case.state(f"{net}_{key}") for key in "ab"}, tmp_path / "unit" / f"{net}_00000001.pt")
    found, told, _ = converted(tmp_path / "u", tmp_path / "unit" / "gen_00000001.pt", form="unit")
    back = unit_weights.to_published(found, "discriminator")
    assert all(same(back[key], case.state(f"dis_{key}")) for key in "ab")
    assert not told["discriminator"]["conditional"]


def test_one_that_does_not_fit_is_left_where_it_only_lies_there(tmp_path: Path) -> None:
    state = Case("pix2pix_resnet9_instance.safetensors").state("netG")
    path = saved(state, tmp_path / "latest_net_G.pth")
    for wrong, reason in (
        ({"model.0.weight": torch.zeros(4, 5, 4, 4)}, "has 5 input channels; the generator's domains have 3 or together 6"),
        ({"other.weight": torch.zeros(4)}, "no discriminator in this form"),
        ({"model.0.weight": torch.zeros(4)}, "its tensors are not shaped like those of this form (IndexError: "),
        ("no state", "it holds no tensors"),
    ):
        judge = saved(wrong, tmp_path / "latest_net_D.pth")
        report = convert([path], "junyanz", tmp_path / "m", REGISTRY, overwrite=True)
        assert any(line.startswith(f"{judge}: not taken: ") and reason in line for line in report.lines), reason
        assert not (tmp_path / "m" / DISCRIMINATOR).exists()
        with pytest.raises(UserError, match=r"latest_net_D.pth: not taken.*Leave the file out"):
            convert([path, judge], "junyanz", tmp_path / "n", REGISTRY)
        assert not (tmp_path / "n").exists()


@pytest.mark.slow
def test_a_converted_checkpoint_of_full_size_is_trained_further(tmp_path: Path) -> None:
    """Ten steps change every published weight, and all names and shapes stay."""
    torch.manual_seed(0)
    o = {"netG": "resnet_9blocks", "netD": "n_layers", "n_layers_D": 1, "ngf": 64, "ndf": 64, "norm": "instance"}
    o |= {"use_dropout": False, "input_nc": 3, "output_nc": 3}
    G, D = junyanz.generator(o, ("ab", "ba")), junyanz.discriminator(o, {"a": 3, "b": 3}, {})
    before = {f"G_{'A' if key == 'a_b' else 'B'}": state for key, state in resnet_weights.to_published(G.state_dict()).items()}
    judges = unet_weights.to_published(D.state_dict(), "patchgan")
    for name, state in {**before, "D_A": judges["b"], "D_B": judges["a"]}.items():
        saved(state, tmp_path / "in" / f"latest_net_{name}.pth")
    paths = [tmp_path / "in" / f"latest_net_{name}.pth" for name in before]
    convert(paths, "junyanz", tmp_path / "model", REGISTRY, names=("horse", "zebra"))
    for side in ("horse", "zebra"):
        for i in range(2):
            write(tmp_path / side / f"{i}.png", noise(i, 16, 16))
    text = RECIPE.replace("DATA", str(tmp_path)).replace("MODEL", str(tmp_path / "model"))
    (tmp_path / "r.yaml").write_text(text)
    run = run_recipe(
        load_recipe(tmp_path / "r.yaml", [], REGISTRY), tmp_path / "out", REGISTRY, resume=False, console=Console(quiet=True)
    )
    assert sum(" of " in line and "tensors are taken" in line for line in run.began) == 2
    assert run.recipe.train.start.sha256["generator"] == sha256(tmp_path / "model" / WEIGHTS)
    model = load_model(tmp_path / "out" / "model")
    assert [domain.name for domain in model.domains.values()] == ["horse", "zebra"]
    after = resnet_weights.to_published(model.module.state_dict())
    for key, name in (("a_b", "G_A"), ("b_a", "G_B")):
        assert {n: x.shape for n, x in after[key].items()} == {n: x.shape for n, x in before[name].items()}
        changed = [n for n, x in after[key].items() if not torch.equal(x, before[name][n])]
        assert set(changed) >= {n for n in after[key] if n.endswith("weight")}
        assert all(float((after[key][n] - before[name][n]).abs().max()) < 0.01 for n in changed)  # from there, not from anew
