"""The kit and the matrix on components that they cannot try in the usual way: what is skipped, refused or tried otherwise."""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import toy
from i2i.adapters import per_direction, per_domain
from i2i.errors import UserError
from i2i.layers import check_sides
from i2i.objectives import Weight
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms, Translation
from i2i.registry import Registry, hookimpl
from i2i.testing import check_discriminator, check_generator, check_loss, check_plugin, run_checks, subjects_of
from i2i.testing.kit import Result
from i2i.testing.matrix import Cell, cells_of
from i2i.testing.subject import image
from i2i.testing.workshop import Choice
from terminal import call, install


def outcomes(registry: Registry, plugin: str = "mine") -> dict[tuple[str, str], Result]:
    results = [result for subject in subjects_of(plugin, registry) for result in run_checks(subject)]
    return {(result.kind, result.check): result for result in results}


class Plugin:
    """What it is given, as a plugin's hooks."""

    def __init__(self, **components: Any) -> None:
        self.components = components

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return self._of("generator")

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return self._of("loss")

    @hookimpl
    def register_datasets(self) -> dict[str, Any]:
        return self._of("dataset")

    def _of(self, kind: str) -> dict[str, Any]:
        return {"it": self.components[kind]} if kind in self.components else {}


def across(*, domains: Mapping[str, Domain], directions: Any) -> nn.Module:
    """Refuses to translate a domain into itself."""
    if any(source == target for source, target in directions):
        raise UserError("a domain is not translated into itself.")
    return per_direction(toy.ToyNet)(domains=domains, directions=directions)


class Swapping(nn.Module):
    """Takes a domain's own pictures for a mistake, and notices only when it is called."""

    exposes = frozenset[str]()
    divisor = 1

    def __init__(self, *, domains: Mapping[str, Domain], directions: Any) -> None:
        super().__init__()
        if any(domain.kind == "labels" for domain in domains.values()):
            raise UserError("it makes images alone.")
        self.networks = nn.ModuleDict(
            {f"{s}{t}": nn.Conv2d(domains[s].channels, domains[t].channels, 1) for s, t in directions}
        )

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({t: self.networks[f"{source}{t}"](x)[:, :, source == t :] for t in targets})


def test_a_factory_may_refuse_to_translate_a_domain_into_itself() -> None:
    registry = Registry(plugins={"mine": Plugin(generator=across)})
    with pytest.raises(AssertionError, match="it makes images, so it cannot translate into the labels"):
        check_generator(across, domains={"a": toy.Stripes().domains["a"], "b": Domain("map", "labels", 3)})
    found = outcomes(registry)
    assert [str(result.error) for result in found.values() if result.error] == []
    skipped = {check: result.skipped for (_, check), result in found.items() if result.skipped}
    assert list(skipped) == ["identities"]
    assert skipped["identities"].startswith(
        "its factory refuses to translate a domain into itself, which is allowed. It says: a domain"
    )
    check_plugin("mine", registry=registry)
    with pytest.raises(AssertionError, match=r"identities: a→a: the image has shape \(2, 3, 31, 32\), expected"):
        check_generator(Swapping)


class Remembering(nn.Module):
    """Exposes a latent, and does not take it back."""

    exposes = frozenset({"latent"})
    divisor = 1

    def __init__(self, *, domains: Mapping[str, Domain], directions: Any) -> None:
        super().__init__()
        self.inner = per_direction(toy.ToyNet)(domains=domains, directions=directions)

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation(self.inner(x, source, *targets).images, {"latent": 2 * x})


def test_the_latent_is_given_only_to_a_generator_that_takes_it() -> None:
    check_generator(Remembering)


class Labelled(toy.Stripes):
    """Every sample has a number beside its pictures."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {**super().__getitem__(index), "id": torch.tensor(index)}


class Ragged(toy.Stripes):
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {**super().__getitem__(index), "id": torch.zeros(index)}


class Needy(toy.Stripes):
    def __init__(self, *, root: str) -> None:
        super().__init__()


class Counting(toy.ToyLoss):
    """Wants that number."""

    def __init__(self, *, domains: Mapping[str, Domain]) -> None:
        super().__init__(domains=domains)
        self.needs = Needs((("a", "b"),), paired=True, conditional=True, wants=frozenset({"id"}))

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms = super().generator_terms(D, batch, images)
        return terms | {"l1": terms["l1"] * (1 + batch["id"].float().mean())}


def test_a_loss_that_wants_more_of_a_sample_takes_it_from_its_plugin_s_data_set() -> None:
    def found(**components: Any) -> dict[tuple[str, str], Result]:
        return outcomes(Registry(plugins={"mine": Plugin(loss=Counting, **components)}))

    assert not any(result.error or result.skipped for result in found(dataset=Labelled).values())
    check_loss(Counting, dataset=Labelled)
    alone = found()["loss", "bare_callables"]
    assert alone.error is None
    assert alone.skipped.startswith("it wants 'id' in its batches, and the kit knows no data set that has it. Register one in")
    assert "dataset 'it' has no 'id'" in found(dataset=toy.Stripes)["loss", "bare_callables"].skipped
    assert "Give it with --set dataset.it.root=VALUE" in found(dataset=Needy)["loss", "bare_callables"].skipped
    assert "do not fit in a batch" in str(found(dataset=Ragged)["dataset", "samples"].error)


def test_the_table_says_a_reason_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    install(monkeypatch, Registry(plugins={"mine": Plugin(dataset=Needy, loss=Counting, generator=across)}))
    assert call(monkeypatch, "plugins", "test", "mine") == 1
    table = capsys.readouterr().out
    assert table.count("it cannot be built without the option 'root'. Give it with --set dataset.it.root=VALUE, in a test") == 2
    assert table.count("as for typed") == 3
    assert table.count("skipped  as for declared") == 5
    monkeypatch.setattr(Needy, "small", {"root": "."}, raising=False)
    assert call(monkeypatch, "plugins", "test", "mine") == 0


def uncertain(*, domains: Mapping[str, Domain], conditions: Mapping[str, Domain]) -> nn.Module:
    """Breaks where it is to judge with a condition."""
    if conditions:
        raise ValueError("no such channels")
    return per_domain(toy.ToyJudge)(domains=domains, conditions=conditions)


def reluctant(*, domains: Mapping[str, Domain], conditions: Mapping[str, Domain]) -> nn.Module:
    """Refuses that."""
    if conditions:
        raise UserError("it judges images alone.")
    return per_domain(toy.ToyJudge)(domains=domains, conditions=conditions)


def test_a_judge_may_refuse_conditions_and_not_break_on_them() -> None:
    check_discriminator(reluctant)
    with pytest.raises(AssertionError, match="for a 3 channels, b 3 channels, its factory fails: ValueError: no such channels"):
        check_discriminator(uncertain)


class Divided(toy.ToyNet):
    def forward(self, x: Tensor) -> Tensor:
        check_sides(x, 4, 4, "generator 'it'", "Change the crop.")
        return super().forward(x)


def test_a_size_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, Registry(plugins={"mine": Plugin(generator=per_direction(Divided), dataset=Labelled)}))
    assert call(monkeypatch, "plugins", "test", "mine", "--size", "5") == 2
    said = capsys.readouterr().err
    assert said.startswith("i2i: --size 5: generator 'it': an image of 5x5 px (width x height) does not fit")
    assert call(monkeypatch, "plugins", "test", "mine", "--size", "8") == 0


def test_a_loss_sees_pictures_of_the_size_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(domain: Domain, batch: int, height: int, width: int, seed: int = 0) -> Tensor:
        seen.add((height, width))
        return image(domain, batch, height, width, seed)

    seen: set[tuple[int, int]] = set()
    monkeypatch.setattr("i2i.testing.losses.image", noted)
    check_loss(toy.ToyLoss, size=8, domains=toy.Stripes().domains)
    assert seen == {(8, 8)}


def test_a_missing_option_is_refused_by_the_matrix_in_the_kit_s_words() -> None:
    def wide(*, domains: Any, directions: Any, width: int) -> nn.Module:
        return per_direction(toy.ToyNet)(domains=domains, directions=directions, width=width)

    (cell, *_) = cells_of(Choice(Registry(plugins={"toys": toy, "mine": Plugin(generator=wide)}), {}, size=16, plugin="mine"))
    assert cell.result == "refused"
    assert cell.reason.startswith(
        "generator 'it': it cannot be built without the option 'width'. Give it with --set generator.it"
    )


class Tossing(toy.ToyLoss):
    """Does without its L1 term now and then, and looks at its numbers in several ways."""

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms = super().generator_terms(D, batch, images)
        if torch.rand(1) < 0.5 or random.random() < 0.1:
            terms["l1"] = terms["l1"] * torch.rand(1, device=batch["a"].device).squeeze()
        one = int(torch.randint(len(batch["a"]), (1,)))
        return terms | {"one": torch.randn(2)[one].abs() * images["fake"][one].square().mean()}


class Breaking(Tossing):
    def translate(self, G: Generator, batch: Batch) -> Images:
        if torch.rand(2).max() < 0:
            return {}
        raise ValueError("it breaks in any case")


class Demanding(Tossing):
    """Needs values, and refuses them."""

    def translate(self, G: Generator, batch: Batch) -> Images:
        if torch.rand(1) < 2:
            raise UserError("these are not my values.")
        return {}


def cells(loss: Any) -> list[Cell]:
    registry = Registry(plugins={"toys": toy, "mine": Plugin(loss=loss)})
    return [cell for cell in cells_of(Choice(registry, {}, size=16, plugin="mine")) if cell.generator == "toy"]


def test_numbers_that_are_drawn_and_looked_at_do_not_crash_the_matrix() -> None:
    assert {(cell.result, cell.reason) for cell in cells(Tossing)} == {("trains", "")}
    assert {cell.result for cell in cells(Breaking)} == {"crashed"}
    assert {cell.reason for cell in cells(Breaking)} == {"loss 'it' fails in translate: ValueError: it breaks in any case"}
    refused = "it cannot run on the meta device, and on the CPU: these are not my values."
    assert {(cell.result, cell.reason) for cell in cells(Demanding)} == {("refused", refused)}


def test_the_matrix_says_what_a_loss_wants() -> None:
    (cell,) = {cell._replace(data="") for cell in cells(Counting)}
    assert cell.result == "refused"
    assert cell.reason.startswith("loss 'it' wants 'id' in its batches, and the matrix only has images and labels.")


class Phased(toy.ToyLoss):
    """From 30 % of the run on its adversarial term is another one; with *width* that one does not fit the pictures."""

    networks = ()

    def __init__(self, *, domains: Mapping[str, Domain], gan: Weight = 1.0, width: int = 16) -> None:
        super().__init__(domains=domains, conditional=False)
        del self.head
        self.gan, self.width, self.late = gan, width, False

    def begin(self, step: int, steps: int) -> None:
        assert step < steps
        self.late = step >= 0.3 * steps

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        verdict = D(images["fake"], "b")[0][-1]
        if self.late:
            verdict = verdict * torch.ones(verdict.shape[-1] * self.width // 16)
        return {"gan": self.gan * (2 + self.late) * verdict.square().mean()}


class Untimed(Phased):
    def begin(self, step: int) -> None:  # type: ignore[override]
        """It lacks the number of steps."""


def test_every_phase_of_a_loss_is_tried(tmp_path: Path) -> None:
    check_loss(Phased)
    with pytest.raises(AssertionError, match=r"fails after 5 of 10 steps with plain functions .*The size of tensor"):
        check_loss(Phased, options={"width": 8})
    with pytest.raises(AssertionError, match=r"begin\(0, 10\) fails \(TypeError: .*it gets the number of steps made"):
        check_loss(Untimed)
    phased, untimed = (toy.registry(mine=Plugin(loss=loss)) for loss in (Phased, Untimed))
    toy.trained(tmp_path, "loss.name=it", plugins=phased, out="good")
    with pytest.raises(UserError, match=r"^in step 3 of 6: loss 'it' fails in generator_terms: RuntimeError"):
        toy.trained(tmp_path, "loss={name: it, width: 8}", plugins=phased)
    with pytest.raises(UserError, match=r"^loss 'it' fails in begin: TypeError"):
        toy.trained(tmp_path, "loss={name: it}", plugins=untimed)
    assert not (tmp_path / "out").exists()


class Pretending(toy.ToyLoss):
    """It asks for an extra that its plugin's generator has under another name."""

    def __init__(self, *, domains: Mapping[str, Domain]) -> None:
        super().__init__(domains=domains, extra="codes")

    def translate(self, G: Generator, batch: Batch) -> Images:
        made = G(batch["a"], "a", "b")
        return {"fake": made.image + made.extras["codes"].mean() + made.extras["codes"].reshape(len(made.image), 3, 1, 1)}


def test_a_loss_that_fails_with_its_plugin_s_networks_too_is_told_how() -> None:
    registry = toy.registry(mine=Plugin(loss=Pretending, generator=per_direction(toy.ToyNet)))
    failed = outcomes(registry)["loss", "bare_callables"].error
    assert re.search(
        r"plain functions.*invalid for input.* With the networks of its plugin: it fails .*KeyError: 'codes'", str(failed)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "generator"}, "'order' is 'generator', and must be 'generator_first' or 'discriminator_first'."),
        ({"networks": ("haed",)}, "'networks' names 'haed', which is not a module of the loss. Did you mean 'head'?"),
        ({"networks": ()}, "'head.weight' is not trained: list its module in 'networks', or make it a buffer."),
    ],
)
def test_what_a_loss_says_of_itself_is_checked_by_the_run_and_the_kit(
    tmp_path: Path, change: Mapping[str, Any], message: str
) -> None:
    class Wrong(toy.ToyLoss):
        def __init__(self, *, domains: Mapping[str, Domain]) -> None:
            super().__init__(domains=domains)
            vars(self).update(change)

    with pytest.raises(AssertionError, match=re.escape(message)):
        check_loss(Wrong)
    with pytest.raises(UserError, match=re.escape(f"loss 'it' of the plugin 'mine': {message}")):
        toy.trained(tmp_path, "loss.name=it", plugins=toy.registry(mine=Plugin(loss=Wrong)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"directions": (("a", "b"),), "extras": "cam"}, r"'extras' must be a set of names.*not text"),
        ({"directions": ("a", "b")}, r"'a' is not a direction. Give pairs of keys"),
    ],
)
def test_needs_are_sets_and_pairs(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Needs(**given)
