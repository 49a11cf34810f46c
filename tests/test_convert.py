"""Published checkpoints: converted, loaded, equal to what was recorded, and back under their published names."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import terminal
from i2i.errors import UserError
from i2i.labels import to_network
from i2i.pictures.labels import ids_of_numbers
from i2i.protocols import Domain
from i2i.registry import Registry, default_registry, hookimpl
from i2i.translation.loading import load
from i2i.translation.model_folder import load_model
from i2i.translation.translator import Translator
from i2i_convert.checkpoints import read_checkpoint
from i2i_convert.convert import convert
from i2i_cyclegan import weights as resnet_weights
from i2i_pix2pix import weights as unet_weights
from i2i_spade import weights as spade_weights
from i2i_spade.generator import SpadeGenerator
from i2i_unit import weights as unit_weights
from parity_cases import Case, files

State = dict[str, Tensor]
JUNYANZ = [name for name in files("generator") if "eval" in Case(name).options["modes"] or "resnet9" in name]


def saved(state: Any, path: Path) -> Path:
    torch.save(state, path)
    return path


def same(one: State, other: State) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def made(folder: Path, *checkpoints: Path, form: str, **options: Any) -> Translator:
    convert(checkpoints, form, folder, default_registry(), **options)
    return load(folder, "cpu")


def options_of(model: Translator) -> dict[str, Any]:
    return dict(model.config["generator"]["options"])


@pytest.mark.parametrize("file", JUNYANZ)
def test_junyanz(file: str, tmp_path: Path) -> None:
    case = Case(file)
    o, state = case.options, case.state("netG")
    unet = o["netG"].startswith("unet")
    wrapped = {"state_dict": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}, "epoch": 3}
    settings = {"inference": "eval"} if unet else {}
    model = made(tmp_path / "m", saved(wrapped, tmp_path / "latest_net_G.pth"), form="junyanz", settings=settings)
    found = options_of(model)
    depth = {"downs": {"unet_128": 7, "unet_256": 8}[o["netG"]]} if unet else {"blocks": int(o["netG"][7:8]), "downs": 2}
    expected = {"width": o["ngf"], "norm": o["norm"], "dropout": o["use_dropout"], **depth}
    assert {name: found[name] for name in expected} == expected
    mode = "eval" if "eval" in o["modes"] else "train"  # instance norm is the same in both
    with torch.no_grad():
        case.check(f"out.{mode}.y", model.module(case["in.x"], "a", "b").image)
    mine = load_model(tmp_path / "m").module.state_dict()
    if unet:
        assert same(unet_weights.to_published(mine, "unet")["a_b"], state)
    else:
        assert same(resnet_weights.to_published(mine, dropout=o["use_dropout"])["a_b"], state)


def test_both_directions_from_two_files(tmp_path: Path) -> None:
    state = Case("pix2pix_resnet9_instance.safetensors").state("netG")
    stale = {**state, "model.2.running_mean": torch.zeros(4), "model.2.num_batches_tracked": torch.tensor(1)}
    other = {name: tensor * 2 for name, tensor in state.items()}
    second = saved(other, tmp_path / "latest_net_G_B.pth")
    first = saved(stale, tmp_path / "latest_net_G_A.pth")
    model = made(tmp_path / "m", second, first, form="junyanz", names=("horse", "zebra"))
    assert model.targets == ["zebra", "horse"]
    back = resnet_weights.to_published(model.module.state_dict())
    assert same(back["a_b"], state)
    assert same(back["b_a"], other)
    only = made(tmp_path / "n", second, form="junyanz")
    assert only.directions == (("b", "a"),)


@pytest.mark.parametrize("file", files("unit_forward"))
def test_unit(file: str, tmp_path: Path) -> None:
    case = Case(file)
    states = {key: case.state(f"gen_{key}") for key in "ab"}
    report = convert(
        [saved(states, tmp_path / "gen_00500000.pt")], "unit", tmp_path / "m", default_registry(), names=("day", "night")
    )
    assert any("non-commercial" in line for line in report.lines)
    model = load(tmp_path / "m", "cpu")
    assert "non-commercial" in model.config["extra"]["converted"]["licence"]
    expected = {"width": 4, "downs": 2, "blocks": 4, "norm": "instance"}
    assert {name: options_of(model)[name] for name in expected} == expected
    with torch.no_grad():
        case.check("out.x_ab", model.module(case["in.x_a"], "a", "b").image)
        case.check("out.x_ba", model.module(case["in.x_b"], "b", "a").image)
    back = unit_weights.to_published(model.module.state_dict(), "generator")
    assert all(same(back[key], states[key]) for key in "ab")


def test_spade(tmp_path: Path) -> None:
    case = Case("spade_generator_normal_instance.safetensors")
    state = case.state("netG")
    settings = {"instances": True}  # five channels tell nobody whether the last is a border
    model = made(tmp_path / "m", saved(state, tmp_path / "latest_net_G.pth"), form="spade", settings=settings)
    expected = {"width": 2, "hidden": 128, "kernel": 3, "norm": "instance", "upsampling": "normal", "spectral": True}
    assert {name: options_of(model)[name] for name in expected} == expected
    x = torch.cat([case["in.label"].long(), case["in.instance"].long()], 1)
    x = to_network(x, model.domains["a"])
    with torch.no_grad():
        case.check("loss.eval.probe", model.module(x, "a", "b").image.square().mean())
    assert same(spade_weights.to_published(model.module.state_dict(), "generator")["netG"], state)
    with torch.no_grad():
        case.check("loss.train.probe", model.module.train()(x, "a", "b").image.square().mean())


def test_spade_of_ade20k_takes_its_files(tmp_path: Path) -> None:
    domains = {"a": Domain("labels", "labels", 151), "b": Domain("photo", "image", 3)}
    module = SpadeGenerator(domains=domains, directions=(("a", "b"),), width=2)
    state = spade_weights.to_published(module.state_dict(), "generator")["netG"]
    model = made(tmp_path / "m", saved(state, tmp_path / "latest_net_G.pth"), form="spade")
    numbers = torch.tensor([[0, 1, 150, 255]]).numpy()
    assert ids_of_numbers(numbers, model.domains["a"], "x").tolist() == [[150, 0, 149, 150]]


def test_spade_with_its_style_encoder(tmp_path: Path) -> None:
    case = Case("spade_step_vae.safetensors")
    states = {net: case.state(net) for net in ("netG", "netE")}
    paths = [saved(state, tmp_path / f"latest_net_{net[-1]}.pth") for net, state in states.items()]
    o = case.options
    side = [round(o["crop_size"] / o["aspect_ratio"]), o["crop_size"]]
    model = made(tmp_path / "m", *paths, form="spade", settings={"size": side, "upsampling": "more"})
    back = spade_weights.to_published(model.module.state_dict(), "generator")
    assert all(same(back[net], states[net]) for net in states)
    assert "style" in model.module.accepts
    with pytest.raises(UserError, match="give its encoder's file too"):
        made(tmp_path / "n", paths[0], form="spade")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    good = saved({"w": torch.zeros(3, 3)}, tmp_path / "good.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").touch()
    for name in ("cut", "text", "empty"):
        with pytest.raises(UserError, match="not a checkpoint"):
            read_checkpoint(tmp_path / f"{name}.pth")
    for path, message in ((tmp_path, "folder"), (tmp_path / "gone.pth", "no such file")):
        with pytest.raises(UserError, match=message):
            read_checkpoint(path)
    with pytest.raises(UserError, match="no tensors"):
        read_checkpoint(saved({"epoch": 3}, tmp_path / "none.pth"))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_never_runs(zipped: bool, tmp_path: Path) -> None:
    path, mark = tmp_path / "bomb.pth", tmp_path / "mark"
    if zipped:
        saved({"w": Bomb(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"w": Bomb(mark)}, protocol=2))
    with pytest.raises(UserError, match=r"not executed|nothing in it was executed"):
        read_checkpoint(path)
    assert not mark.exists()


def test_foreign_and_incomplete_weights_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    state = Case("pix2pix_resnet9_instance.safetensors").state("netG")
    unet = saved(Case("pix2pix_unet128_batch.safetensors").state("netG"), tmp_path / "u.pth")
    resnet = saved(state, tmp_path / "r.pth")
    cut = saved({k: v for k, v in state.items() if "12" not in k}, tmp_path / "cut.pth")
    blurred = saved({**state, "model.7.filt": torch.zeros(1)}, tmp_path / "cut_G.pth")
    judge = saved({"model.0.weight": torch.zeros(4, 3, 4, 4)}, tmp_path / "latest_net_D.pth")
    style = saved({k: {"enc_content.x": torch.zeros(1)} for k in "ab"}, tmp_path / "munit.pt")
    for paths, form, message in (
        ([resnet, unet], "junyanz", "but the other file is"),
        ([cut], "junyanz", "belong to another network|not make a whole"),
        ([blurred], "junyanz", "anti-aliasing"),
        ([judge], "junyanz", "not a generator in the form"),
        ([resnet], "unit", "not a generator in the form"),
        ([resnet], "spade", "not a generator in the form"),
        ([style], "unit", "another network"),
        ([resnet, resnet, resnet], "junyanz", "two at most"),
        ([resnet], "jun", "there is no published form 'jun'.*junyanz, spade, unit"),
        ([], "unit", "no checkpoint was given"),
    ):
        with pytest.raises(UserError, match=message):
            convert(paths, form, tmp_path / "m", default_registry())
    with pytest.raises(UserError, match="Did you mean 'dropout'"):
        convert([resnet], "junyanz", tmp_path / "m", default_registry(), settings={"dropuot": True})
    assert not (tmp_path / "m").exists()


def test_unknown_names_are_reported_and_left_out(tmp_path: Path) -> None:
    state = Case("pix2pix_resnet9_instance.safetensors").state("netG")
    path = saved({**state, "ema.decay": torch.zeros(())}, tmp_path / "r.pth")
    report = convert([path], "junyanz", tmp_path / "m", default_registry())
    assert "unknown names, left out: ema.decay" in report.lines
    assert load_model(tmp_path / "m").config["extra"]["converted"]["left_out"] == ["ema.decay"]


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(Case("pix2pix_unet128_batch.safetensors").state("netG"), tmp_path / "latest_net_G.pth")
    command = ["convert", str(path), "--from", "junyanz", "--out", str(tmp_path / "m"), "--domains", "map,photo"]

    def call(*more: str) -> int:
        return terminal.call(monkeypatch, *command, *more)

    assert call("--set", "dropout=false") == 0
    out = capsys.readouterr().out
    assert "generator 'unet'" in out
    assert "assumed: inference train_mode" in out
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["domains"]["b"]["name"] == "photo"
    assert config["generator"]["options"]["dropout"] is False
    assert call() == 2
    assert "it exists already" in capsys.readouterr().err
    assert call("--overwrite") == 0
    assert call("--domains", "one") == 2
    assert "two different names" in capsys.readouterr().err
    assert call("--overwrite", "--set", "dropout") == 2
    assert "OPTION=VALUE" in capsys.readouterr().err


def test_a_plugin_of_ones_own_and_a_broken_one() -> None:
    class Broken:
        @hookimpl
        def register_converters(self) -> dict[str, str]:
            return {"mine": "nowhere.at_all:convert"}

    with pytest.raises(UserError, match="converter 'mine' of the plugin 'broken' cannot be imported"):
        convert(["x"], "mine", "m", Registry({"broken": Broken()}))
    with pytest.raises(UserError, match="No plugin offers a converter"):
        convert(["x"], "mine", "m", Registry({}))
