"""Runs side by side: figures of one protocol in one column, intervals, a grid, curves, recipe differences."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

import i2i_metrics
import toy
from i2i.cli import app
from i2i.errors import UserError
from i2i.metrics import Figure, PerImage, Seen
from i2i.registry import Registry, hookimpl
from i2i_evaluate.comparison import Subject, columns, compare, differences, interval, short_names
from i2i_evaluate.comparison_page import best, cell, render
from i2i_evaluate.evaluation import RESULTS, Result


class Contrast(PerImage):
    """A metric of somebody who forgot to say in its protocol what its options were."""

    def __init__(self, *, power: float = 1.0, kind: Literal["plain", "odd"] = "plain") -> None:
        super().__init__("contrast")
        self.power = power

    def measure(self, seen: Seen) -> dict[str, Tensor]:
        return {"contrast": seen.made.std((1, 2, 3)) ** self.power}


class Another:
    @hookimpl
    def register_metrics(self) -> dict[str, Any]:
        return {"contrast": Contrast}


REGISTRY = Registry(plugins={"toys": toy, "metrics": i2i_metrics, "another": Another()})
METRICS = ["psnr", "l1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ in the generator's width and in EMA, and a third on pictures of another size."""
    folder, found = tmp_path_factory.mktemp("runs"), []
    for name, more in {"one": [], "two": ["generator.width=8"], "three": ["dataset.size=20", "train.ema=null"]}.items():
        toy.trained(folder, *more, out=name, plugins=REGISTRY)
        found.append(folder / name)
    return found


def test_figures_of_one_protocol_share_a_column_and_others_do_not(runs: list[Path]) -> None:
    found = compare(runs, REGISTRY, metrics=METRICS)
    assert [subject.name for subject in found.subjects] == ["one", "two", "three"]
    filled = {name: [] for name in METRICS}
    for (name, _), figures in found.columns.items():
        filled[name].append([figure is not None for figure in figures])
    assert all(sorted(rows) == [[False, False, True], [True, True, False]] for rows in filled.values())


@pytest.mark.parametrize("other", ["{name: contrast, power: 2}", "{name: contrast, kind: odd}", "{name: contrast}"])
def test_a_metric_with_other_options_has_a_column_of_its_own(runs: list[Path], tmp_path: Path, other: str) -> None:
    """Whether or not the metric says so itself; a default that is spelt out is no other setting."""
    paths = []
    for name, metric in (("default", "{name: contrast, power: 1.0}"), ("other", other)):
        shutil.copytree(runs[0], tmp_path / name)
        path = tmp_path / name / "model" / "config.json"
        config = json.loads(path.read_text())
        config["extra"]["recipe"]["evaluate"] = {"metrics": [yaml.safe_load(metric)]}
        path.write_text(json.dumps(config))
        paths.append(tmp_path / name)
    found = compare(paths, REGISTRY).columns
    same = other == "{name: contrast}"
    rows = sorted([figure is not None for figure in row] for row in found.values())
    assert rows == ([[True, True]] if same else [[False, True], [True, False]])


@given(st.lists(st.tuples(st.sampled_from("pq"), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=12, unique=True))
@settings(max_examples=40, deadline=None)
def test_no_column_ever_mixes_protocols(drawn: list[tuple[str, int, int]]) -> None:
    """Figures (name, protocol, run): every one is in just one column, whose figures all have its protocol."""
    figures = [Figure(name, 1.0, "lower", {"seed": seed}) for name, seed, _ in drawn]
    subjects = [
        Subject(str(run), Path(), Result("", "", 0, [f for f, d in zip(figures, drawn, strict=True) if d[2] == run]), {}, [])
        for run in (0, 1)
    ]
    found = columns(subjects)
    for (name, _), row in found.items():
        there = [figure for figure in row if figure is not None]
        assert {figure.name for figure in there} == {name}
        assert len({json.dumps(figure.protocol) for figure in there}) == 1
    assert sum(figure is not None for row in found.values() for figure in row) == len(drawn)


def test_a_page_holds_everything_in_one_file(runs: list[Path]) -> None:
    found = compare(runs, REGISTRY, metrics=METRICS, pictures=3)
    page = render(found)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    for words in (
        "psnr A",
        "psnr B",
        "generator.width",
        "train.ema",
        "<b>gan</b>",
        "From plain to negative.",
        "step 6",
        " to ",
        "from the split test.",
        "Pictures of 16 x 16 pixels of the data set stripes (",
    ):
        assert words in page, words
    assert found.grid is not None
    assert found.grid.width > 5 * 96
    assert not found.notes
    assert page.count('class="best"') == 2


def test_what_eval_has_found_is_used_again_while_the_model_is_the_same(runs: list[Path]) -> None:
    compare(runs[:2], REGISTRY)
    stored = runs[0] / RESULTS
    data = json.loads(stored.read_text())
    data["figures"][0]["value"] = 123.0
    stored.write_text(json.dumps(data))
    assert compare(runs[:2], REGISTRY).subjects[0].result.figures[0].value == 123.0
    stored.write_text(json.dumps({**data, "format": 1}))  # of an i2i that measured otherwise
    assert compare(runs[:2], REGISTRY).subjects[0].result.figures[0].value != 123.0
    stored.write_text("[" * 100_000)
    assert compare(runs[:2], REGISTRY).subjects[0].result.figures[0].value != 123.0
    stored.write_text(json.dumps({**data, "weights_sha256": "of another model"}))
    assert compare(runs[:2], REGISTRY).subjects[0].result.figures[0].value != 123.0


def test_bad_input_is_explained(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two runs"):
        compare(runs[:1], REGISTRY)
    with pytest.raises(UserError, match="named twice"):
        compare([runs[0], runs[0]], REGISTRY)
    with pytest.raises(UserError, match="no such run folder"):
        compare([runs[0], tmp_path / "none"], REGISTRY)


def test_short_names_tell_runs_apart() -> None:
    assert short_names([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    assert short_names([Path("/x/one/model"), Path("/x/two/model")]) == ["one/model", "two/model"]


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=60))
@settings(max_examples=30, deadline=None)
def test_an_interval_holds_the_mean_and_is_always_the_same(values: list[float]) -> None:
    images = dict(enumerate(values))
    low, high = interval(images)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert (low, high) == interval(dict(reversed(images.items())))


def test_an_interval_is_as_wide_as_theory_says() -> None:
    """1.96 standard errors on each side, for many normal values."""
    values = np.random.default_rng(3).normal(5, 2, 400)
    low, high = interval(dict(enumerate(values)))
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_cells_and_the_best() -> None:
    one, two = Figure("x", 1.0, "lower", spread=0.25), Figure("x", 2.0, "lower", images={0: 1.0, 1: 3.0})
    assert (cell(one), cell(None)) == ("1 ± 0.25", "-")
    assert cell(two).startswith("2 (1 to 3")
    assert best([one, two, None]) is one
    assert best([one, None]) is None


def test_differences_are_by_dotted_key() -> None:
    first, second = {"a": {"b": 1, "c": [1]}, "same": 2}, {"a": {"b": 2, "c": [1]}, "same": 2, "new": None}
    assert differences([first, second]) == {"a.b": ["1", "2"], "new": ["-", "null"]}


def test_a_model_of_another_direction_is_named_and_not_in_the_grid(runs: list[Path], tmp_path: Path) -> None:
    back = tmp_path / "back"
    shutil.copytree(runs[0] / "model", back)
    config = json.loads((back / "config.json").read_text())
    (back / "config.json").write_text(json.dumps({**config, "directions": [["b", "a"]]}))
    weights = load_file(back / "model.safetensors")
    save_file({name.replace("a_b", "b_a"): weight for name, weight in weights.items()}, back / "model.safetensors")
    found = compare([runs[0], back], REGISTRY, metrics=["l1"], changed=True)
    assert found.notes == ["back is not in the grid: it does not translate plain → negative."]
    assert len(found.columns) == 2


def test_the_command_writes_a_page(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i.registry.default_registry", lambda: REGISTRY)
    page, kept = tmp_path / "page.html", toy.with_best(Path(shutil.copytree(runs[0], tmp_path / "kept")))
    done = CliRunner().invoke(app, ["compare", *map(str, [*runs[1:], kept]), "--metrics", "psnr", "--out", str(page)])
    assert done.exit_code == 0, done.output
    assert "psnr A" in done.output
    assert "of the data set stripes (" in done.output
    assert page.read_text().startswith("<!doctype html>")
    for text in (done.output, page.read_text()):
        words = re.sub(r"<[^>]*>|\s+", " ", text)
        assert re.search(r"kept.*4 pictures of the split val, best by psnr.*best, step 3 +last, step 6", words)
        assert re.search(r"psnr +higher +20 +12\.5 +l1 +lower +0\.1 +-", words)
