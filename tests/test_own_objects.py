"""A user's own networks, losses and data in ``i2i.Experiment``: they train, resume exactly, or are refused."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import i2i
import toy
from i2i.data import read_sample
from i2i.errors import UserError
from i2i.experiment import Experiment
from i2i.experiment.own_data import OwnDataset, check_workers
from i2i.protocols import Domain
from i2i.registry import default_registry, hookimpl
from i2i.training.state import Run
from i2i_cyclegan import CycleGAN
from i2i_pix2pix import Pix2Pix
from i2i_spade import SPADE
from i2i_unit import UNIT
from pictures_on_disk import noise

SMALL: dict[str, Any] = {"log": {"every": 1, "trackers": []}, "samples": {"count": 1}, "threads": 1, "batch_size": 2}
DOMAINS = {"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}


class Net(nn.Module):
    """A network as people have it: an image in, an image out."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class Greys:
    """A data set of the contract that draws from NumPy and Python, as many do."""

    domains, paired = DOMAINS, True

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        drawn = np.random.uniform(-1, 1), random.uniform(-1, 1), float(torch.rand(()))
        a = torch.tensor(drawn).view(3, 1, 1).expand(3, 8, 8).clone()
        return {"a": a, "b": -a}


class Counting(toy.ToyLoss):
    """Changes an attribute that no state_dict holds; ``rate`` depends on the step alone."""

    def __init__(self, counts: bool) -> None:
        super().__init__(domains=DOMAINS)
        self.counts, self.seen, self.rate = counts, [0], 0.0

    def begin(self, step: int, steps: int) -> None:
        self.rate = step / 100

    def generator_terms(self, D: Any, batch: Any, images: Any) -> Any:
        if self.counts:
            self.seen.append(1)
        return super().generator_terms(D, batch, images)


def own(out: Path, seed: int = 0, loss: Any = None, **options: Any) -> Experiment:
    """Every part is an object, whose weights depend on *seed*."""
    torch.manual_seed(seed)
    loss = toy.ToyLoss(domains=DOMAINS) if loss is None else loss
    return Experiment(
        dataset=Greys(), generator=Net(seed), discriminator=toy.ToyJudge(6), loss=loss, out=out, **SMALL, **options
    )


def model_of(experiment: Experiment) -> bytes:
    assert experiment.out is not None
    return (experiment.out / "model" / "model.safetensors").read_bytes()


class At:
    """Does something at a step."""

    def __init__(self, step: int, act: Callable[[Run], None]) -> None:
        self.step, self.act = step, act

    @hookimpl
    def step_ended(self, run: Run) -> None:
        if run.step == self.step:
            self.act(run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Four steps without a break."""
    made = own(tmp_path_factory.mktemp("whole") / "run")
    made.train(steps=4)
    return made


def test_the_object_has_the_trained_weights(whole: Experiment) -> None:
    net = whole._own.parts[0].module.eval()
    image = torch.rand(3, 16, 16) * 2 - 1
    assert torch.allclose(net(image[None])[0], whole.translate(image), atol=1e-6)
    assert not torch.equal(net.state_dict()["layers.0.weight"], Net(0).state_dict()["layers.0.weight"])


def test_judges_in_a_list_may_be_objects(tmp_path: Path) -> None:
    """Each object has its own trained weights, also one that joined later."""
    torch.manual_seed(0)
    judges = [toy.ToyJudge(6), toy.ToyJudge(6, width=2)]
    before = [judge.logits.weight.clone() for judge in judges]
    listed = ["pixel", judges[0], {"name": judges[1], "weight": 0.5, "from": 1}]
    made = Pix2Pix(dataset=Greys(), generator=Net(), discriminator=listed, out=tmp_path / "run", **SMALL)
    made.train(steps=2)
    assert not any(torch.equal(judge.logits.weight, then) for judge, then in zip(judges, before, strict=True))
    assert [(one["weight"], one["from"]) for one in made.recipe.model_dump()["discriminator"]] == [(1, 0), (1, 0), (0.5, 1)]
    again = Pix2Pix.load(tmp_path / "run", dataset=Greys(), generator=Net(), discriminator=listed)
    again.train(steps=1)
    assert again.recipe.train.steps == 3


def test_interrupted_and_resumed_is_uninterrupted(
    whole: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By Ctrl-C after two steps; then with new objects of other weights, as another process would have them."""
    made = own(tmp_path / "run")
    with made.registry.subscribed(At(2, lambda run: os.kill(os.getpid(), signal.SIGINT))):
        made.train(steps=4)
    assert "stopped after step 2 of 4; .train() goes on" in capsys.readouterr().err
    assert made.step == 2
    torch.manual_seed(5)
    parts = {"dataset": Greys(), "generator": Net(5), "discriminator": toy.ToyJudge(6), "loss": toy.ToyLoss(domains=DOMAINS)}
    again = Experiment.load(tmp_path / "run", **parts)
    again.train()
    assert again.step == 4
    assert model_of(again) == model_of(whole)
    assert "not exact" not in capsys.readouterr().err


def test_train_again_with_the_same_objects(whole: Experiment, tmp_path: Path) -> None:
    made = own(tmp_path / "run", workers=1)
    made.train(steps=1)
    made.train(steps=3)
    assert model_of(made) == model_of(whole)


def test_averaged_weights_are_what_the_object_gets(tmp_path: Path) -> None:
    made = own(tmp_path / "run", ema=0.5)
    made.train(steps=1)
    weights = {name.rpartition("networks.a_b.")[2]: x for name, x in made.model.module.state_dict().items()}
    assert torch.equal(made._own.parts[0].module.state_dict()["layers.2.weight"], weights["layers.2.weight"])


@pytest.mark.parametrize("counts", [True, False])
def test_state_that_a_resume_would_lose_is_said(tmp_path: Path, counts: bool) -> None:
    made = own(tmp_path / "run", loss=Counting(counts))
    with made.registry.subscribed(At(1, Run.ask_to_stop)):
        made.train(steps=3)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert ("the loss Counting changes 'seen' while it trains, which is not in its state_dict" in log) == counts
    assert "'rate'" not in log


def test_every_sample_has_random_numbers_of_its_own() -> None:
    """Also those of NumPy and Python, whose state stays as it was."""
    data = OwnDataset(Greys())
    state = random.getstate()
    drawn = torch.stack([read_sample(data, 0, draw)["a"][:, 0, 0] for draw in ((0, 0), (0, 1), (1, 0), (0, 0))], dim=1)
    for library in drawn.tolist():
        assert len(set(library)) == 3
        assert library[0] == library[3]
    assert random.getstate() == state


def test_data_that_are_other_ones_when_read_again_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = np.random.default_rng()
    monkeypatch.setattr(np.random, "uniform", hidden.uniform)
    own(tmp_path / "run").train(steps=1)
    assert (
        "warning: sample 0 of the data set is another one ('a') when it is read again"
        in (tmp_path / "run" / "log.txt").read_text()
    )


def test_load_asks_for_what_the_recipe_cannot_name(whole: Experiment) -> None:
    parts = {"dataset": Greys(), "generator": Net(), "discriminator": toy.ToyJudge(6)}
    with pytest.raises(UserError, match=r"its loss was an object that was given in Python \(ToyLoss\).*load\('.*', loss=…\)"):
        Experiment.load(str(whole.out), **parts)
    with pytest.raises(UserError, match=r"the plugin 'own \(an object given in Python: i2i.Experiment.load\)'"):
        i2i.load(str(whole.out))
    with pytest.raises(UserError, match=r"the dataset is an object .* \(Greys\), and a recipe has only names"):
        whole.to_recipe()


def test_parts_can_be_mixed(tmp_path: Path) -> None:
    """A network for each direction, one of them by name, and two losses."""
    made = Experiment(
        pictures(3), pictures(3), generator={"ab": Net(), "ba": {"name": "resnet", "width": 2, "blocks": 1}},
        loss=[{"name": "cyclegan", "gan": 0}, toy.ToyLoss(domains=DOMAINS, adversarial=False, paired=False)],
        out=tmp_path / "run", crop=8, **SMALL,
    )  # fmt: skip
    made.train(steps=1)
    assert {"cycle_a", "l1"} <= set(made.history)
    assert sorted(name for name in dir(made) if name.startswith("translate_")) == ["translate_a_to_b", "translate_b_to_a"]
    with pytest.raises(UserError, match="its data were objects"):
        Experiment.load(made.out or "", dataset="earth", generator={"ab": Net()}, loss=[None, made._own.parts[1].module])
    with pytest.raises(UserError, match=r"it translates in one direction, and the loss needs 2.*'ab': …, 'ba': …"):
        Experiment(pictures(2), pictures(2), generator=Net(), loss={"name": "cyclegan", "gan": 0}, crop=8).train(steps=1)


def pictures(count: int, size: int = 10) -> list[Image.Image]:
    return [Image.fromarray(noise(i, size, size)) for i in range(count)]


class Rows:
    """A map-style data set of whatever it is given."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


ARRAYS = [np.array(picture) for picture in pictures(3)]
TENSORS = [torch.from_numpy(array).permute(2, 0, 1) for array in ARRAYS]


@pytest.mark.parametrize(
    "side",
    [
        pictures(3),
        ARRAYS,
        np.stack(ARRAYS),
        TENSORS,
        torch.stack(TENSORS),
        [tensor / 255 for tensor in TENSORS],
        [array / 255 for array in ARRAYS],
        Rows([(picture, 7) for picture in pictures(3)]),
        Rows([{"image": picture, "other": picture, "text": "no"} for picture in pictures(3)]),
        TensorDataset(torch.stack(TENSORS) / 255),
        datasets.Dataset.from_dict({"image": pictures(3)}, features=datasets.Features({"image": datasets.Image()})),
    ],
    ids=lambda side: type(side).__name__,
)
def test_every_form_of_pictures_is_the_same_sample(side: Any) -> None:
    made = CycleGAN(side, pictures(2), names=("x", "y"), transform={"flip": False, "crop": 8, "resize": 10})
    assert len(made._dataset) == 3
    expected = CycleGAN(pictures(3), pictures(2), transform={"flip": False, "crop": 8, "resize": 10})
    assert [domain.name for domain in made.domains.values()] == ["x", "y"]
    one, two = (read_sample(experiment._dataset, 0, (0, 1))["a"] for experiment in (made, expected))
    assert torch.allclose(one, two, atol=2e-7)
    assert one.dtype == torch.float32


@pytest.mark.parametrize("row", [lambda a, b: (a, b), lambda a, b: {"x": a, "y": b}])
def test_a_data_set_of_pairs(row: Any) -> None:
    """One crop and one flip for both sides; every pair is read once, as what is drawn in it belongs to both."""

    class Drawn(Rows):
        def __getitem__(self, index: int) -> Any:
            picture = self.items[index] // int(torch.randint(1, 9, ()))
            return row(picture, picture)

    rows = Drawn([noise(i, 10, 10) for i in range(3)])
    made = Pix2Pix(rows, transform={"resize": 10, "crop": 4}, downs=2)
    assert [domain.name for domain in made.domains.values()] == (["x", "y"] if isinstance(rows[0], dict) else ["a", "b"])
    sample = read_sample(made._dataset, 0, (3, 1))
    assert torch.equal(sample["a"], sample["b"])
    assert made._dataset.paired


def test_held_out_pictures_of_ones_own_are_measured(tmp_path: Path) -> None:
    rows = Rows([(picture, picture) for picture in pictures(20)])
    parts: dict[str, Any] = {"crop": 8, "holdout": 0.2, "width": 2, "layers": 1, "downs": 3, "out": tmp_path / "run", **SMALL}
    made = Pix2Pix(rows, **parts)
    made.train(steps=1)
    found = Experiment.load(tmp_path / "run", dataset=rows).evaluate(metrics=["psnr"])
    assert found.columns["figure"] == ["psnr"]
    assert found.figures[0].protocol["pictures"] == 20 - len(made._dataset) > 0
    assert repr(found).startswith("psnr  a → b: ")


def test_floats_of_another_range(tmp_path: Path) -> None:
    tensors = [tensor / 127.5 - 1 for tensor in TENSORS]
    made = CycleGAN(tensors, tensors, floats=(-1, 1), transform={"flip": False, "crop": 8, "resize": 10})
    plain = CycleGAN(pictures(3), pictures(3), transform={"flip": False, "crop": 8, "resize": 10})
    one, two = (read_sample(experiment._dataset, 0, (0, 1))["a"] for experiment in (made, plain))
    assert torch.allclose(one, two, atol=5e-7)


class Wrong(Greys):
    """A data set whose samples are not what its domains say."""

    def __init__(self, change: Callable[[Tensor], Any], first: int = 0) -> None:
        self.change, self.first = change, first

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = super().__getitem__(index)
        return {**sample, "b": self.change(sample["b"])} if index >= self.first else sample


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x.double(), r"'b' is a float64 tensor of \(3, 8, 8\); expected float32 \(3, height, width\) in \[-1, 1\]"),
        (lambda x: x[:1], r"'b' is a float32 tensor of \(1, 8, 8\); expected float32 \(3, height, width\)"),
        (lambda x: x + 2, r"expected values in \[-1, 1\], and they lie in"),
        (lambda x: x[0].numpy(), r"'b' is a float32 ndarray of \(8, 8\)"),
        (lambda x: x[..., :4], r"sample [345]: 'a' is 8 x 8 and 'b' is 4 x 8 \(width x height\)"),
    ],
)
def test_samples_that_are_not_what_the_data_set_said(tmp_path: Path, change: Any, told: str) -> None:
    """From the third sample on, so that it is found while training; the first ones are looked at before."""
    parts: dict[str, Any] = {"generator": Net(), "discriminator": toy.ToyJudge(6), "loss": toy.ToyLoss(domains=DOMAINS)}
    with pytest.raises(UserError, match=told):
        Experiment(dataset=Wrong(change, first=3), **parts, out=tmp_path / "run", **SMALL).train(steps=6)


LOSS = toy.ToyLoss(domains=DOMAINS)
HF = datasets.Dataset.from_dict({"image": pictures(3)}, features=datasets.Features({"image": datasets.Image()}))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"generator": Net}, r"generator: Net is a class. Give an object of it: generator=Net\(…\)"),
        ({"generator": 5}, r"generator: an object of type int is none. Give a name, a mapping"),
        ({"generator": LOSS}, r"generator: ToyLoss is a loss. Give it as loss="),
        ({"generator": "renset"}, r"there is no generator 'renset'.*Did you mean 'resnet'"),
        ({"generator": {"width": 3}}, r"generator: the mapping has no 'name'"),
        ({"generator": None}, r"give generator=…: a name \(.*resnet"),
        ({"loss": nn.L1Loss()}, r"loss: L1Loss has no 'needs'. A loss of your own has all that i2i.protocols.Loss"),
        ({"loss": torch.nn.functional.l1_loss}, r"loss: an object of type function is none"),
        ({"dataset": 5}, r"the data: an object of type int is not data"),
        ({"dataset": pictures(3)}, r"its items hold one picture: item 0 is an object of type Image. Give two data sets"),
        ({"dataset": DataLoader(Rows(pictures(2)))}, r"the data: this is a DataLoader. Give its data set"),
        ({"dataset": Rows([])}, r"the data: it is empty"),
        (
            {"dataset": (Rows([3]), pictures(2))},
            r"the pictures of 'a': its item 0 holds no picture: it is an object of type int",
        ),
        ({"dataset": ("here", pictures(2))}, r"'here' is a place, and the others are pictures"),
        ({"dataset": (pictures(2), [])}, r"the pictures of 'b': it is empty"),
        (
            {"dataset": datasets.DatasetDict({"train": HF, "test": HF})},
            r"several data sets .* \(train, test\).*data\['train'\]",
        ),
        ({"dataset": (pictures(2), pictures(2)), "names": "xy"}, r"names: 'xy' is text. Give a name for each domain"),
        ({"dataset": "erth"}, r"there is no dataset 'erth'.*Did you mean 'earth'"),
        (
            {"dataset": (pictures(2), [torch.ones(3, 9, 9) * 3])},
            r"picture 0 of 'b': its values lie in \[3, 3\].*floats=\(black",
        ),
        ({"dataset": (pictures(2), [torch.ones(5, 9, 9)])}, r"picture 0 of 'b': its shape is \(9, 9, 5\)"),
        (
            {"dataset": (pictures(2), [torch.ones(9, 9, 3)])},
            r"picture 0 of 'b': the tensor has the shape \(9, 9, 3\); expected \(C, H, W\)",
        ),
        ({"dataset": (pictures(2), Rows([(np.ones((9, 9), np.int16),)]))}, r"picture 0 of 'b': the array is int16"),
        ({"samples": {"everyy": 3}}, r"the recipe: samples.everyy: unknown key. Did you mean 'every'"),
    ],
)
def test_what_cannot_be_a_part_is_refused(parts: dict[str, Any], told: str) -> None:
    given = {"dataset": Greys(), "generator": Net(), "discriminator": toy.ToyJudge(6), "loss": LOSS, **parts}
    with pytest.raises(UserError, match=told):
        read_sample(Experiment(**given, threads=1)._dataset, 0, (0, 0))


def test_an_object_that_cannot_be_copied(tmp_path: Path) -> None:
    net = Net()
    net.file = (tmp_path / "x").open("w")  # type: ignore[assignment]
    with net.file, pytest.raises(UserError, match=r"generator 'own:Net': it cannot be copied \(TypeError: cannot pickle"):  # type: ignore[attr-defined]
        Experiment(dataset=Greys(), generator=net, discriminator=toy.ToyJudge(6), loss=LOSS, out=tmp_path / "run").train(
            steps=1
        )
    assert not (tmp_path / "run").exists()


def test_a_data_set_that_cannot_be_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_start_method", lambda: "spawn")
    data = Wrong(lambda x: x)
    parts: dict[str, Any] = {"generator": Net(), "discriminator": toy.ToyJudge(6), "loss": LOSS, "out": tmp_path / "run"}
    with pytest.raises(UserError, match=r"the data set cannot be sent to the loader processes of train.workers .* workers=0"):
        Experiment(dataset=data, **parts, workers=1).train(steps=1)
    check_workers(Greys(), "it")
    monkeypatch.undo()
    check_workers(data, "it")  # forked processes have it already


def test_the_other_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They train on pairs, and on label maps with their pictures."""
    monkeypatch.chdir(tmp_path)
    for place, mode in (("maps", "L"), ("photos", "RGB")):
        Path("data", place).mkdir(parents=True)
        for i in range(2):
            made = Image.fromarray(noise(i, 64, 64, 1 if mode == "L" else 3) // (64 if mode == "L" else 1))
            made.save(f"data/{place}/{i}.png")
    pix2pix = Pix2Pix("data/photos", "data/maps", width=2, downs=3, crop=16, layers=1, **SMALL)
    pix2pix.train(steps=1)
    assert pix2pix.out == Path("runs/pix2pix_photo2map")
    assert pix2pix.translate_photo_to_map("data/photos/0.png").size == (16, 16)
    spade = SPADE("data/maps", "data/photos", classes=4, width=2, hidden=2, layers=1, scales=1, **SMALL)
    assert spade.domains["a"].kind == "labels"
    assert spade.recipe.train.discriminator.lr == 4e-4
    spade.train(steps=1)
    assert spade.translate_map_to_photo("data/maps/0.png").mode == "RGB"
    given = SPADE([noise(i, 8, 8, 1) // 64 for i in range(2)], pictures(2, 8), classes=4)
    assert [domain.name for domain in given.domains.values()] == ["labels", "photo"]
    assert read_sample(given._dataset, 0, (0, 0))["a"].dtype == torch.int64
    unit = UNIT("data/photos", "data/maps", lr=3e-4, train={"discriminator": {"lr": 5e-4}}, generator={"width": 8})
    player = unit.recipe.train.generator
    assert (player.lr, player.weight_decay, unit.recipe.train.discriminator.lr) == (3e-4, 1e-4, 5e-4)
    assert unit.recipe.generator.options["width"] == 8
    Path("data/pairs").mkdir()
    Image.fromarray(noise(0, 16, 32)).save("data/pairs/0.png")
    pairs = Pix2Pix("data/pairs").recipe
    assert (pairs.dataset.name, pairs.generator.options["downs"]) == ("side_by_side", 4)  # as often as 16 px can be halved
    assert Pix2Pix("data/pairs", downs=2, crop=8).recipe.generator.options["downs"] == 2
    with pytest.raises(UserError, match=r"data/photos: .\.png is 64 x 64, so it is no pair side by side. Give the folders of"):
        Pix2Pix("data/photos")


def test_a_registered_plugin_needs_no_torch() -> None:
    code = "import sys, i2i_cyclegan, i2i_pix2pix, i2i_spade, i2i_unit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_plugin_of_data(tmp_path: Path) -> None:
    plugins = dict(default_registry()._manager.list_name_plugin())
    plugins.pop("data")
    with pytest.raises(UserError, match="no loaded plugin makes data sets of pictures that are given in Python"):
        CycleGAN(pictures(2), pictures(2), registry=i2i.registry.Registry(plugins))


def test_several_processes_need_one_folder_and_train_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = CycleGAN(pictures(2), pictures(2), crop=8)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="several processes train in one folder: give it to all"):
        made.train(steps=1)
    made._own.check(made.recipe, made.registry)
    with pytest.raises(UserError, match="with several processes a program trains once"):
        made._own.check(made.recipe, made.registry)
