"""``train.start``: a run begins with the weights of another, or says in a sentence why it cannot."""

import io
import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

import i2i_convert
import i2i_cyclegan
import toy
from i2i.errors import UserError
from i2i.files import sha256
from i2i.protocols import Domain
from i2i.published.fitting import check_domains, fit, moved_channels
from i2i.recipe import load_recipe
from i2i.registry import hookimpl
from i2i.training.dry_run import dry_run
from i2i.training.starting import ready
from i2i.training.state import Run
from i2i.translation.checkpoints import checkpoint_at
from i2i.translation.loading import load
from i2i_convert import warm_start

REGISTRY = toy.registry(convert=i2i_convert, cyclegan=i2i_cyclegan)


def trained(folder: Path, *overrides: str, **options: Any) -> Run:
    return toy.trained(folder, *overrides, plugins=REGISTRY, **options)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps with an average; the loss owns a network."""
    folder = tmp_path_factory.mktemp("source")
    trained(folder, "train.steps=4", "train.seed=7")
    return folder / "out"


def begun(folder: Path, start: object, *overrides: str, out: str = "new") -> Run:
    """A run that could make its first step; nothing is written."""
    recipe = toy.recipe(folder, f"train.start={json.dumps(start)}", *overrides, plugins=REGISTRY)
    run, _, _ = ready(recipe, None, folder / out, REGISTRY, Console(quiet=True))
    assert not (folder / out).exists()
    return run


def refused(folder: Path, start: object, *overrides: str) -> str:
    with pytest.raises(UserError) as error:
        begun(folder, start, *overrides)
    assert str(error.value).startswith("train.start: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_begins_with_all_that_the_other_run_has(source: Path, tmp_path: Path) -> None:
    run, plain = begun(tmp_path, str(source)), begun(tmp_path, None)
    model = load(source, "cpu", registry=REGISTRY).module.state_dict()
    assert same(run.bare_generator.state_dict(), model)
    assert same(run.model.state_dict(), model)  # the average begins with it
    assert run.discriminator is not None
    saved = load_file(checkpoint_at(source, 4) / "discriminator.safetensors")
    assert same(run.discriminator.state_dict(), saved)
    loss = load_file(checkpoint_at(source, 4) / "process-0" / "loss.safetensors")
    assert torch.equal(run.loss.head.weight, loss["head.weight"])
    assert run.loss.memory == 0 != loss["memory"]  # its memory of that run is not taken
    assert run.began == [
        f"start: generator of {source}: 4 of 4 tensors are taken",
        f"start: networks of the loss of {source}: 2 of 2 tensors are taken",
        f"start: discriminator of {source}: 4 of 4 tensors are taken",
    ]
    assert run.step == 0
    assert torch.equal(run.own_state()["random"]["torch"], plain.own_state()["random"]["torch"])
    used = run.recipe.train.start
    assert used.generator == used.discriminator == str(source)
    assert used.sha256["generator"] == sha256(source / "model" / "model.safetensors")
    assert set(used.sha256) == {"generator", "loss", "discriminator"}


def test_a_run_notes_it_and_a_resume_does_not_do_it_again(source: Path, tmp_path: Path) -> None:
    """The source is gone by then, and the recipe still names it."""
    other = Path(shutil.copytree(source, tmp_path / "other"))
    first = trained(tmp_path, f"train.start={other}@2", "train.steps=2")
    log = (tmp_path / "out" / "log.txt").read_text()
    assert f"start: generator of {other}@2: 4 of 4 tensors are taken" in log
    again = load_recipe(tmp_path / "out" / "recipe.yaml", [], REGISTRY)
    assert again.train.start == first.recipe.train.start
    shutil.rmtree(other)
    whole = trained(tmp_path, f"train.start={other}@2", "train.steps=4", resume=True)
    assert whole.changed == ["train.steps: 2 → 4"]
    assert "start:" not in (tmp_path / "out" / "log.txt").read_text()[len(log) :]
    with pytest.raises(UserError, match=r"train.start: this run began with .*other@2, and a resume continues"):
        trained(tmp_path, "train.start=runs/third", resume=True)
    trained(tmp_path, resume=True)  # without it too
    assert load_recipe(tmp_path / "out" / "recipe.yaml", [], REGISTRY).train.start == first.recipe.train.start
    assert refused(tmp_path, str(other)).startswith(f"train.start: {other}: there is no such run folder")


def test_the_parts_can_be_named(source: Path, tmp_path: Path) -> None:
    plain, one = begun(tmp_path, None), begun(tmp_path, {"generator": f"{source}@2"})
    two = begun(tmp_path, {"discriminator": str(source)})
    assert plain.discriminator is not None
    assert one.discriminator is not None
    assert same(one.discriminator.state_dict(), plain.discriminator.state_dict())
    assert not same(one.bare_generator.state_dict(), plain.bare_generator.state_dict())
    assert same(two.bare_generator.state_dict(), plain.bare_generator.state_dict())
    assert two.recipe.train.start.generator is None
    model = begun(tmp_path, str(source / "model"))  # without its run: the generator alone
    assert [line for line in model.began if "random weights" in line] == [
        f"start: {source / 'model'} has no networks of the loss: random weights",
        f"start: {source / 'model'} has no discriminator: random weights",
    ]
    assert model.recipe.train.start.discriminator is None
    assert "has no discriminator" in refused(tmp_path, {"discriminator": str(source / "model")})
    assert "needs no discriminator" in refused(
        tmp_path, {"discriminator": str(source)}, "loss.adversarial=false", "loss.conditional=false", "discriminator=null"
    )
    assert "name a generator" in refused(tmp_path, {"missing": "allow"})


def test_another_architecture(source: Path, tmp_path: Path) -> None:
    said = refused(tmp_path, str(source), "generator.width=6")
    assert "layers.0.weight is 4 x 3 x 3 x 3 there and 6 x 3 x 3 x 3 here" in said
    assert "width: 4 → 6" in said
    assert "missing: allow" in said
    said = refused(tmp_path, {"discriminator": str(source)}, "discriminator.width=5")
    assert "not every weight of its discriminator fits the recipe's: networks.b.features.weight is" in said
    said = refused(tmp_path, {"generator": str(source), "missing": "allow"}, "generator.width=6")
    assert "not one layer of its generator fits" in said
    assert "missing" not in said.rpartition("Use the same")[2]


def test_what_fits_is_taken_where_the_rest_may_be_missing(tmp_path: Path) -> None:
    small = "generator={name: resnet, width: 4, blocks: 1}"
    trained(tmp_path, small, "train.steps=1")
    start = {"generator": str(tmp_path / "out"), "missing": "allow"}
    large = small.replace("blocks: 1", "blocks: 2")
    run, fresh = begun(tmp_path, start, large), begun(tmp_path, None, large)
    theirs = load(tmp_path / "out@last", "cpu", registry=REGISTRY).module.state_dict()
    for name, tensor in run.bare_generator.state_dict().items():
        expected = fresh.bare_generator.state_dict() if "blocks.1" in name else theirs
        assert torch.equal(tensor, expected[name]), name
    assert run.began[1:3] == [
        f"start: generator of {tmp_path / 'out'}: networks.a_b.blocks.1.first.conv begins anew: it is missing there",
        f"start: generator of {tmp_path / 'out'}: networks.a_b.blocks.1.second.conv begins anew: it is missing there",
    ]
    assert "networks.a_b.blocks.1.first.conv.weight is missing there" in refused(tmp_path, str(tmp_path / "out"), large)
    trained(tmp_path, large, "train.steps=1", out="large")
    start["generator"] = str(tmp_path / "large")
    assert "networks.a_b.blocks.1.first.conv has no place here" in begun(tmp_path, start, small).began[1]


def labels(*classes: str, instances: bool = False) -> Domain:
    return Domain("map", "labels", len(classes) + instances, classes, instances=instances)


PHOTO = Domain("photo", "image", 3)


def test_classes_that_both_have_are_copied() -> None:
    there, here = {"a": labels("sky", "sea", "land"), "b": PHOTO}, {"a": labels("land", "city", "sky", "ice"), "b": PHOTO}
    with pytest.raises(UserError, match=r"'map' \(labels of 3 channels\) there and 'map' \(labels of 4 channels\) here.*allow"):
        check_domains(there, here, "x", False)
    theirs = {"first.weight": torch.randn(2, 3, 1, 1), "first.bias": torch.randn(2), "judge.weight": torch.randn(2, 6, 1, 1)}
    own = {"first.weight": torch.randn(2, 4, 1, 1), "first.bias": torch.randn(2), "judge.weight": torch.randn(2, 7, 1, 1)}
    made = fit(theirs, own, moved_channels(there, here), {3})
    first, judge = made.state["first.weight"], made.state["judge.weight"]
    assert torch.equal(first[:, [0, 2]], theirs["first.weight"][:, [2, 0]])
    assert torch.equal(first[:, [1, 3]], own["first.weight"][:, [1, 3]])
    assert torch.equal(judge[:, [0, 2, 4, 5, 6]], theirs["judge.weight"][:, [2, 0, 3, 4, 5]])  # labels, then the picture
    assert torch.equal(made.state["first.bias"], theirs["first.bias"])
    assert "the channels of 2 classes of 'map' that both have are copied" in made.lines()[1]
    assert made.problems


def test_without_names_of_classes_the_layer_begins_anew() -> None:
    there, here = {"a": Domain("map", "labels", 3)}, {"a": Domain("map", "labels", 4)}
    theirs = {"first.weight": torch.ones(2, 3, 1, 1), "first.bias": torch.ones(2), "next.bias": torch.ones(2)}
    own = {"first.weight": torch.zeros(2, 4, 1, 1), "first.bias": torch.zeros(2), "next.bias": torch.zeros(2)}
    made = fit(theirs, own, moved_channels(there, here))
    assert made.taken == ("next.bias",)
    assert made.state["first.bias"].sum() == 0
    assert made.lines()[1] == "first begins anew: weight is 2 x 3 x 1 x 1 there and 2 x 4 x 1 x 1 here"
    assert torch.equal(made.state["next.bias"], theirs["next.bias"])


def test_other_domains() -> None:
    horse, zebra = (Domain(name, "image", 3) for name in ("horse", "zebra"))
    for there, here, message in (
        ({"a": horse, "b": zebra}, {"a": zebra, "b": horse}, "the other way round: the domain 'a' is 'horse' there"),
        ({"a": horse}, {"a": Domain("horse", "image", 1)}, "image of 3 channels. there and 'horse' .image of 1 channels"),
        ({"a": horse}, {"a": horse, "c": zebra}, "there is no domain 'c' like 'zebra'"),
        ({"a": labels("sky", "sea")}, {"a": labels("sky", "city")}, "class 1 of 'map' is 'sea' there and 'city' here"),
        ({"a": labels("sky", "sea")}, {"a": labels("sky", instances=True)}, "labels of 2 channels"),
    ):
        with pytest.raises(UserError, match=message):
            check_domains(there, here, "runs/x", False)
    assert check_domains({"a": horse}, {"a": zebra}, "x", False) == ["the domain 'a' was 'horse' there and is 'zebra' here"]
    assert "class 1 of 'map'" in check_domains({"a": labels("sky", "sea")}, {"a": labels("sky", "city")}, "x", True)[0]


def test_damage_and_foreign_files(source: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(source, tmp_path / "out"))
    for place in (out / "model" / "model.safetensors", checkpoint_at(out, 4) / "discriminator.safetensors"):
        content = place.read_bytes()
        place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert f"{place}: the file is damaged or was changed" in refused(tmp_path, str(out))
        place.write_bytes(content)
    torch.save({"w": torch.zeros(1)}, tmp_path / "x.pth")
    assert "this is a file. Make a model of it with i2i convert" in refused(tmp_path, str(tmp_path / "x.pth"))
    (tmp_path / "empty").mkdir()
    assert "there is no model here" in refused(tmp_path, str(tmp_path / "empty"))
    assert "The nearest that are kept" in refused(tmp_path, f"{source}@3")
    recorded = {"generator": str(source), "sha256": {"generator": "0" * 64}}
    assert "not the one that train.start.sha256 names" in refused(tmp_path, recorded)


def test_what_a_stranger_says_of_his_files(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(shutil.copytree(source, tmp_path / "out"))
    manifest = checkpoint_at(out, 4) / "manifest.json"
    for content in ('{"files": ["discriminator.safetensors"]}', "[" * 100_000, "1"):
        manifest.write_text(content)
        assert begun(tmp_path, str(out)).began
        assert "cannot be read (ValueError: state.json is not what" in refused(tmp_path, f"{out}@4")
    deep = manifest.with_name("state.json")
    deep.write_text("[" * 100_000)
    told = json.dumps({"files": {"state.json": sha256(deep), "ema.safetensors": sha256(deep.parent / "ema.safetensors")}})
    manifest.write_text(told)
    assert "cannot be read (ValueError: it is nested too deeply)" in refused(tmp_path, f"{out}@4")
    monkeypatch.setattr(warm_start, "MAX_PARAMETERS", 5)
    assert re.search(r"model\.safetensors: it holds \d+ numbers; no more than 5 are taken", refused(tmp_path, str(source)))


def test_without_the_plugin_it_is_refused(source: Path, tmp_path: Path) -> None:
    bare = toy.registry()
    with pytest.raises(UserError, match=r"train\.start: no loaded plugin reads the weights of a start"):
        ready(toy.recipe(tmp_path, f"train.start={source}"), None, tmp_path / "new", bare, Console(quiet=True))


def test_a_dry_run_tells_what_would_be_taken(source: Path, tmp_path: Path) -> None:
    said = Console(record=True, quiet=False, width=200, file=io.StringIO())
    for start, message in ((source, ""), (tmp_path, "there is no model here")):
        recipe = toy.recipe(tmp_path, f"train.start={start}", plugins=REGISTRY)
        with pytest.raises(UserError, match=message) if message else nullcontext():
            dry_run(recipe, tmp_path / "new", REGISTRY, False, said)
    assert f"start: generator of {source}: 4 of 4 tensors are taken" in said.export_text()
    assert not (tmp_path / "new").exists()


class Zeros:
    """A plugin with a source of its own."""

    @hookimpl
    def load_start(self, run: Run) -> list[str] | None:
        if run.recipe.train.start != "zeros":
            return None
        torch.rand(5)
        for parameter in run.bare_generator.parameters():
            parameter.data.zero_()
        return ["start: zeros"]


def test_a_plugin_has_other_sources(source: Path, tmp_path: Path) -> None:
    plugins, plain = toy.registry(convert=i2i_convert, zeros=Zeros()), begun(tmp_path, None)

    def new(start: str) -> Run:
        return ready(toy.recipe(tmp_path, f"train.start={start}"), None, tmp_path / "new", plugins, Console(quiet=True))[0]

    run = new("zeros")
    assert all(not parameter.any() for parameter in run.model.parameters())
    assert run.began == ["start: zeros"]
    assert torch.equal(run.own_state()["random"]["torch"], plain.own_state()["random"]["torch"])
    assert new(str(source)).began[0].startswith("start: generator of")
