"""The pages of runs: in one file, small, from the first step on, and shown by a browser that asks the network for nothing."""

import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import i2i_watch
import toy
from browsing import browsing, chromium, visiting
from i2i.errors import UserError
from i2i.hooks import hookimpl
from i2i.training.state import Run
from i2i_watch import grids, report
from i2i_watch.grids import BYTES, Grids, address
from i2i_watch.page import grouped, thinned
from i2i_watch.report import render

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with three grids, numbers of which some are not finite, and hostile text wherever there is text."""
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    for step in (0, 100, 200):
        Image.new("RGB", (400, 300), (step, 80, 80)).save(folder / "samples" / f"step-{step:08d}.png")
    lines = [
        {"step": s, "images_per_second": 3.5, "lr_generator": 2e-4, "gan": math.nan if s == 50 else 9 / s, HOSTILE: s / 7}
        for s in range(10, 201, 10)
    ]
    lines += [{"step": 200, "eval/psnr": 21.5}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "log.txt").write_text(f"{HOSTILE}\n")
    return folder


def data_of(page: str) -> Any:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_a_browser_shows_the_page_and_asks_the_network_for_nothing(run: Path) -> None:
    path = run / "report.html"
    path.write_text(render(run, f"run {HOSTILE}", "Written at noon.", f"dataset: {{name: '{HOSTILE}'}}", HOSTILE, epoch=50))
    with browsing() as browser, visiting(browser) as visit:
        page = visit.page
        page.goto(path.as_uri())
        text = page.inner_text
        assert page.title() == f"run {HOSTILE}"  # nothing of it was executed
        assert HOSTILE in text("h1")
        assert HOSTILE in text(".failed")
        assert page.locator("h3").all_inner_texts() == ["Losses", "Figures of the evaluation", "Learning rates", "Speed"]
        assert page.evaluate("document.getElementById('grid').naturalWidth") == 400
        before = page.get_attribute("#grid", "src")
        page.press("#slider", "ArrowLeft")
        assert text("#told") == "step 100"
        assert page.get_attribute("#grid", "src") != before
        plain = page.get_attribute("#chart-0-0 .curve", "d")
        assert plain.count("M") == 2  # a gap where it is not finite
        page.fill("#smoothing", "60")
        assert text("#share") == "60 %"
        assert page.get_attribute("#chart-0-0 .curve", "d") != plain
        assert text("#chart-0-0 output") == f"step 200: {smooth(60):.4g}"
        page.press("#chart-0-0 svg", "Home")  # the first step
        assert text("#chart-0-0 output").startswith("step 10: 0.9")
        page.select_option("#axis", "epoch")
        assert text("#chart-0-0 output").startswith("epoch 4: ")
        page.set_viewport_size({"width": 320, "height": 800})  # a phone's
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert visit.asked[0] == path.as_uri()
        assert visit.elsewhere(path.as_uri()) == []
        assert visit.wrong == []


@pytest.mark.parametrize(("setting", "ends"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_browser_that_is_missing_is_named(setting: str, ends: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", setting)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ends, match=r"^needs Chromium \(chromium\)$"):
        chromium()


def smooth(percent: int) -> float:
    """The last running mean of the curve ``gan``, which leaves out what is not finite."""
    share, total, weight = percent / 100, 0.0, 0.0
    for value in (9 / step for step in range(10, 201, 10) if step != 50):
        total, weight = share * total + (1 - share) * value, share * weight + 1 - share
    return total / weight


def test_a_page_of_a_hundred_grids_is_small(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise, which compresses worst, fits into its room; so does a page of a hundred grids that all fill theirs."""
    noise = Image.effect_noise((500, 400), 90)
    room = BYTES // 102
    assert len(address(noise.resize((1000, 800)), room)) <= room * 4 / 3 + 40
    small = address(noise, 9000)
    assert len(small) <= 12_040
    longest = f"data:image/webp;base64,{'A' * 4 * math.ceil(room / 3)}"
    monkeypatch.setattr(grids, "address", lambda picture, given: longest if given == room else pytest.fail("another room"))
    for step in range(300, 10_000, 100):
        (run / "samples" / f"step-{step:08d}.png").write_bytes((run / "samples" / "step-00000000.png").read_bytes())
    page = render(run, "run", "", "", expected=102)
    assert len(data_of(page)["grids"]) == 100
    assert 15e6 < len(page.encode()) < 20e6


def test_of_very_many_grids_some_are_shown_and_the_newest_come_first(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "MOST", 2)
    page = render(run, "run", "", "")
    assert [grid["step"] for grid in data_of(page)["grids"]] == [0, 200]
    assert "2 of the 3 grids are shown" in page
    monkeypatch.setattr(grids, "MOST", 200)
    kept = Grids()
    assert [step for step, _ in kept.of(run / "samples", most=2)] == [100, 200]
    assert [step for step, _ in kept.of(run / "samples", most=2)] == [0, 100, 200]
    (run / "samples" / "step-00000100.png").write_bytes(b"damaged")
    assert [step for step, _ in kept.of(run / "samples")] == [0, 200]


def test_losses_come_first_and_peaks_stay() -> None:
    lines = [{"step": 1, "lr_generator": 1, "gan": 1, "eval/psnr": 2, "waiting": 0, "gradient_norm_generator": 1}]
    groups = grouped([lines, []])
    assert [list(charts) for charts in groups.values()] == [
        ["gan"],
        ["eval/psnr"],
        ["gradient_norm_generator"],
        ["lr_generator"],
        ["waiting"],
    ]
    assert groups["Losses"]["gan"] == [[(1, 1)], []]
    points = [(float(step), 100.0 if step == 777 else math.sin(step)) for step in range(5001)]
    assert (777.0, 100.0) in thinned(points)
    assert thinned(points)[-1] == points[-1]
    assert len(thinned(points)) <= 1001


class Looks:
    """What the page says when each step has ended, and how the run failed."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failures: list[tuple[int, str]] = []

    @hookimpl
    def run_failed(self, run: Run, error: BaseException) -> None:
        self.failures.append((run.step, str(error)))

    @hookimpl
    def step_ended(self, run: Run) -> None:
        path = run.out / "report.html" if run.out is not None else Path()
        self.seen.append(path.read_text() if path.exists() else "")


def test_there_is_a_page_from_the_first_step_on_and_it_says_why_a_run_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr(report, "write_text", lambda path, text: (written.append(len(text)), path.write_text(text)))
    looks = Looks()
    with pytest.raises(UserError, match="NaN or infinite loss"):
        toy.trained(tmp_path, "log.every=1", "loss.explode_at=4", plugins=toy.registry(watch=i2i_watch), watcher=looks)
    ((step, failure),) = looks.failures
    assert (step, failure.partition(";")[0]) == (4, "step 4: NaN or infinite loss in l1")
    assert [page.count("The run failed.") for page in looks.seen] == [0, 0, 0]
    assert "was in progress; reload this page" in looks.seen[0]
    assert [grid["step"] for grid in data_of(looks.seen[0])["grids"]] == [0]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "out: step 4 of 6" in page
    assert "<b>The run failed.</b> step 4: NaN or infinite loss in l1" in page
    assert len(written) == 2  # the first, and the last: no time has passed in which there might be another


def test_a_page_that_cannot_be_written_ends_no_run_and_hides_no_failure(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(report, "write_text", full)
    noted: list[str] = []
    state = SimpleNamespace(out=run, step=3, recipe=toy.recipe(run, plugins=toy.registry()), note=noted.append)
    observer = report.Report()
    for _ in range(2):
        observer.numbers_logged(state)
    assert noted == ["warning: report.html cannot be written (No space left on device); the next one comes at the end"]
    report.Report().run_failed(state, UserError("the checkpoint cannot be written"))
    with pytest.raises(OSError, match="No space left"):
        report.Report().run_ended(state)
