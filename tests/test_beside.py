"""Losses that stand beside another one: penalties on the discriminator's gradient, mismatched sources, frequencies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

import i2i_beside
import i2i_cyclegan
import toy
from i2i.adapters import per_domain
from i2i.building.combined import Losses, joined
from i2i.building.nested import detach
from i2i.errors import UserError
from i2i.labels import to_network
from i2i.objectives import objective_of
from i2i.protocols import Domain, Judged, JudgedBySeveral, Needs, Translation, Verdict
from i2i.registry import default_registry, hookimpl
from i2i.training.assembly import assemble
from i2i.training.augment import Augmented
from i2i.training.state import Run
from i2i_beside.frequency import FrequencyLoss, frequency_distance
from i2i_beside.mismatch import MismatchLoss, warped
from i2i_beside.penalty import MIXES, PenaltyLoss
from i2i_cyclegan.loss import CycleGANLoss
from i2i_pix2pix.loss import Pix2PixLoss

DOMAINS = {"a": Domain("a", "image", 3), "b": Domain("b", "image", 3)}
LABELS = Domain("map", "labels", 3, ("sea", "land", "ice"))
BOTH = Needs((("a", "b"), ("b", "a")))
SEEING = Needs((("a", "b"),), paired=True, conditional=True)


class Playing:
    """Both networks as functions, with their calls counted. *drawing*: each translation has its own noise."""

    def __init__(self, judge: Any = None, drawing: bool = False) -> None:
        self.judge, self.drawing, self.translations, self.verdicts = judge or squares, drawing, 0, 0
        self.seen: list[tuple[Tensor, Tensor | None]] = []

    def G(self, x: Tensor, source: str, *targets: str) -> Translation:  # noqa: N802
        self.translations += 1
        return Translation({key: x * 0.5 + (torch.rand_like(x) if self.drawing else 0) for key in targets})

    def D(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:  # noqa: N802
        self.verdicts += 1
        self.seen.append((image, condition))
        return self.judge(image)  # type: ignore[no-any-return]


def squares(image: Tensor) -> Verdict:
    """Two scales; the second counts double."""
    logits = image.square().sum(1, keepdim=True)
    return [[logits], [2 * logits[:, :, ::2, ::2]]]


def batch(size: int = 4, count: int = 3) -> dict[str, Tensor]:
    return {key: torch.rand(count, 3, size, size) * 2 - 1 for key in DOMAINS}


def judged(leading: Any, loss: Any, playing: Playing, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The discriminator's terms of a step of two losses."""
    both = Losses([("leading", leading), ("loss", loss)])
    images = both.translate(playing.G, given)
    return both.discriminator_terms(playing.D, given, detach(images))


# the penalty


def test_exact_is_half_the_square_of_the_gradient_of_the_mean_logit() -> None:
    loss, given = PenaltyLoss(domains=DOMAINS, beside=BOTH, weight=3.0), batch()
    terms = loss.discriminator_terms(Playing().D, given, {})
    whole, some = given["b"] / 4**2, torch.zeros_like(given["b"])
    some[:, :, ::2, ::2] = 2 * given["b"][:, :, ::2, ::2] / 2**2
    slope = 2 * (whole + some) / 2  # of the mean over two scales
    torch.testing.assert_close(terms["r1_b"], 3.0 / 2 * slope.square().sum((1, 2, 3)).mean())
    assert set(terms) == {"r1_a", "r1_b"}


def test_the_approximate_form_is_the_exact_one_of_a_small_weight() -> None:
    given = {"a": torch.rand(1, 3, 4, 4).expand(20000, -1, -1, -1), "b": torch.rand(1, 3, 4, 4).expand(20000, -1, -1, -1)}
    exact = PenaltyLoss(domains=DOMAINS, beside=BOTH, weight=2 * 100 * 0.01**2)
    near = PenaltyLoss(domains=DOMAINS, beside=BOTH, form="approximate")
    torch.manual_seed(0)
    (_, one), (_, other) = (loss.discriminator_terms(Playing().D, given, {}).values() for loss in (exact, near))
    torch.testing.assert_close(one, other, rtol=0.03, atol=0)


def test_it_looks_at_the_other_losss_pictures_and_translates_nothing() -> None:
    """Of a generator that draws, whose translations would differ if it were called again."""
    given, playing = batch(), Playing(drawing=True)
    leading = CycleGANLoss(domains=DOMAINS, cycle=0, identity=0, pool=0)
    terms = judged(leading, PenaltyLoss(domains=DOMAINS, beside=BOTH, at=["real", "fake", "mixed"]), playing, given)
    assert playing.translations == 2
    assert {"r1_a", "r2_a", "mixed_a", "r1_b", "r2_b", "mixed_b"} < set(terms)
    fakes = [playing.seen[i][0] for i in (1, 3)]
    for fake, key, first in zip(fakes, ("b", "a"), (4, 7), strict=True):
        real, shown, mixed = (playing.seen[first + i][0] for i in range(3))
        assert torch.equal(real, given[key])
        assert torch.equal(shown, fake)
        share = (mixed - fake) / (given[key] - fake)
        assert share.min() >= 0
        assert share.max() <= 1
        assert len(share[:, 0, 0, 0].unique()) == len(fake)
        torch.testing.assert_close(share, share[:, :1, :1, :1].expand_as(share), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("conditional", [True, False])
def test_the_approximate_form_costs_one_judgement_where_the_other_loss_judged_the_picture(conditional: bool) -> None:
    given, playing = batch(), Playing()
    leading: Any = Pix2PixLoss(domains=DOMAINS) if conditional else CycleGANLoss(domains=DOMAINS, pool=0)
    loss = PenaltyLoss(domains=DOMAINS, beside=joined([("leading", leading.needs)]), form="approximate", at="fake")
    judged(leading, loss, playing, given)
    assert playing.verdicts == (3 if conditional else 6)
    conditions = [condition for _, condition in playing.seen]
    assert conditions == ([given["a"]] * 3 if conditional else [None] * 6)  # the same tensors


def test_both_pictures_of_the_approximate_form_are_augmented_alike() -> None:
    playing = Playing()
    augmented = Augmented(playing.D, ["color", "translation", "cutout"], DOMAINS)
    loss = PenaltyLoss(domains=DOMAINS, beside=BOTH, form="approximate", sigma=1e-6)
    assert loss.discriminator_terms(augmented, batch(), {})["approximate_r1_b"] < 1e-6
    torch.manual_seed(1)
    loss.discriminator_terms(augmented, batch(), {})
    assert not torch.allclose(playing.seen[-1][0], playing.seen[-3][0])  # other draws for the other domain


def test_lazily_in_every_third_step_times_three_and_in_the_first() -> None:
    loss, given = PenaltyLoss(domains=DOMAINS, beside=BOTH, every=3), batch()
    made = []
    for step in range(8):
        loss.begin(step, 8)
        made.append(loss.discriminator_terms(Playing().D, given, {}))
    assert [step for step, terms in enumerate(made, 1) if terms] == [1, 3, 6]
    always = PenaltyLoss(domains=DOMAINS, beside=BOTH).discriminator_terms(Playing().D, given, {})
    torch.testing.assert_close(made[0], {name: 3 * term for name, term in always.items()})


def test_several_judges_are_penalised_one_by_one() -> None:
    def judge(image: Tensor) -> Verdict:
        verdicts = squares(image), [[-scale[-1]] for scale in squares(image)]
        return JudgedBySeveral((weight, Judged(verdict, {})) for weight, verdict in zip((1.0, 0.5), verdicts, strict=True))

    given, beside = batch(), joined([("leading", Pix2PixLoss(domains=DOMAINS).needs)])
    for loss in (
        PenaltyLoss(domains=DOMAINS, beside=beside),  # that of the sum of the scores would be a quarter
        PenaltyLoss(domains=DOMAINS, beside=beside, form="approximate"),
        MismatchLoss(domains=DOMAINS, beside=beside, objective=Fake()),
    ):
        made: list[Tensor] = []
        for each in (squares, judge):
            torch.manual_seed(0)
            made += loss.discriminator_terms(Playing(each).D, given, {}).values()
        torch.testing.assert_close(made[1], 1.5 * made[0])


class Fake:
    """An objective that takes the square of a fake's logits."""

    paired = False

    def real(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def fake(self, logits: Tensor) -> Tensor:
        return logits.square().mean()

    def generator(self, logits: Tensor) -> Tensor:
        return logits.mean()


def test_a_judge_that_joins_later_is_tried_before_the_run(tmp_path: Path) -> None:
    judges = "discriminator=[{name: odd, how: plain}, {name: odd, how: once, from: 3}]"
    with pytest.raises(UserError, match="loss 'penalty': the discriminator of 'b' cannot be differentiated"):
        assembled(tmp_path, judges, "loss=[{name: cyclegan}, {name: penalty, every: 5}]")


class Once(torch.autograd.Function):
    """x squared, which can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return 2 * ctx.saved_tensors[0] * gradients[0]


class Judge(nn.Module):
    """Logits of a kind that *how* says."""

    def __init__(self, in_channels: int, *, how: str = "once") -> None:
        super().__init__()
        norm = nn.BatchNorm2d(4) if how == "batch" else nn.Identity()
        self.first, self.norm, self.last, self.how = nn.Conv2d(in_channels, 4, 3), norm, nn.Conv2d(4, 1, 1), how

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.norm(self.first(x.detach() if self.how == "detached" else x))
        y: Tensor = self.last(Once.apply(x) if self.how == "once" else x.tanh())
        return [Once.apply(y) if self.how == "last" else y]


class Plugin:
    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"odd": per_domain(Judge)}


REGISTRY = toy.registry(beside=i2i_beside, cyclegan=i2i_cyclegan, odd=Plugin())
ODD = toy.RECIPE.replace("name: judge", "name: odd").replace("{name: toy}\ntrain", "[{name: toy}, {name: penalty}]\ntrain")


def assembled(folder: Path, *overrides: str) -> Any:
    return assemble(toy.recipe(folder, *overrides, text=ODD, plugins=REGISTRY), REGISTRY)


@pytest.mark.parametrize("how", ["once", "last", "detached"])
def test_a_judge_that_cannot_be_differentiated_twice_is_refused_before_the_run(how: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"discriminator of 'b' cannot be differentiated twice.*Set 'form: approximate'"):
        assembled(tmp_path, f"discriminator.how={how}")
    assembled(tmp_path, f"discriminator.how={how}", "loss=[{name: toy}, {name: penalty, form: approximate}]")


def test_a_judge_that_mixes_pictures_is_told_of(tmp_path: Path) -> None:
    assert MIXES in assembled(tmp_path, "discriminator.how=batch").parts.notes
    assert MIXES not in assembled(tmp_path, "discriminator.how=plain").parts.notes


class Stopping:
    """Ends a run after its third step."""

    @hookimpl
    def step_ended(self, run: Run) -> None:
        if run.step == 3:
            run.ask_to_stop()


def test_a_resumed_run_computes_it_in_the_same_steps(tmp_path: Path) -> None:
    given = ("discriminator.how=plain", "loss=[{name: toy}, {name: penalty, every: 2}]")
    whole = toy.trained(tmp_path, *given, text=ODD, plugins=REGISTRY)
    toy.trained(tmp_path, *given, out="parts", text=ODD, plugins=REGISTRY, watcher=Stopping())
    parts = toy.trained(tmp_path, *given, out="parts", text=ODD, plugins=REGISTRY, resume=True)
    lines = [toy.json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "r1_b" in line] == [1, 2, 4, 6]
    assert all(torch.equal(term, parts.terms[name]) for name, term in whole.terms.items())


# beside what


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("{name: penalty}", "loss 'penalty': no other loss stands before it"),
        ("[{name: penalty}, {name: toy}]", "loss 'penalty': no other loss stands before it"),
        ("[{name: toy, adversarial: false}, {name: penalty}]", "loss 'penalty': no loss before it is adversarial"),
        ("[{name: toy, adversarial: false}, {name: mismatch}]", "loss 'mismatch': no loss before it is adversarial"),
        (
            "[{name: toy, conditional: false}, {name: mismatch}]",
            "loss 'mismatch': .*does not show the discriminator the source",
        ),
        (
            "[{name: toy}, {name: penalty, at: fake}]",
            "loss 'penalty': no loss before it gives its translation into 'b' the name",
        ),
        ("[{name: toy}, {name: frequency}]", "loss 'frequency': no loss before it gives its translation into 'b' the name"),
        ("[{name: toy}, {name: penalty, at: []}]", "must hold at least 1 items"),
        ("[{name: toy}, {name: penalty, sigma: 0.1}]", "loss 'penalty': 'sigma' is the noise of the approximate form"),
        ("[{name: toy}, {name: penalty, at: true}]", "must be one of 'real', 'fake' or 'mixed'"),
        ("[{name: cyclegan}, {name: frequency, patches: 3}]", "loss 'frequency': 16x16 px cannot be cut into 3x3 patches"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(loss: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        assembled(tmp_path, "discriminator.how=plain", f"loss={loss}")


# the mismatch term


def test_a_real_picture_with_a_warped_source_is_to_be_rejected() -> None:
    given, playing = batch(16), Playing()
    loss = MismatchLoss(domains=DOMAINS, beside=SEEING, weight=0.5, objective="lsgan")
    (term,) = loss.discriminator_terms(playing.D, given, {}).values()
    ((image, condition),) = playing.seen
    assert image is given["b"]
    assert condition is not None
    assert not torch.allclose(condition, given["a"])
    both = torch.stack([objective_of("lsgan").fake(scale[-1]) for scale in squares(image)])
    torch.testing.assert_close(term, 0.5 * both.mean())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), sides=st.tuples(st.integers(8, 24), st.integers(8, 24)), strength=st.floats(0.01, 0.5))
def test_warped_labels_stay_labels_of_a_place_nearby(seed: int, sides: tuple[int, int], strength: float) -> None:
    torch.manual_seed(seed)
    H, W = sides
    rows = torch.arange(H)[:, None].expand(H, W)
    x = nn.functional.one_hot(rows, H).permute(2, 0, 1)[None].float().expand(2, H, H, W)
    made = warped(x, strength, 4, labels=True)
    assert torch.equal(made.sum(1), torch.ones(2, H, W))
    assert set(made.unique().tolist()) <= {0.0, 1.0}
    moved = (made.argmax(1) - rows).abs().max()
    assert moved <= 1.5 * strength * H + 1  # bicubic interpolation overshoots a little


def test_warps_differ_between_pictures_and_a_small_one_changes_nothing() -> None:
    ids = torch.randint(3, (1, 1, 16, 20)).expand(2, 1, 16, 20)
    x = to_network(ids, LABELS)
    assert torch.equal(warped(x, 1e-4, 4, labels=True), x)
    torch.testing.assert_close(warped(x, 1e-6, 4, labels=False), x, atol=1e-3, rtol=0)
    one, other = warped(x, 0.2, 4, labels=True)
    assert not torch.equal(one, other)


def test_a_warp_shifts_as_far_as_its_strength() -> None:
    torch.manual_seed(0)
    rows = torch.linspace(-1, 1, 64).view(1, 1, 64, 1).expand(64, 1, 64, 64)
    moved = (warped(rows, 0.125, 4, labels=False) - rows)[..., 20:44, :].abs().max()  # far from the mirrored edges
    assert 0.9 < moved / 0.25 < 1.5  # the side is 2 long


def test_a_relativistic_objective_compares_with_the_true_source() -> None:
    given, playing = batch(16), Playing()
    loss = MismatchLoss(domains=DOMAINS, beside=SEEING, objective="relativistic")
    (term,) = loss.discriminator_terms(playing.D, given, {}).values()
    assert [condition is given["a"] for _, condition in playing.seen] == [False, True]
    assert float(term) == pytest.approx(np.log(2))  # this judge gives both the same logits


# the frequency loss


def published(made: Any, truth: Any, alpha: float, patches: int) -> float:
    """Written from the paper: patch by patch and frequency by frequency."""
    B, C, H, W = made.shape
    h, w = H // patches, W // patches
    sums = []
    for b, c, i, j in np.ndindex(B, C, patches, patches):
        part = (b, c, slice(i * h, (i + 1) * h), slice(j * w, (j + 1) * w))
        F = (np.fft.fft2(image[part]) / np.sqrt(h * w) for image in (made, truth))
        distance = np.abs(next(F) - next(F))
        weight = distance**alpha
        sums.append((weight / max(weight.max(), 1e-300) * distance**2).mean())
    return float(np.mean(sums))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 99),
    cut=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)),
    channels=st.integers(1, 4),
    alpha=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_the_distance_is_that_of_the_paper(seed: int, cut: tuple[int, int, int], channels: int, alpha: float) -> None:
    h, w, patches = cut
    draws = np.random.default_rng(seed)
    made, truth = (draws.uniform(-1, 1, (2, channels, h * patches, w * patches)) for _ in range(2))
    found = frequency_distance(torch.tensor(made), torch.tensor(truth), alpha, patches)
    assert float(found) == pytest.approx(published(made, truth, alpha, patches), rel=1e-4)


def test_equal_pictures_have_the_distance_and_the_gradient_0() -> None:
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    distance = frequency_distance(x, x.detach().clone())
    distance.backward()  # type: ignore[no-untyped-call]
    assert distance.item() == 0
    assert x.grad is not None
    assert not x.grad.any()


def test_the_weights_have_no_gradient() -> None:
    """With alpha 1 they are linear in the difference: their gradient would make that of the whole half as large again."""
    x, y = torch.full((1, 1, 1, 1), 0.5, requires_grad=True), torch.zeros(1, 1, 1, 1)
    frequency_distance(x, y).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert float(x.grad) == 1.0


def test_it_is_computed_in_float32_under_autocast() -> None:
    x, y = torch.rand(2, 1, 3, 7, 7).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = frequency_distance(x, y)
    assert torch.equal(found, frequency_distance(x.float(), y.float()))


def test_it_compares_the_other_losss_translation_or_alone_its_own() -> None:
    given, playing = batch(), Playing(drawing=True)
    leading = Pix2PixLoss(domains=DOMAINS)
    both = Losses([("leading", leading), ("frequency", FrequencyLoss(domains=DOMAINS, beside=leading.needs, weight=2.0))])
    images = both.translate(playing.G, given)
    terms = both.generator_terms(playing.D, given, images)
    assert playing.translations == 1
    torch.testing.assert_close(terms["frequency_b"], 2 * frequency_distance(images["0"]["fake_b"], given["b"]))
    alone = FrequencyLoss(domains=DOMAINS)
    assert set(alone.generator_terms(playing.D, given, alone.translate(playing.G, given))) == {"frequency_b"}
    assert alone.needs.paired


def test_it_leaves_labels_out() -> None:
    mixed = {"a": LABELS, "b": Domain("photo", "image", 3)}
    loss = FrequencyLoss(domains=mixed, beside=BOTH)
    assert loss.ways == [("a", "b")]
    assert loss.notes == ("frequency: 'map' is not compared, as it is labels",)
    with pytest.raises(UserError, match="only a translation into labels"):
        FrequencyLoss(domains={"a": mixed["b"], "b": LABELS})


def test_the_plugin_is_installed() -> None:
    assert {"penalty", "mismatch", "frequency"} <= set(default_registry().names("loss"))
