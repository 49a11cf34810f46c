"""A list of discriminators: its terms are the weighted sum of each one's, and a judge may join later."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

import i2i
import i2i_cyclegan
import i2i_pix2pix
import i2i_spade
import i2i_unit
import toy
from forked import ran
from i2i.adapters import per_domain
from i2i.building.combined import Losses
from i2i.building.judges import Judges
from i2i.building.naming import judged
from i2i.errors import UserError
from i2i.objectives import gradient_penalty, input_gradients, of_input_gradients
from i2i.protocols import Domain, Judged, JudgedBySeveral, Needs, SeveralJudgesError, Translation
from i2i.recipe.options import options_model
from i2i.registry import Registry, hookimpl
from i2i.training.assembly import assemble
from i2i.training.dry_run import dry_run
from i2i.training.loop import accumulated_step
from i2i.training.state import Run
from test_processes import command, train_here

A, B = 2.0, 0.25
"""The weights of the two judges."""
DOMAINS = {"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}


class Normed(nn.Module):
    """Batch norm, whose buffers tell how often it was called, and no features."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm2d(in_channels), nn.Conv2d(in_channels, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.norm(x))
        return y


class Clipped(Normed):
    """Keeps its weights within bounds."""

    def constrain(self) -> None:
        for p in self.parameters():
            p.clamp_(-0.01, 0.01)


class Narrow(nn.Module):
    """Takes three channels whatever there is, or gives no verdict."""

    def __init__(self, in_channels: int, *, verdict: bool = True) -> None:
        super().__init__()
        self.verdict, self.last = verdict, nn.Conv2d(3 if verdict else in_channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(x)
        return y if self.verdict else y.mean((2, 3))


class Coloured(nn.Module):
    """Sees pictures in colour alone."""

    exposes: frozenset[str] = frozenset()

    def __init__(self, *, domains: Mapping[str, Domain], conditions: Mapping[str, Domain]) -> None:
        super().__init__()
        raise UserError(f"it judges pictures in colour, not '{domains['b'].name}'.")


class Alone(toy.ToyLoss):
    """Reads the scales of a verdict itself."""

    def generator_terms(self, D: Any, batch: Any, images: Any) -> dict[str, Tensor]:
        return {"gan": D(images["fake"], "b", batch["a"])[0][-1].mean()}


class More:
    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"alone": Alone}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        plain = {"normed": Normed, "clipped": Clipped, "narrow": Narrow}
        return {**{name: per_domain(network) for name, network in plain.items()}, "coloured": Coloured}


RECIPE = toy.RECIPE.replace("{name: judge}", "[{name: judge, weight: 2}, {name: normed, weight: 0.25, from: 3}]").replace(
    "loss: {name: toy}", "loss: {name: pix2pix}"
)


def registry() -> Registry:
    return toy.registry(more=More(), pix2pix=i2i_pix2pix, cyclegan=i2i_cyclegan, spade=i2i_spade, unit=i2i_unit)


def trained(folder: Path, *overrides: str, text: str = RECIPE, **more: Any) -> Run:
    return toy.trained(folder, *overrides, text=text, plugins=registry(), **more)


def players(needs: Needs) -> tuple[Any, list[nn.Module]]:
    """A generator, and two judges of different scales and widths."""
    torch.manual_seed(0)
    ways = {way: nn.Conv2d(3, 3, 3, padding=1) for way in needs.directions}

    def generator(x: Tensor, source: str, *targets: str, **_: Any) -> Translation:
        made = {target: ways[source, target](x).tanh() for target in targets}
        return Translation(made, dict.fromkeys(needs.extras, x.mean(1, keepdim=True)))

    sources = judged(needs)
    given: dict[str, Any] = {
        "domains": {key: DOMAINS[key] for key in sources},
        "conditions": {key: DOMAINS[source] for key, source in sources.items()} if needs.conditional else {},
    }
    factory = per_domain(toy.ToyJudge, features=True)
    return generator, [factory(**given, width=width) for width in (3, 5)]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pix2pix", {}),
        ("cyclegan", {}),
        ("unit", {}),
        ("spade", {}),
        ("pix2pix", {"objective": "relativistic"}),
        ("spade", {"objective": "relativistic"}),
    ],
)
def test_the_terms_of_two_judges_are_the_weighted_sum_of_each_ones(name: str, options: Any, together: bool) -> None:
    loss: Any = registry().get("loss", name).factory(domains=DOMAINS, **options)
    if hasattr(loss, "together"):
        loss.together = together
    G, judges = players(loss.needs)
    batch = {key: torch.rand(2, 3, 16, 16) * 2 - 1 for key in DOMAINS}

    def terms(D: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        torch.manual_seed(1)
        images = loss.translate(G, batch)
        return loss.generator_terms(D, batch, images), loss.discriminator_terms(D, batch, images)

    alone, both = [terms(judge) for judge in judges], terms(Judges(judges, [A, B], [0, 0]))
    for first, second, summed in zip(*alone, both, strict=True):
        assert set(summed) == set(first)
        for key, term in summed.items():
            adversarial = key.startswith(("gan", "features", "real", "fake", "pair"))
            expected = A * first[key] + B * second[key] if adversarial else first[key]
            torch.testing.assert_close(term, expected, rtol=1e-6, atol=1e-7, msg=key)
            assert not adversarial or first[key] != second[key]
    trained = [*judges[1].parameters()]
    alone_gradients, gradients = (
        torch.autograd.grad(torch.stack([*made[1].values()]).sum(), trained) for made in (alone[1], both)
    )
    for own, summed in zip(alone_gradients, gradients, strict=True):
        torch.testing.assert_close(summed, B * own)


def test_a_penalty_of_two_judges_is_the_weighted_sum_of_each_ones() -> None:
    _, judges = players(Needs((("a", "b"),)))
    real, fake = torch.rand(2, 2, 3, 16, 16)

    def penalties(D: Any) -> list[Tensor]:
        torch.manual_seed(1)
        judge = lambda x: D(x, "b")  # noqa: E731
        return [
            gradient_penalty(judge, real, fake),
            of_input_gradients(lambda g: g.square().sum(1).mean(), judge, real),
        ]

    both = Judges(judges, [A, B], [0, 0])
    for first, second, summed in zip(*map(penalties, judges), penalties(both), strict=True):
        torch.testing.assert_close(summed, A * first + B * second)
    torch.testing.assert_close(
        penalties(judges[0])[1], input_gradients(lambda x: judges[0](x, "b"), real).square().sum(1).mean()
    )
    with pytest.raises(SeveralJudgesError):  # it could only be that of one
        input_gradients(lambda x: both(x, "b"), real)


def test_the_verdict_of_several_is_nobodys_own() -> None:
    verdict = JudgedBySeveral([(1.0, [[torch.zeros(1, 1, 2, 2)]]), (2.0, Judged([[torch.ones(1)]], {"cam": torch.ones(1)}))])
    asked = [lambda: verdict[0], lambda: len(verdict), lambda: list(verdict), lambda: verdict.extras, lambda: bool(verdict)]
    for ask in [*asked, lambda: getattr(verdict, "extras", {})]:
        with pytest.raises(SeveralJudgesError, match="over_judges"):
            ask()
    assert [weight for weight, _ in verdict.judges] == [1, 2]
    assert verdict.judges[1][1].extras["cam"] == 1
    assert Judged([[torch.ones(1)]], {}).judges == ()
    assert not hasattr(verdict, "weights")


class Waits:
    """Notes after each step how often each judge was called, and which has moved and has state in the optimizer."""

    def __init__(self, stop_at: int = -1) -> None:
        self.stop_at = stop_at
        self.called: list[int] = []
        self.states: list[set[str]] = []
        self.weights: list[dict[str, Tensor]] = []

    @hookimpl
    def run_started(self, run: Run) -> None:
        self._note(run)

    @hookimpl
    def step_ended(self, run: Run) -> None:
        self._note(run)
        if run.step == self.stop_at:
            run.ask_to_stop()

    def _note(self, run: Run) -> None:
        late: Any = run.parts.discriminator.networks[1]  # type: ignore[union-attr]
        named = run.players["discriminator"].parameters
        self.called.append(int(next(value for name, value in late.named_buffers() if name.endswith("tracked"))))
        self.states.append({name[:10] for name, p in named.items() if p in run.optimizers["discriminator"].state})
        self.weights.append({name: p.detach().clone() for name, p in named.items()})


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("train.precision=bf16", "train.emulate=true", "train.accumulate=2", "train.clip=0.1", "train.augment=[translation]"),
        ("train.discriminator={optimizer: sgd, options: {momentum: 0.9}}", "train.augment={kinds: [translation], every: 1}"),
        ("train.discriminator.groups={networks.1.last: {frozen_until: 5}, norm: {frozen_until: 1}}",),
    ],
)
def test_before_it_joins_a_judge_is_neither_called_nor_trained(tmp_path: Path, more: Sequence[str]) -> None:
    watch = Waits()
    run = trained(tmp_path, *more, watcher=watch)
    a_step = 6 if "train.accumulate=2" in more else 3
    assert watch.called == [a_step * max(0, step - 3) for step in range(7)]
    assert watch.states == [set(), *[{"networks.0"}] * 3, *[{"networks.0", "networks.1"}] * 3]
    moved = [
        {name for name in after if not torch.equal(before[name], after[name])}
        for before, after in zip(watch.weights, watch.weights[1:], strict=False)
    ]
    assert [{name[:10] for name in names} for names in moved] == [{"networks.0"}] * 3 + [{"networks.0", "networks.1"}] * 3
    waits = "groups" in "".join(more)
    assert ["networks.1.networks.b.last.weight" in names for names in moved[3:]] == [not waits, not waits, True]
    assert (tmp_path / "out/log.txt").read_text().count("step 3: 'normed' judges from here on") == 1
    assert all(term.isfinite() for term in run.terms.values())


def test_a_judge_that_has_not_joined_is_not_constrained(tmp_path: Path) -> None:
    watch = Waits()
    trained(tmp_path, text=RECIPE.replace("normed", "clipped"), watcher=watch)
    largest = [float(weights["networks.1.networks.b.norm.weight"].max()) for weights in watch.weights]
    assert [weight <= 0.011 for weight in largest] == [False] * 4 + [True] * 3


@pytest.mark.parametrize("stop_at", [2, 3, 4])
def test_a_resume_goes_on_to_the_same_bytes(tmp_path: Path, stop_at: int) -> None:
    text = RECIPE.replace("from: 3", "from: 0.6 epochs")  # of 5 steps
    trained(tmp_path, "checkpoint.every=1", out="whole", text=text)
    trained(tmp_path, "checkpoint.every=1", out="parts", text=text, watcher=Waits(stop_at))
    trained(tmp_path, "checkpoint.every=1", out="parts", text=text, resume=True)
    for path in sorted((tmp_path / "whole" / "checkpoints" / "step-00000006").rglob("*.safetensors")):
        assert path.read_bytes() == Path(str(path).replace("whole", "parts")).read_bytes(), path.name


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (("from: 3", "from: 6"), r"toy.yaml:3:\d+: discriminator.1.from: the run has 6 steps, so 'normed' would never judge"),
        (("from: 3", "from: 2 epochs"), r"discriminator.1.from: the run has 6 steps, so 'normed' would never judge"),
        (("weight: 2", "from: 1"), r"toy.yaml:3:1: discriminator: all judges join later .*leave its 'from' out"),
        (("weight: 2", "weight: 0"), r"toy.yaml:3:\d+: discriminator.0.weight: must be greater than 0"),
        (("weight: 2", "weight: -1"), r"toy.yaml:3:\d+: discriminator.0.weight: must be greater than 0"),
        (("weight: 2", "from: -1"), r"toy.yaml:3:\d+: discriminator.0.from: must be at least 0"),
        (("weight: 2", "weightt: 2"), r"toy.yaml:3:\d+: discriminator.0.weightt: unknown key. Did you mean 'weight'"),
        (("{name: judge, weight: 2}", "{b: {name: judge}}"), r"toy.yaml:3:\d+: discriminator.0: every discriminator in a list"),
        (("{name: judge, weight: 2}", "{name: coloured}"), r"toy.yaml:3:\d+: discriminator.0: .*in colour, not 'negative'"),
        (("name: normed", "name: narrow"), r"discriminator 'narrow' \(discriminator.1 in the recipe\) fails on .* 3 channels"),
        (
            ("name: normed", "verdict: false, name: narrow"),
            r"'narrow' \(discriminator.1 in the recipe\) did not return a verdict",
        ),
        (("{name: judge", "{name: jugde"), r"toy.yaml:3:\d+: discriminator.0.name: .*Did you mean 'judge'"),
        (
            ("loss: {name: pix2pix}", "loss: [{name: pix2pix}, {name: cyclegan}]"),
            "loss 'pix2pix' shows the discriminator the source image and loss 'cyclegan' does not",
        ),
        (("loss: {name: pix2pix}", "loss: {name: alone}"), "loss 'alone': it reads a verdict as that of one .*several"),
        (("loss: {name: pix2pix}", "loss: {name: spade}"), "loss 'spade' needs 'features' .*'normed' does not expose it"),
        (("train: {", "train: {discriminator: {groups: {networks.2: {lr: 1e-3}}}, "), "Did you mean 'networks.1'"),
        (
            ("train: {", "train: {discriminator: {groups: {x: {lr: 1e-3}}}, "),
            "There are: .*networks, .*networks.0, .*networks.1",
        ),
    ],
)
def test_a_list_with_a_mistake_is_refused_at_its_place(tmp_path: Path, replaced: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        trained(tmp_path, text=RECIPE.replace(*replaced))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_the_mix_of_two_judges_trains(tmp_path: Path, recipes: Path) -> None:
    few = {
        "train.steps": 2,
        "samples.every": 2,
        "samples.count": 1,
        "train.batch_size": 1,
        "generator.width": 4,
        "log.trackers": [],
    }
    i2i.run(recipes / "mix/two_judges_pix2pix.yaml", set={**few, "discriminator.1.from": 1}, out=tmp_path / "run")
    assert "step 1: 'timm' judges from here on" in (tmp_path / "run/log.txt").read_text()


def test_an_empty_list_and_one_discriminator_with_a_weight_are_refused(tmp_path: Path) -> None:
    for slot, message in (
        (
            "{b: [{name: judge}, {name: judge}]}",
            r"toy.yaml:3:\d+: discriminator.b: must be a mapping, not a list",
        ),
        ("[]", r"toy.yaml:3:\d+: discriminator: must hold at least 1 items"),
        ("{name: judge, weight: 2}", r"toy.yaml:3:\d+: discriminator.weight: it belongs to a discriminator in a list. Write"),
    ):
        with pytest.raises(UserError, match=message):
            toy.recipe(tmp_path, text=toy.RECIPE.replace("{name: judge}", slot), plugins=registry())


def test_an_option_of_a_discriminator_cannot_be_mistaken_for_the_weight_of_a_judge() -> None:
    def network(in_channels: int, *, weight: float = 1.0) -> nn.Module:
        return Normed(in_channels)

    with pytest.raises(UserError, match="an option cannot be called 'weight'"):
        options_model("discriminator", per_domain(network))
    assert options_model("loss", toy.ToyLoss)


def test_another_weight_is_refused_at_a_resume(tmp_path: Path) -> None:
    trained(tmp_path, "train.steps=4")
    with pytest.raises(UserError, match=r"trained with another 'discriminator' .*discriminator\.1\.weight: 0\.25 → 0\.5"):
        trained(tmp_path, "train.steps=6", "discriminator.1.weight=0.5", resume=True)


def test_a_dry_run_names_each_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dry_run(toy.recipe(tmp_path, text=RECIPE, plugins=registry()), tmp_path / "out", registry(), False, Console(width=120))
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"discriminator.0 │ judge, weight 2 │ 393 .*discriminator.1 │ normed, weight 0.25, from step 3 │ 67", told)
    assert "more when further judges join" in told


def test_losses_in_a_list_share_the_verdicts_of_judges() -> None:
    losses = Losses([(name, registry().get("loss", name).factory(domains=DOMAINS)) for name in ("cyclegan", "cyclegan")])
    G, judges = players(losses.needs)
    batch, calls = {key: torch.rand(2, 3, 16, 16) * 2 - 1 for key in DOMAINS}, []
    judges[1].register_forward_hook(lambda *_: calls.append(""))
    terms = losses.generator_terms(Judges(judges, [A, B], [0, 0]), batch, losses.translate(G, batch))
    assert terms["gan_a"] == terms["cyclegan.gan_a"]
    assert len(calls) == 2


def test_a_start_takes_every_judge(tmp_path: Path) -> None:
    import i2i_convert

    plugins = toy.registry(more=More(), pix2pix=i2i_pix2pix, convert=i2i_convert)
    trained(tmp_path, "train.steps=4", out="first")
    run = toy.trained(
        tmp_path, f"train.start={tmp_path / 'first'}", "train.discriminator.lr=1e-9", text=RECIPE, plugins=plugins, out="next"
    )
    assert any("discriminator of " in line for line in run.began)
    single = toy.RECIPE.replace("{name: toy}\ntrain", "{name: pix2pix}\ntrain").replace("judge", "normed")
    toy.trained(tmp_path, "train.steps=1", text=single, plugins=plugins, out="single")
    begun = toy.trained(tmp_path, f"train.start={tmp_path / 'single'}", text=RECIPE, plugins=plugins, out="of one")
    assert any("discriminator.1 of " in line for line in begun.began)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_judges_compute_the_same_before_and_after_one_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch.compile without its code generator, which needs no compiler of C++."""
    plugins, whole = registry(), nn.Module.compile

    def aot(network: nn.Module, **_: Any) -> None:
        if isinstance(network, Judges):
            whole(network, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", aot)

    def stepped(*overrides: str) -> list[dict[str, Tensor]]:
        checked = toy.recipe(tmp_path, "discriminator.1.from=2", *overrides, text=RECIPE, plugins=plugins)
        run = assemble(checked, plugins)
        run.training_mode()
        batches = run.batches()
        return [accumulated_step(run, batches) for run.step in range(4)]

    for usual, compiled in zip(stepped(), stepped("train.compile=true"), strict=True):
        assert set(usual) == set(compiled)
        for name, term in usual.items():
            torch.testing.assert_close(compiled[name], term, rtol=1e-3, atol=1e-4, msg=name)


TWO = """
dataset: {name: earth, a: labels, b: day, crop: 32}
generator: {name: unet, width: 4, downs: 3, norm: instance, dropout: false}
discriminator:
- {name: patchgan, width: 4, layers: 2, norm: instance}
- {name: pixel, width: 4, norm: instance, weight: 0.5, from: 2}
loss: {name: pix2pix}
train:
  steps: 4
  generator: {optimizer: sgd, lr: 1e-3}
  discriminator: {optimizer: sgd, lr: 1e-3, options: {momentum: 0.9}}
samples: {every: 4, count: 1}
checkpoint: {every: 1, keep_last: 9}
log: {every: 1, trackers: []}
"""


@pytest.mark.slow
def test_two_processes_do_what_one_does_and_resume_before_a_judge_joins_to_the_same_bytes(tmp_path: Path) -> None:
    for line in (
        command(tmp_path, TWO, "two", "--processes", "2", "--set", "train.batch_size=1"),
        command(tmp_path, TWO, "two", "--processes", "2", "--set", "train.batch_size=1", "--resume"),
    ):
        done = ran(line)
        assert done.returncode == 0, done.stderr
        if "--resume" not in line:
            shutil.copytree(tmp_path / "two/checkpoints/step-00000004", tmp_path / "whole")
            for step in (2, 3, 4):
                shutil.rmtree(tmp_path / f"two/checkpoints/step-{step:08d}")
    again = tmp_path / "two/checkpoints/step-00000004"
    files = sorted(path.relative_to(again) for path in again.rglob("*.safetensors"))
    assert len(files) > 4
    for file in files:
        assert (again / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    train_here(tmp_path, TWO, "one", batch_size=2)
    paths = [path / "discriminator.safetensors" for path in (again, tmp_path / "one/checkpoints/step-00000004")]
    shared, alone = map(load_file, paths)
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name], rtol=1e-4, atol=1e-4, msg=name)
