"""One network for all sources, results beyond [-1, 1], several styles and their mixture, and the way back."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import i2i_translate
import terminal
import toy
from i2i.adapters import OneDirection
from i2i.building.naming import as_keywords, as_options, named
from i2i.errors import UserError
from i2i.metrics import Figure, Seen
from i2i.pictures.sheet import WIDEST
from i2i.protocols import Domain, Preparation, Translation
from i2i.recipe.components import Component
from i2i.registry import Registry, hookimpl
from i2i.training.samples import Sampling
from i2i.translation.engines import Engine
from i2i.translation.model_folder import Origin, save_model
from i2i.translation.translator import Translator
from i2i_evaluate import comparison
from i2i_evaluate.commands import print_figures
from i2i_evaluate.comparison import compare
from i2i_evaluate.held import held_out
from i2i_evaluate.measuring import Evaluation
from i2i_metrics.consistency import Cycle
from i2i_metrics.paired import L1

SEASONS = ("spring", "summer", "winter")
DOMAINS = {key: Domain(key, "image", 3) for key in SEASONS}
WAYS = tuple((source, target) for source in SEASONS for target in SEASONS if source != target)


class Added(nn.Module):
    """The image times a gain, plus the style's mean, or a drawn number; whatever the source."""

    exposes = frozenset[str]()
    accepts = frozenset({"style", "mix"})
    any_source = True
    divisor = 1

    def __init__(self, *, domains: Any, directions: Any, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain))

    def forward(
        self, x: Tensor, source: str, *targets: str, style: Tensor | None = None, mix: Tensor | None = None
    ) -> Translation:
        code = torch.rand(1) if style is None else style.mean((1, 2, 3))
        if mix is not None:
            code = (mix * code).sum(0, keepdim=True)
        return Translation(dict.fromkeys(targets, self.gain * x + code[:, None, None, None]))


class Single(Added):
    """The same, but styles are not mixed and the source counts."""

    accepts = frozenset({"style"})
    any_source = False


@hookimpl
def register_generators() -> dict[str, Any]:
    return {"added": Added, "single": Single}


def plugins() -> Registry:
    import test_styles

    return Registry({"mine": test_styles, "translate": i2i_translate, "toys": toy})


def model(make: type[Added] = Added, domains: Any = None, **options: Any) -> Translator:
    domains = domains or DOMAINS
    module = make(domains=domains, directions=WAYS, **options)
    return Translator(module, domains, WAYS, {}, torch.device("cpu"), plugins())


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


def flat(value: float, size: int = 4) -> Tensor:
    return torch.full((3, size, size), value)


def test_a_target_is_enough_where_the_source_makes_no_difference() -> None:
    made = model().translate(flat(0.25), to="summer", style=flat(0.5))
    torch.testing.assert_close(made, flat(0.75))
    assert named(DOMAINS, WAYS, WAYS[0], any_source=True) == {"to": "summer"}
    words = named(DOMAINS, WAYS, WAYS[0])  # what a run's last line and the model card say
    assert (as_options(words), as_keywords(words)) == ("--to summer --source spring", "to='summer', source='spring'")
    with pytest.raises(UserError, match=r"Choose one, for instance --to summer .in Python to='summer'."):
        model().translate(flat(0.0))
    with pytest.raises(UserError, match="Choose one, for instance --source spring"):
        model(Single).translate(flat(0.0), to="summer")
    others = {**DOMAINS, "winter": replace(DOMAINS["winter"], preparation=Preparation(range=(0, 9)))}
    with pytest.raises(UserError, match="Choose one, for instance --source spring"):  # its files become other numbers
        model(domains=others).translate(flat(0.0), to="summer")


@pytest.mark.parametrize("how", ["tensor", "tiles", "picture", "array", "engine", "bf16"])
def test_what_leaves_the_range_is_clamped_on_every_way_out(how: str) -> None:
    bright, x = model(gain=3.0), torch.linspace(-1, 1, 3 * 64 * 64).view(3, 64, 64)
    expected = (3 * x).clamp(-1, 1)
    if how == "engine":
        bright = replace(bright, engine=Engine("mine", lambda x, source, target, style: 3 * x))
    if how == "bf16":
        bright = replace(bright, precision="bf16")
    if how in ("picture", "array"):
        pixels = ((x + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        given = Image.fromarray(pixels) if how == "picture" else pixels
        made: Any = bright.translate(given, to="summer", style=flat(0.0))  # type: ignore[call-overload]
        expected = (3 * (torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1)).clamp(-1, 1)
        made = torch.from_numpy(np.array(made)).permute(2, 0, 1) / 127.5 - 1
    else:
        made = bright.translate(x, to="summer", style=flat(0.0), tile=32 if how == "tiles" else 0)
    torch.testing.assert_close(made, expected, atol=0.005, rtol=0)
    assert made.abs().max() == 1


def test_an_exported_network_is_clamped_too() -> None:
    network = OneDirection(Added(domains=DOMAINS, directions=WAYS, gain=9.0), WAYS[0], clamped=True)
    assert network(flat(1.0)[None]).max() == 1


def test_two_styles_are_mixed_by_the_share_of_the_second() -> None:
    styles = [flat(0.0), flat(0.4)]
    for share, value in ((0.0, 0.0), (0.25, 0.1), (1.0, 0.4)):
        torch.testing.assert_close(model().translate(flat(0.5), to="summer", style=styles, mix=share), flat(0.5 + value))
    whole = model().translate(torch.stack([flat(0.5), flat(-0.5)]), to="summer", style=styles, mix=0.25)
    torch.testing.assert_close(whole, torch.stack([flat(0.6), flat(-0.4)]))


@pytest.mark.parametrize(
    ("make", "styles", "mix", "says"),
    [
        (Added, [0.0], 0.5, r"mix: give two styles, and as mix the share of the second\. Styles given: 1\."),
        (Added, [], 0.5, "Styles given: 0"),
        (Added, [0.0, 0.1, 0.2], 0.5, "Styles given: 3"),
        (Added, [0.0, 0.1], 1.5, r"mix: 1.5 is not between 0 \(the first style\) and 1"),
        (Added, [0.0, 0.1], float("nan"), "mix: nan is not between 0"),
        (Single, [0.0, 0.1], 0.5, "mix: this model does not mix styles"),
    ],
)
def test_a_mixture_that_cannot_be_made(make: Any, styles: list[float], mix: float | None, says: str) -> None:
    with pytest.raises(UserError, match=says):
        model(make).translate(flat(0.0), "summer", "spring", style=[flat(value) for value in styles], mix=mix)


def test_a_list_of_styles_gives_a_list_of_results() -> None:
    made = model().translate(flat(0.1), "summer", style=[flat(0.2), flat(0.4)])
    torch.testing.assert_close(made, [flat(0.3), flat(0.5)])
    alone = model().translate(io.BytesIO(png()), "summer", style=[png(), io.BytesIO(png())])  # and each file is read once
    assert [picture.size for picture in alone] == [(4, 4)] * 2
    with pytest.raises(UserError, match="mix: give two styles, and as mix the share of the second"):
        model().translate(flat(0.0), "summer", style=(flat(0.0), flat(0.1)))


def test_styles_of_two_sizes_are_not_mixed() -> None:
    with pytest.raises(UserError, match=r"mix: the styles have the sizes 4 x 4 and 8 x 8. Scale them to the same size"):
        model().translate(flat(0.0), "summer", style=[flat(0.0), flat(0.0, 8)], mix=0.5)


def test_the_way_back_is_in_the_own_style() -> None:
    originals = torch.stack([flat(-0.5), flat(0.1)])
    home = model(gain=0.0).back(originals * 0, ("spring", "winter"), originals)
    torch.testing.assert_close(home, originals)
    way, cycle = WAYS[0], Cycle(domains=DOMAINS, direction=WAYS[0], directions=WAYS)
    seen = Seen([0, 1], way, originals, originals * 0, originals, lambda x, *_: x, lambda: home, styled=True)
    cycle.update(seen)
    (figure,) = cycle.figures()
    assert figure.value == pytest.approx(0, abs=1e-6)
    assert figure.protocol["style_back"] == "the source's own"


def test_the_command_takes_several_styles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal.install(monkeypatch, plugins())
    for name, make in (("added", Added), ("single", Single)):
        module = make(domains=DOMAINS, directions=WAYS)
        save_model(tmp_path / name, module, {"": Origin(name, "mine", "1", {})}, domains=DOMAINS, directions=WAYS)
    for place, grey in (("x.png", 100), ("styles/red.png", 128), ("styles/blue.png", 150), ("more/red.png", 140)):
        Path(place).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (grey, grey, grey)).save(place)

    def call(model: str, *arguments: str, code: int = 0) -> str:
        assert terminal.call(monkeypatch, "translate", model, "x.png", "--to", "summer", *arguments) == code
        captured = capsys.readouterr()
        return " ".join((captured.out + captured.err).replace("│", " ").split())

    def value(path: str) -> int:
        return int(np.asarray(Image.open(path))[0, 0, 0])

    both = ("--style", "styles/red.png", "--style", "styles/blue.png")
    call("added", *both, "--out", "out", "--grid")
    assert sorted(path.name for path in Path("out").iterdir()) == ["grid.png", "x-blue.png", "x-red.png"]
    assert (value("out/x-red.png"), value("out/x-blue.png")) == (101, 123)
    sheet = Image.open("out/grid.png")  # the styles above the results
    assert sheet.size == (3 * 100 + 4, 16 + 2 * 100 + 4)
    assert [sheet.getpixel((x, y))[0] for y in (60, 160) for x in (50, 150, 250)] == [255, 128, 150, 100, 101, 123]  # type: ignore[index]
    call("added", *both, "--mix", "0.5", "--out", "mixed", "--grid")
    assert sorted(path.name for path in Path("mixed").iterdir()) == ["grid.png", "x.png"]
    assert value("mixed/x.png") == 112
    call("added", "--style", "styles/red.png", "--style", "more/red.png", "--out", "twins")
    assert sorted(path.name for path in Path("twins").iterdir()) == ["x-red-1.png", "x-red-2.png"]
    assert "less than or equal to 1" in call("added", *both, "--mix", "2", "--out", "no", code=2)
    assert "mix: give two styles" in call("added", *both[:2], "--mix", "0.5", "--out", "no", code=2)
    assert "does not mix styles" in call("single", *both, "--mix", "0.5", "--source", "spring", "--out", "no", code=2)
    assert "gone.png" in call("added", *both, "--style", "gone.png", "--out", "no", code=2)
    assert not Path("no").exists()


def test_a_grid_of_many_domains_is_a_table_with_references_below() -> None:
    batch = {key: torch.full((2, 3, 200, 400), value) for key, value in zip(SEASONS, (-0.5, 0.0, 0.5), strict=True)}
    sampling = Sampling(batch, list(WAYS), aligned=False)
    picture = sampling.sheet(model(gain=0.0))
    assert picture.width <= WIDEST
    assert set(sampling.latest) == set(WAYS)
    w, h = (WIDEST - 4) // 4 - 4, round(((WIDEST - 4) // 4 - 4) / 2)
    assert picture.size == (4 * (w + 4) + 4, (16 + 6 * (h + 4) + 4) + (16 + 7 * (h + 4) + 4))
    top = 16 + 6 * (h + 4) + 4  # of the second table: the references, then the rows of spring
    line = [picture.getpixel((int((i + 0.5) * (w + 4)), top + 16 + int(1.5 * (h + 4))))[0] for i in range(4)]  # type: ignore[index]
    assert line == [64, 255, 128, 191]  # given, nothing to itself, as summer is, as winter is
    two = Sampling({key: batch[key] for key in SEASONS[:2]}, [WAYS[0]], aligned=False)
    assert two.sheet(model(gain=0.0)).height == (16 + 2 * 204 + 4) + (16 + 3 * 204 + 4)


def test_figures_say_which_direction_they_are_of(capsys: pytest.CaptureFixture[str]) -> None:
    protocol = {"split": "test"}
    figures = [Figure("l1", i / 10, "lower", {**protocol, "direction": f"{s} → {t}"}) for i, (s, t) in enumerate(WAYS)]
    print_figures(figures)
    lines = capsys.readouterr().out.splitlines()
    assert "direction" in lines[0]
    assert lines[2].split()[:4] == ["l1", "spring", "→", "winter"]
    print_figures(figures[:1])
    assert "direction" not in capsys.readouterr().out.splitlines()[0]


class Greys:
    """Pairs of flat pictures, (3, 96, 96): spring is dark, winter bright."""

    paired = True

    def __init__(self, *, split: str = "train") -> None:
        self.domains = DOMAINS

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {key: flat(value, 96) for key, value in zip(SEASONS, (-0.5, 0.0, 0.5), strict=True)}


class Picky(L1):
    """Measures no winter; with *idle* nothing."""

    def __init__(self, *, domains: Any, direction: tuple[str, str], idle: bool = False) -> None:
        super().__init__(domains=domains, direction=direction)
        if idle:
            raise UserError("it measures nothing.")
        if "winter" in direction:
            raise UserError("it is too cold.")


@hookimpl
def register_datasets() -> dict[str, Any]:
    return {"greys": Greys}


@hookimpl
def register_metrics() -> dict[str, Any]:
    return {"l1": L1, "picky": Picky}


def test_a_metric_that_is_left_out_is_said_once_for_all_its_directions() -> None:
    held = held_out(Component(name="greys"), plugins(), "test")
    picky, idle = Component(name="picky"), Component(name="picky", options={"idle": True})
    found = Evaluation(model(), held, [Component(name="l1"), picky, idle], lenient=True)
    assert found.notes == [
        "left out for every direction: metric 'picky': it measures nothing.",
        "left out for spring → winter, summer → winter, winter → spring, winter → summer: metric 'picky': it is too cold.",
    ]
    assert [len(found.metrics[way]) for way in WAYS] == [2, 1, 2, 1, 1, 1]
    one = Evaluation(model(), held, [Component(name="l1"), idle], directions=WAYS[:1], lenient=True)
    assert one.notes == ["left out for spring → summer: metric 'picky': it measures nothing."]


def test_a_comparison_shows_every_direction_or_says_which_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, make, ways in (("added", Added, WAYS), ("single", Single, WAYS[:4])):
        module = make(domains=DOMAINS, directions=ways, gain=0.0)
        save_model(tmp_path / name, module, {"": Origin(name, "mine", "1", {"gain": 0.0})}, domains=DOMAINS, directions=ways)
    data = tmp_path / "data.yaml"
    data.write_text(
        "dataset: {name: greys}\ngenerator: {name: added}\ndiscriminator: {name: judge}\nloss: {name: toy}\ntrain: {steps: 1}\n"
    )
    both, among = [tmp_path / "added", tmp_path / "single"], plugins()
    found = compare(both, among, data=data, metrics=["l1"], images=2, pictures=2)
    left = [f"single is not in the grid: it does not translate winter → {target}." for target in ("spring", "summer")]
    assert found.notes == left
    assert found.grid is not None
    assert found.grid.size == (2 * (4 * 100 + 4), 3 * (16 + 2 * 100 + 4))  # a sheet for each direction, in rows of two
    places = [(i % 2 * 404, i // 2 * 220 + 66) for i in range(6)]
    given = [found.grid.getpixel((left + 50, top))[0] for left, top in places]  # type: ignore[index]
    true = [found.grid.getpixel((left + 350, top))[0] for left, top in places]  # type: ignore[index]
    assert given == [64, 64, 128, 128, 191, 191]
    assert true == [128, 191, 64, 191, 255, 255]  # one column fewer in the last two
    monkeypatch.setattr(comparison, "MOST", 4)
    found = compare(both, among, data=data, metrics=["l1"], images=2, pictures=1)
    assert found.notes == ["the grid shows 4 of 6 directions. Left out: winter → spring, winter → summer."]
