"""Recipes and calls with one mistake each: a dry run finds what the run would, and neither writes or trains anything.

Every mistake starts from the same recipe, which is right, and folders of tiny pictures.
"""

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import i2i_data
import i2i_evaluate
import i2i_metrics
import toy
from i2i.layers import with_condition
from i2i.protocols import Batch, Domain, Translation
from i2i.registry import hookimpl
from i2i.training import running
from pictures_on_disk import noise, write
from terminal import call, install

DATA = "dataset: {name: folders, root: data, paired: true, transform: {flip: false}}"
RECIPE = f"""\
{DATA}
generator: {{name: toy}}
discriminator: {{name: judge}}
loss: {{name: toy}}
train: {{steps: 2, batch_size: 2, threads: 1}}
samples: {{count: 2, dataset: {{split: val}}}}
evaluate: {{metrics: [psnr, l1], keep_best: psnr}}
log: {{trackers: []}}
"""

Do = Callable[[Path, pytest.MonkeyPatch], None]


@dataclass
class Mistake:
    """What is wrong: a replacement in the recipe, arguments of the call, or something done in the folder before it.

    ``message`` is a regular expression.
    """

    message: str
    replaced: tuple[str, str] = ("", "")
    arguments: list[str] = field(default_factory=list)
    before: Do = lambda *_: None


class Odd(nn.Module):
    """A generator with a flaw, else the identity times a weight."""

    exposes = frozenset({"mask"})

    def __init__(self, *, domains: Any, directions: Any, flaw: str = "", divisor: int = 1) -> None:
        super().__init__()
        self.weight, self.flaw, self.divisor = nn.Parameter(torch.ones(())), flaw, divisor
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        if self.flaw == "squeezes":
            x = x[..., :1, :1].contiguous().expand_as(x) + self.norm(x.mean((1, 2, 3))[:, None]).mean()
        if self.flaw == "in place":
            y = (x * self.weight).sigmoid()
            return Translation(dict.fromkeys(targets, y.add_(y)))
        if self.flaw == "in use" and not self.training:
            raise RuntimeError("no such buffer")
        return Translation(dict.fromkeys(targets, x * self.weight), {"mask": x})


class OddLoss(toy.ToyLoss):
    """The toy's loss with a flaw in its first step."""

    def __init__(self, *, domains: dict[str, Domain], flaw: str) -> None:
        super().__init__(domains=domains, fresh_fakes=flaw == "fakes")
        self.flaw = flaw

    def translate(self, G: Any, batch: Batch) -> Any:
        if self.flaw == "direction":
            G(batch["b"], "b", "a")
        given = {"mask": batch["a"]} if self.flaw == "keyword" else {}
        made = G(batch["a"], "a", "b", **given)
        return {"fake": made.image, "depth": made.extras["depth"] if self.flaw == "extra" else made.image}

    def fakes(self, G: Any, batch: Batch, images: Any) -> Any:
        raise NotImplementedError("fakes")

    def generator_terms(self, D: Any, batch: Batch, images: Any) -> Any:
        if self.flaw == "no graph":
            return {"l1": batch["b"].mean()}
        terms = super().generator_terms(D, batch, images)
        if self.flaw == "vector":
            terms["l1"] = terms["l1"].expand(2)
        if self.flaw == "key":
            terms["cycle"] = images["cycle"].mean()
        return terms

    def discriminator_terms(self, D: Any, batch: Batch, images: Any) -> Any:
        terms = super().discriminator_terms(D, batch, images)
        if self.flaw == "penalty":
            terms["penalty"] = torch.autograd.grad(terms["real"], batch["b"])[0].norm()
        return terms


class OddJudge(nn.Module):
    exposes: frozenset[str] = frozenset()

    def __init__(self, *, domains: Any, conditions: Any, flaw: str) -> None:
        super().__init__()
        self.layer, self.flaw = nn.Conv2d(6, 1, 32 if flaw == "size" else 3), flaw

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Any:
        logits = self.layer(with_condition(image, condition))
        return logits if self.flaw == "verdict" else [[logits]]


class Failing(toy.Stripes):
    """A data set of somebody else, with a sample that cannot be read in the split val."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if self.split == "val" and index == 3:
            raise OSError("the disk is gone")
        return super().__getitem__(index)


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"odd": Odd}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"odd": OddLoss}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"odd": OddJudge}

    @hookimpl
    def register_datasets(self) -> dict[str, Any]:
        return {"failing": Failing}


def _truncated(name: str) -> Do:
    def do(folder: Path, _: pytest.MonkeyPatch) -> None:
        path = folder / "data" / name
        path.write_bytes(path.read_bytes()[:-700])

    return do


def _picture(name: str, h: int = 16, w: int = 16) -> Do:
    return lambda folder, _: (write(folder / "data" / name, noise(9, h, w)), None)[1]


def _sized(split: str, *sizes: int) -> Do:
    """The pairs of a split with these sizes."""

    def do(folder: Path, _: pytest.MonkeyPatch) -> None:
        for side in "AB":
            for i, size in enumerate(sizes):
                write(folder / f"data/{split}{side}/{i}.png", noise(i, size, size))

    return do


def _labels(train: int = 0, val: int = 0) -> Do:
    """Label maps of two classes in place of the side A, and pixels of another class in the second one of a split."""

    def do(folder: Path, _: pytest.MonkeyPatch) -> None:
        for split, odd in (("train", train), ("val", val)):
            for i in range(3):
                ids = np.full((16, 16), odd if i == 1 else 0, dtype=np.uint8)
                write(folder / f"data/{split}A/{i}.png", ids)

    return do


def _ran(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "run", "recipe.yaml", "--out", "out") == 0


def _then(*steps: Do) -> Do:
    def do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for step in steps:
            step(folder, monkeypatch)

    return do


def _damaged_checkpoints(folder: Path, _: pytest.MonkeyPatch) -> None:
    for path in (folder / "out" / "checkpoints").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-3])


def _without(package: str) -> Do:
    return lambda _, monkeypatch: monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]


def _full(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))(2**30, 2**30, 2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)


LABELS = "dataset: {name: labels, maps: 'data/{split}A', images: 'data/{split}B', classes: 2, transform: {flip: false}}"
UNPAIRED = (DATA, DATA.replace("paired: true", "paired: false"))
LOSS, GENERATOR = "loss: {name: toy}", "generator: {name: toy}"


def _several(*replaced: tuple[str, str]) -> tuple[str, str]:
    """Several replacements as one."""
    text = RECIPE
    for before, after in replaced:
        assert before in text
        text = text.replace(before, after)
    return RECIPE, text


def _odd_loss(flaw: str) -> tuple[str, str]:
    return _several((LOSS, f"loss: {{name: odd, flaw: {flaw}}}"), (GENERATOR, "generator: {name: odd}"))


MISTAKES: dict[str, Mistake] = {
    # the call and the folder
    "no recipe": Mistake(r"there is no|No such", arguments=["nothing.yaml"]),
    "the folder is a file": Mistake("recipe.yaml is a file", arguments=["recipe.yaml", "--out", "recipe.yaml"]),
    "the folder is below a file": Mistake(
        r"recipe.yaml.x cannot be written", arguments=["recipe.yaml", "--out", "recipe.yaml/x"]
    ),
    "the folder holds a run": Mistake("out already holds a run", before=_ran),
    "the folder holds other files": Mistake("data holds other files", arguments=["recipe.yaml", "--out", "data"]),
    "the disk is full": Mistake("only 1 MiB are free", before=_full),
    "nothing to resume": Mistake("out holds no run to resume", arguments=["recipe.yaml", "--out", "out", "--resume"]),
    "resumed with another generator": Mistake(
        "another 'generator'",
        arguments=["recipe.yaml", "--out", "out", "--resume", "--set", "generator.width=8"],
        before=_ran,
    ),
    "no checkpoint is whole": Mistake(
        r"checkpoint", arguments=["recipe.yaml", "--out", "out", "--resume"], before=_then(_ran, _damaged_checkpoints)
    ),
    # the recipe
    "no YAML": Mistake(r"recipe.yaml:2:1: this is not YAML", ("dataset: {name", "dataset: {{name")),
    "a misspelt key": Mistake(r"train.stepz: unknown key. Did you mean 'steps'", ("steps: 2", "stepz: 2")),
    "a word for a number": Mistake(r"recipe.yaml:5:\d+: train.steps", ("steps: 2", "steps: many")),
    "a number out of bounds": Mistake(r"train.clip", ("threads: 1", "clip: 0")),
    "an option out of bounds": Mistake(r"generator.width", ("{name: toy}", "{name: toy, width: 0}")),
    "an unknown component": Mistake(r"Did you mean 'judge'", ("name: judge", "name: juge")),
    "no discriminator": Mistake(r"is adversarial, but the recipe has no discriminator", ("discriminator: {name: judge}\n", "")),
    "a schedule that ends before it starts": Mistake(
        r"the schedule's end, 2, must come after its start, 5",
        ("threads: 1", "schedule: {name: constant_then_linear, start: 5, end: 2}"),
    ),
    "an option of another schedule": Mistake(
        r"'cosine' has no option 'factor'", ("threads: 1", "schedule: {name: cosine, factor: 0.5}")
    ),
    "an unknown optimizer": Mistake(r"adamm", ("threads: 1", "generator: {optimizer: adamm}")),
    "an option the optimizer lacks": Mistake(r"nope", ("threads: 1", "generator: {options: {nope: 1}}")),
    "a precision that needs a GPU": Mistake(r"train.precision: fp16", ("threads: 1", "precision: fp16")),
    "a generator for a direction that there is not": Mistake(
        r"generator.ba: the loss needs the directions ab", (GENERATOR, "generator: {ba: {name: toy}}")
    ),
    "an extra that nobody offers": Mistake(r"needs 'mean'", (LOSS, "loss: {name: toy, extra: mean}")),
    "losses that cannot share a discriminator": Mistake(
        r"cannot share one", (LOSS, "loss: [{name: toy}, {name: toy, conditional: false}]")
    ),
    # the data
    "no data": Mistake(r"nowhere", ("root: data", "root: nowhere")),
    "an unpaired data set for a paired loss": Mistake(r"needs paired data", UNPAIRED),
    "a picture for training that is none": Mistake(
        r"trainA.0.png", before=lambda folder, _: (folder / "data/trainA/0.png").write_bytes(b"words") and None
    ),
    "pictures of other sizes in a batch": Mistake(
        r"must have the same size.*16 x 16 and 20 x 20", before=_sized("train", 16, 20, 16)
    ),
    "a size that the generator cannot take": Mistake(r"18 x 18.*multiples of 4", before=_sized("train", 18, 18, 18)),
    "a label out of range": Mistake(
        r"trainA.1.png: 256 pixels hold 7, outside the 2 classes", (DATA, LABELS), before=_labels(train=7)
    ),
    # what is held out
    "no split val": Mistake(r"(samples|evaluate).dataset: .*val", before=lambda folder, _: shutil.rmtree(folder / "data/valA")),
    "a misspelt split for the samples": Mistake(
        r"samples.dataset.split|samples.dataset: .*vall", ("split: val", "split: vall")
    ),
    "an option that the samples' data lack": Mistake(r"samples.dataset.spilt", ("split: val", "spilt: val")),
    "samples of other domains": Mistake(r"samples.dataset: it changes the domains", ("split: val", "names: [x, y]")),
    "samples of several sizes": Mistake(r"samples.dataset: .*must have the same size", before=_sized("val", 16, 16, 20)),
    "samples of a size that the generator cannot take": Mistake(
        r"samples.dataset: .*18 x 18", before=_sized("val", 18, 18, 18)
    ),
    "a truncated picture in val": Mistake(
        r"evaluate.dataset: .*valA.1.png.*corrupt or truncated", before=_truncated("valA/1.png")
    ),
    "a pair of two sizes in val": Mistake(r"evaluate.dataset: .*valB.1.png is 20 x 16", before=_picture("valB/1.png", 16, 20)),
    "a label out of range in val": Mistake(
        r"evaluate.dataset: data.valA.1.png: 256 pixels hold 7", (DATA, LABELS), before=_labels(val=7)
    ),
    "a sample of somebody's data set that cannot be read": Mistake(
        r"evaluate.dataset: sample 3 cannot be read \(OSError: the disk is gone\)", (DATA, "dataset: {name: failing}")
    ),
    # what is measured and logged
    "an unknown metric": Mistake(r"Did you mean 'psnr'", ("[psnr, l1]", "[psnrr]")),
    "an option that the metric lacks": Mistake(r"evaluate.metrics.0.sigma", ("[psnr, l1]", "[{name: psnr, sigma: 1}]")),
    "the best of a figure that is not measured": Mistake(
        r"evaluate.keep_best: 'ssim': no metric gives that figure. The figures are: psnr, l1",
        ("keep_best: psnr", "keep_best: ssim"),
    ),
    "a metric of pairs without pairs": Mistake(
        r"metric 'psnr' compares each translation with its truth",
        _several(UNPAIRED, (LOSS, "loss: {name: toy, paired: false}")),
    ),
    "a metric without its package": Mistake(
        r"metric 'ssim': it needs a package: pip install torchmetrics",
        ("psnr, l1]", "psnr, ssim]"),
        before=_without("torchmetrics.functional.image"),
    ),
    "fewer pictures than the metric needs": Mistake(
        r"metric 'precision_recall' needs at least", ("psnr, l1]", "psnr, {name: precision_recall, neighbours: 9}]")
    ),
    "an unknown tracker": Mistake(r"log.trackers: .*Did you mean 'wandb'", ("trackers: []", "trackers: [wandbb]")),
    "a tracker that is not installed": Mistake(
        r"log.trackers: .*pip install swanlab",
        ("trackers: []", "trackers: [swanlab]"),
        before=lambda _, monkeypatch: monkeypatch.setattr("i2i.training.tracking.find_spec", lambda _: None),
    ),
    # the first step
    "a keyword that the generator lacks": Mistake(
        r"generator 'odd' fails on an image of 16 x 16 with 3 channels and the keyword mask: TypeError", _odd_loss("keyword")
    ),
    "an extra that is not returned": Mistake(r"loss 'odd' fails in translate: KeyError: 'depth'", _odd_loss("extra")),
    "a direction that was not declared": Mistake(
        r"generator 'toy' fails on .*: KeyError: 'b_a'", (LOSS, "loss: {name: odd, flaw: direction}")
    ),
    "an image that was not made": Mistake(r"loss 'odd' fails in generator_terms: KeyError: 'cycle'", _odd_loss("key")),
    "a term that is no scalar": Mistake(
        r"loss 'odd' fails in generator_terms: .*'l1' has the shape \(2,\)", _odd_loss("vector")
    ),
    "terms without the generator": Mistake(r"no term of generator_terms depends on a trainable", _odd_loss("no graph")),
    "fakes that are not there": Mistake(r"loss 'odd' fails in fakes: NotImplementedError", _odd_loss("fakes")),
    "a penalty that has no gradient": Mistake(r"loss 'odd' fails in discriminator_terms: RuntimeError", _odd_loss("penalty")),
    "a judge for larger pictures": Mistake(
        r"discriminator 'odd' fails on an image of 16 x 16", ("{name: judge}", "{name: odd, flaw: size}")
    ),
    "a judge without a verdict": Mistake(
        r"discriminator 'odd' did not return a verdict", ("{name: judge}", "{name: odd, flaw: verdict}")
    ),
    "a batch norm of one value": Mistake(
        r"Expected more than 1 value per channel",
        _several(("batch_size: 2", "batch_size: 1"), (GENERATOR, "generator: {name: odd, flaw: squeezes}")),
    ),
    "a generator that trains and does not translate": Mistake(
        r"generator 'odd' in evaluation mode fails on .*: RuntimeError: no such buffer",
        (GENERATOR, "generator: {name: odd, flaw: in use}"),
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: pictures of three pairs for each split."""
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, toy.registry(data=i2i_data, metrics=i2i_metrics, evaluate=i2i_evaluate, odd=Plugin()))
    for split in ("train", "val"):
        _sized(split, 16, 16, 16)(tmp_path, monkeypatch)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_the_recipe_without_a_mistake_is_right(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = everything(folder)
    assert call(monkeypatch, "run", "recipe.yaml", "--dry-run", "--out", "out") == 0
    assert everything(folder) == there
    assert call(monkeypatch, "run", "recipe.yaml", "--out", "out") == 0


def test_what_only_a_backward_pass_shows_is_found_by_the_rehearsal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "recipe.yaml").write_text(RECIPE.replace(GENERATOR, "generator: {name: odd, flaw: in place}"))
    assert call(monkeypatch, "run", "recipe.yaml", "--dry-run") == 2
    assert "i2i: loss 'toy' fails in the backward pass of generator_terms: RuntimeError: one of the " in capsys.readouterr().err


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found_before_anything_is_written(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = MISTAKES[name]
    mistake.before(folder, monkeypatch)
    assert mistake.replaced[0] in RECIPE
    (folder / "recipe.yaml").write_text(RECIPE.replace(*mistake.replaced) if mistake.replaced[0] else RECIPE)
    there = everything(folder)
    monkeypatch.setattr(running, "train", lambda *_: pytest.fail("it trains"))
    capsys.readouterr()
    for option in (["--dry-run"], []):
        assert call(monkeypatch, "run", *(mistake.arguments or ["recipe.yaml", "--out", "out"]), *option) == 2
        told = capsys.readouterr().err
        assert told.startswith("i2i: ")
        assert "Traceback" not in told
        assert re.search(mistake.message, told, re.DOTALL), told
        assert [path for path in everything(folder) if path.name != ".lock"] == [path for path in there if path.name != ".lock"]
