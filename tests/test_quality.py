"""The benchmark of quality: from arms as data to a page, with figures that are right and nothing done twice."""

import dataclasses
import importlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from i2i.errors import UserError
from i2i_metrics.kid import discrepancy

MODULES = ("arms", "settings", "held", "figures", "tables", "targets", "runs", "steptime", "sheets", "page", "quality")
TINY: dict[str, Any] = {
    "generator": {"name": "unet", "width": 2, "downs": 5},
    "discriminator": {"name": "patchgan", "width": 2},
    "loss": {"name": "pix2pix"},
    "train": {},
}


class Colours(nn.Module):
    """Stands for a network: the mean and the spread of the colours."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        found = torch.cat((x.mean((2, 3)), x.std((2, 3))), 1)
        return found if y is None else (found - self(y)).square().sum(1)


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The modules of the benchmark; one use with two arms and a trial, and a cheap network in place of the two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks" / "quality"))
        found = SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        ladder = {"batch 2": {"train.batch_size": 2}}
        tried = {"two judges": ("batch 2", {"discriminator.norm": "instance", "train.discriminator": {"lr": 1e-3}})}
        use = dataclasses.replace(found.arms.PIX2PIX, minutes=0.001, published=TINY, ladder=ladder, tried=tried)
        patch.setitem(found.arms.USES, "sketch2photo", use)
        patch.setattr(found.held, "FIT", 8)
        patch.setattr(found.figures, "extractor", lambda net: Colours())
        patch.setattr(found.figures, "distance", lambda net: Colours())
        yield found
        for name in MODULES:
            patch.delitem(sys.modules, name)


@pytest.fixture(scope="module")
def measured(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two arms, trained for two steps and measured, as if from two seeds."""
    out = tmp_path_factory.mktemp("quality")
    for arm in ("published", "batch 2"):
        job = bench.runs.Job("sketch2photo", arm, 0, 2)
        bench.runs.train_one(out, job, "val")
        shutil.copytree(job.folder(out), job._replace(seed=1).folder(out))
    bench.runs.measure_maps(out, ["sketch2photo"], "val")
    return out


def test_the_distance_of_places_is_the_kernel_distance_without_pairs_of_one_place(bench: Any) -> None:
    x, y = (torch.randn(9, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) + i for i in (0, 1))
    blocks = bench.figures.blocks(x, y).numpy()
    kernel = (x[:, 0] @ y[:, 0].T / 4 + 1) ** 3
    own = 2 * float(kernel.mean()) - 2 * float((kernel.sum() - kernel.trace()) / 72)
    assert bench.tables.kernel_distance(blocks) == pytest.approx(discrepancy(x[:, 0], y[:, 0]) + own)
    twice = np.array([2.0, 2, 2, 0, 0, 0, 0, 0, 0])
    assert bench.tables.kernel_distance(blocks, twice) == pytest.approx(bench.tables.kernel_distance(blocks[:3, :3]))


def test_a_place_does_not_cover_its_own_truth(bench: Any) -> None:
    near = torch.arange(6, dtype=torch.float64).reshape(6, 1, 1).expand(6, 2, 1).clone()
    assert bench.figures.covered(near, near).tolist() == [1] * 6
    far = near.clone()
    far[0] = 100
    assert bench.figures.covered(far, far).tolist()[0] == 0


def test_lights_count_within_their_reach(bench: Any) -> None:
    made, true = -torch.ones(3, 20, 20), -torch.ones(3, 20, 20)
    true[:, 5, 5] = made[:, 5, 8] = made[:, 15, 15] = 1
    counts = bench.figures.lights(made, true)
    assert counts == [2, 1, 1, 1]
    assert bench.tables.light_score(np.array([counts])) == pytest.approx(2 / 3)
    assert bench.tables.light_score(np.array([bench.figures.lights(-torch.ones(3, 20, 20), true)])) == 0


def test_rungs_add_up_and_lengths_in_steps_are_scaled(bench: Any) -> None:
    change = {"train.ema": None, "generator.width": 3, "loss.0.gan": 2}
    laid = bench.settings.laid({"train": {"ema": 0.9}, "generator": {}, "loss": [{"name": "pix2pix"}]}, change)
    assert laid == {"train": {}, "generator": {"width": 3}, "loss": [{"name": "pix2pix", "gan": 2}]}
    judges = [{"name": "a"}, {"name": "b", "from": 300}]
    assert bench.settings._scaled(judges, 2.5) == [{"name": "a"}, {"name": "b", "from": 750}]
    assert bench.settings._scaled(judges, 0) == [{"name": "a"}, {"name": "b"}]
    assert bench.settings.changes("sketch2photo", "batch 2", "published") == ["train.batch_size: 2 (was not set)"]
    for name in bench.arms.USES:
        for arm in bench.settings.arms_of(name):
            assert bench.settings.recipe_of(name, arm, 40).train.steps == 40


def test_what_is_done_is_not_done_again(bench: Any, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = bench.runs.Job("sketch2photo", "batch 2", 1, 2)
    assert job.is_done(measured, "val", list(bench.arms.EXTRACTORS))
    assert not job.is_done(measured, "val", ["another"])
    monkeypatch.setattr(bench.runs, "run_recipe", None)
    monkeypatch.setattr(bench.runs, "translated", None)
    bench.runs.train_one(measured, job, "val", [*bench.arms.EXTRACTORS, "another"])
    assert job.is_done(measured, "val", ["another"])
    monkeypatch.setitem(bench.arms.USES["sketch2photo"].ladder, "batch 2", {"train.batch_size": 3})
    with pytest.raises(UserError, match="other settings of this arm: remove the folder"):
        bench.runs._begun_steps(job, measured)


def test_the_page_has_the_figures_and_marks_what_an_arm_has_seen(
    bench: Any, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = list(bench.arms.EXTRACTORS)[-1]  # of the second table, whose rows are kept below
    monkeypatch.setattr(bench.tables, "has_seen", lambda name, arm, which: (arm, which) == ("batch 2", net))
    page = bench.page.page_of(measured, ["sketch2photo"])
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert [name for name in rows if name in ("untranslated", "affine colours", "published", "batch 2")] == list(rows)[2:6]
    assert rows["batch 2"].count("†") == 4
    assert rows["published"].count("†") == 0
    assert "`test` has not been measured yet" in page
    table = {row.arm: row for row in bench.tables.rows_of(measured, "sketch2photo", "val")}
    found = bench.tables.ratio(table, "sketch2photo", f"kid[{net}]", arm="batch 2")
    ours, theirs = (table[arm].values(f"kid[{net}]") for arm in ("batch 2", "published"))
    assert found.whole == pytest.approx(sum(ours) / sum(theirs))
    assert found.interval[0] < found.whole < found.interval[1]
    assert not found.clean


def test_targets_are_compared_with_what_was_asked(bench: Any) -> None:
    net = next(iter(bench.arms.EXTRACTORS))

    def row(arm: str, right: int, lpips: Sequence[float]) -> Any:
        places = np.array([1.0] * right + [0.0] * (10 - right))
        return bench.tables.Row(arm, [{f"retrieval[{net}]": places, f"lpips[{net}]": np.full(10, x)} for x in lpips])

    rows = [row("untranslated", 4, [5.0]), row("published", 2, [6, 6.1]), row("recipe", 7, [4, 4.1])]
    first, second = (line for line in bench.targets.reached({"noto2flat": rows}) if "noto2flat, " in line)
    assert first.startswith("reached: ")
    assert "30.0% (published 80.0%, untranslated 60.0%); wanted 40.0%" in first
    assert second.startswith("reached: ")
    rows[2] = row("recipe", 5, [4.9, 5.0])
    assert all(line.startswith("missed: ") for line in bench.targets.reached({"noto2flat": rows}) if "noto2flat, " in line)


def test_a_network_is_seen_where_a_default_names_it(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.arms.USES["sketch2photo"].tried, "frozen", ("published", {"discriminator": {"name": "timm"}}))
    seen = [bench.settings.has_seen("sketch2photo", arm, "efficientnet_lite2") for arm in ("published", "frozen")]
    assert seen == [False, True]
    assert not bench.settings.has_seen("sketch2photo", "frozen", "thin_resnet50")


def test_test_is_measured_once(bench: Any, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.runs, "measure", lambda *given: None)
    monkeypatch.setattr(bench.runs, "measure_maps", lambda *given: None)
    bench.runs.measure_test(measured, ["sketch2photo"], [], [], force=False)
    assert "`test` was measured once, at the end" in bench.page.page_of(measured, ["sketch2photo"])
    with pytest.raises(UserError, match="--force measures once more"):
        bench.runs.measure_test(measured, ["sketch2photo"], [], [], force=False)
    bench.runs.measure_test(measured, ["sketch2photo"], [], [], force=True)
    assert "`test` was measured 2 times" in bench.page.page_of(measured, ["sketch2photo"])


def test_minutes_are_steps_by_the_time_of_one(bench: Any, tmp_path: Path) -> None:
    seconds = bench.steptime.measure("sketch2photo", "published", blocks=1)
    assert 0 < seconds["cpu"] < 1
    with pytest.raises(UserError, match="its step was not timed"):
        bench.steptime.steps_of(tmp_path, "sketch2photo", "published", 1)
    settings = bench.settings.fingerprint("sketch2photo", "published")
    times = {"sketch2photo": {"published": {"wall": 0.25, "cpu": 0.5, "settings": settings}}}
    (tmp_path / "times.json").write_text(json.dumps(times))
    assert bench.steptime.steps_of(tmp_path, "sketch2photo", "published", 2) == 480
    assert bench.steptime.steps_of(tmp_path, "sketch2photo", "published", 2, "cpu") == 240


def test_sheets_are_drawn(bench: Any, measured: Path) -> None:
    paths = bench.sheets.draw_all(measured, "sketch2photo", "val")
    assert [path.name for path in paths] == [f"sketch2photo-val-{arm}-0.png" for arm in ("published", "batch-2", "all")]


def test_the_better_and_the_worse_half_of_the_results_are_drawn_side_by_side(
    bench: Any, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(bench.sheets, "distance", lambda net: Colours())
    monkeypatch.setattr(bench.sheets, "contact_sheet", lambda columns: drawn.extend(columns) or Image.new("RGB", (1, 1)))
    model = bench.settings.place_of(measured, "sketch2photo", "published") / "0" / "run"
    bench.sheets.draw_halves("sketch2photo", model, "val", 3, "any", tmp_path / "x.png")
    far = [Colours()(drawn[i][1], drawn[i + 1][1]) for i in (1, 4)]
    assert [name for name, _, _ in drawn] == ["sketch", "result", "true day"] * 2
    assert bool((far[0].diff() >= 0).all())
    assert bool((far[1].diff() >= 0).all())
    assert far[0].max() < far[1].min()
