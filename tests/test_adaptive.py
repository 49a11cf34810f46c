"""Adaptive augmentation: its probability, what it goes by, and that a run with it is one run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import toy
from forked import ran
from i2i.adapters import per_domain
from i2i.augmentation import Adaptive, varied
from i2i.errors import UserError
from i2i.objectives import Adversarial, objective_of
from i2i.objectives.verdicts import real_signs
from i2i.protocols import Batch, Discriminator, Images, JudgedBySeveral, Terms
from i2i.registry import hookimpl
from i2i.training.state import Run

KINDS = ("color", "translation", "cutout")
ON = "train.augment={kinds: [color, translation, cutout], every: 2, images: 20}"
"""With batches of 2 the probability moves by 0.2 every two steps."""


class Silent(toy.ToyLoss):
    """A loss that reads the logits itself."""

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        return {"real": D(batch["b"], "b", self._condition(batch))[0][-1].mean()}


class Biased(nn.Module):
    """A judge whose every logit is the same, which it does not learn much of."""

    def __init__(self, in_channels: int, *, start: float = 5.0) -> None:
        super().__init__()
        self.layer = nn.Conv2d(in_channels, 1, 1)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.fill_(start)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.layer(x)]


class Plugin:
    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"silent": Silent}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"biased": per_domain(Biased)}


PLUGINS = toy.registry(mine=Plugin())


def trained(folder: Path, *overrides: str, **more: Any) -> Run:
    return toy.trained(folder, "train.threads=1", *overrides, plugins=PLUGINS, **more)


def numbers(out: Path, key: str) -> list[Any]:
    return [json.loads(line).get(key) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_it_rises_above_the_target_falls_below_and_stays_between_0_and_1() -> None:
    adaptive = Adaptive(target=0.6, every=2, rise=0.2)
    scripts = [(1.0, 1.0)] * 3 + [(0.9, 0.5)] + [(0.5, 0.5)] + [(-1.0, 1.0)] * 2
    seen = []
    for i, signs in enumerate(scripts):
        for j, sign in enumerate(signs, 1):
            adaptive.hear(torch.tensor(sign))
            adaptive.step_ended(2 * i + j, lambda x: x)
        seen.append((round(float(adaptive.p), 4), round(float(adaptive.signs), 4)))
    assert seen == [(0.4, 1), (0.8, 1), (1, 1), (1, 0.7), (0.6, 0.5), (0.2, 0), (0, 0)]


@pytest.mark.parametrize("heard", [[], [float("nan")]])
def test_what_tells_nothing_changes_nothing(heard: list[float]) -> None:
    adaptive = Adaptive(target=0.6, every=1, rise=0.2)
    adaptive.hear(torch.tensor(1.0))
    adaptive.step_ended(1, lambda x: x)
    for sign in heard:
        adaptive.hear(torch.tensor(sign))
    adaptive.step_ended(2, lambda x: x)
    torch.testing.assert_close(adaptive.state, torch.tensor([0.2, 1, 0, 0]))


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + [KINDS])
def test_never_is_no_augmentation_and_always_is_the_plain_list(kinds: Any) -> None:
    x, condition = torch.rand(5, 3, 16, 12, requires_grad=True), torch.rand(5, 2, 16, 12)
    for got, given in zip(varied(x, condition, kinds, p=torch.tensor(0.0)), (x, condition), strict=True):
        assert got is not None
        assert torch.equal(got, given)
    torch.manual_seed(1)
    always = varied(x, condition, kinds, p=1.0)
    torch.manual_seed(1)
    torch.rand(3, 5, 1, 1, 1)  # what is changed is drawn first
    for got, expected in zip(always, varied(x, condition, kinds), strict=True):
        assert got is not None
        assert expected is not None
        assert torch.equal(got, expected)


def test_each_picture_has_its_own_chance_and_its_condition_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.rand(400, 1, 8, 8, requires_grad=True)
    seen, condition = varied(x, x, ["cutout"], p=torch.tensor(0.3))
    assert condition is not None
    assert torch.equal(seen, condition)
    assert 0.2 < (seen != x).any(3).any(2).float().mean() < 0.4
    seen.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, (seen != 0).float())


def test_the_signs_are_taken_about_the_objective_s_boundary() -> None:
    def signs(objective: Any, real: list[float], fake: list[float]) -> float:
        heard: list[Tensor] = []
        adversarial = Adversarial(objective)
        adversarial.heard = heard.append
        verdict: Callable[[list[float]], Any] = lambda logits: [[torch.tensor(logits)], [torch.tensor(logits)]]  # noqa: E731
        adversarial.discriminator(verdict(real), verdict(fake))
        return float(heard[0])

    real, fake = [-1.0, 0.2, 0.7, 3.0], [2.0, -2.0, 0.0, 0.0]
    assert signs("bce", real, fake) == signs("hinge", real, fake) == 0.5
    assert signs("lsgan", real, fake) == 0  # between 0 and 1
    assert signs("wgan", real, [x + 0.5 for x in fake]) == 0  # above the generated ones' mean
    assert signs("relativistic", real, fake) == 0.5  # above the generated one of the same sample


def test_judges_and_their_scales_count_alike() -> None:
    sure, unsure = ([[torch.full((2, 1, 3, 3), x)] for x in logits] for logits in ([1.0], [1.0, -1.0, -1.0, -1.0]))
    both = JudgedBySeveral([(0.1, sure), (5.0, unsure)])
    assert float(real_signs(objective_of("bce"), both, both)) == (1 - 0.5) / 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven steps with a checkpoint after each, so that some lie within an interval."""
    folder = tmp_path_factory.mktemp("whole")
    trained(folder, ON, "discriminator={name: biased}", "train.steps=7", "checkpoint={every: 1, keep_last: 9}")
    return folder / "out"


def test_a_run_s_probability_is_in_its_numbers_and_its_log(whole: Path) -> None:
    assert numbers(whole, "augment_p") == pytest.approx([0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6])
    assert numbers(whole, "real_signs") == [0, 1, 1, 1, 1, 1, 1]
    assert "augment_p 0.6  real_signs 1" in (whole / "log.txt").read_text()


def test_it_falls_for_a_judge_that_takes_real_pictures_for_generated_ones(tmp_path: Path) -> None:
    run = trained(tmp_path, ON, "discriminator={name: biased, start: -5}", "train.steps=2")
    assert run.adaptive is not None
    assert run.adaptive.state.tolist() == [0, -1, 0, 0]


def test_before_it_rises_a_run_is_as_without(tmp_path: Path) -> None:
    """The toy generator's dropout draws other numbers then."""
    still = ("train.steps=1", "generator={name: toy}")

    def judged(name: str, *overrides: str) -> dict[str, float]:
        run = trained(tmp_path, *still, *overrides, out=name)
        return {key: float(value) for key, value in run.terms.items()}

    plain, adaptive, always = judged("plain"), judged("adaptive", ON), judged("always", "train.augment=[color]")
    assert plain["l1"] == adaptive["l1"]
    assert plain == adaptive
    assert plain["real"] != always["real"]


@pytest.mark.parametrize("step", [3, 4])
def test_it_resumes_to_the_same_bytes(whole: Path, step: int, tmp_path: Path) -> None:
    trained(tmp_path, ON, "discriminator={name: biased}", f"train.steps={step}", "checkpoint={every: 1, keep_last: 9}")
    again = ("train.steps=7", "checkpoint={every: 1, keep_last: 9}")
    trained(tmp_path, ON, "discriminator={name: biased}", *again, resume=True)
    name = "checkpoints/step-00000007"
    assert files(tmp_path / "out" / name) == files(whole / name)
    assert numbers(tmp_path / "out", "augment_p") == numbers(whole, "augment_p")


def files(checkpoint: Path) -> dict[str, bytes]:
    """Its tensors by file."""
    return {str(path.relative_to(checkpoint)): path.read_bytes() for path in checkpoint.rglob("*.safetensors")}


TWO = """
dataset: {name: earth, a: day, b: night, paired: false, crop: 32}
generator: {name: resnet, width: 4, blocks: 1}
discriminator: {name: patchgan, width: 4, layers: 2, norm: instance}
loss: {name: cyclegan, pool: 4, objective: bce}
train: {steps: 5, seed: 3, augment: {kinds: [translation], target: -0.9, every: 2, images: 10}}
samples: {every: 9, count: 1}
checkpoint: {every: 1, keep_last: 9}
log: {every: 1, trackers: []}
"""


@pytest.mark.slow
def test_two_processes_have_one_probability_and_resume_to_the_same_bytes(tmp_path: Path) -> None:
    """What each has heard since the last adjustment is its own."""
    (tmp_path / "r.yaml").write_text(TWO)

    def run(out: str, *more: str) -> Path:
        done = ran(["run", "r.yaml", "--out", out, "--processes", "2", *more], tmp_path)
        assert done.returncode == 0, done.stderr
        return tmp_path / out / "checkpoints"

    whole = run("whole") / "step-00000005"
    run("parts", "--set", "train.steps=3")
    assert files(run("parts", "--resume") / "step-00000005") == files(whole)
    one, other = (load_file(whole / f"process-{rank}" / "adaptive.safetensors")["value"] for rank in (0, 1))
    assert torch.equal(one[:2], other[:2])
    assert one[0] == pytest.approx(0.8)  # two adjustments after two steps of two pictures each
    assert one[3] == other[3] == 2  # both directions, once
    assert not torch.equal(one[2], other[2])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("train.augment={kinds: []}", r"train\.augment\.kinds"),
        ("train.augment={kinds: [colour]}", r"train\.augment\.kinds\.0.*color"),
        ("train.augment={kinds: [color], goal: 1}", r"train\.augment\.goal.*unknown key"),
        ("train.augment={kinds: [color], target: 1.5}", r"train\.augment\.target"),
        ("train.augment={target: 0.5}", r"train\.augment\.kinds.*missing"),
        ("train.augment=color", r"train\.augment"),
    ],
)
def test_a_wrong_section_is_refused(given: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        toy.recipe(tmp_path, given)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("{name: silent}", r"train\.augment: loss 'silent' does not tell how sure the discriminator is of real images"),
        ("{name: toy, verdict: features}", r"train\.augment: loss 'toy' compares the discriminator's features"),
    ],
)
def test_a_loss_that_cannot_be_gone_by_is_refused_before_training(loss: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        trained(tmp_path, f"loss={loss}", ON)
    assert not (tmp_path / "out").exists()


def test_a_resume_may_turn_it_on_and_off(tmp_path: Path) -> None:
    trained(tmp_path, "train.steps=2", "discriminator={name: biased}")
    trained(tmp_path, ON, "train.steps=4", "discriminator={name: biased}", resume=True)
    assert numbers(tmp_path / "out", "augment_p") == [None, None, 0, pytest.approx(0.2)]
    run = trained(tmp_path, "train.steps=5", "discriminator={name: biased}", resume=True)
    assert run.adaptive is None
