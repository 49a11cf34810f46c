"""A run that goes wrong is warned about; trackers that fail are left alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import i2i_watch
import toy
from i2i.errors import UserError
from i2i.protocols import Translation
from i2i.registry import Registry, hookimpl
from i2i.training.state import Run
from i2i.training.tracking import check_trackers
from i2i_watch import health


def trained(folder: Path, *overrides: str, registry: Registry | None = None, resume: bool = False) -> Run:
    return toy.trained(folder, *overrides, plugins=registry or toy.registry(watch=i2i_watch), resume=resume)


def log(folder: Path) -> str:
    return (folder / "out" / "log.txt").read_text()


def test_updates_without_finite_gradients_can_be_skipped(tmp_path: Path) -> None:
    run = trained(tmp_path, "loss.explode_at=3", "train.non_finite=skip", "log.every=1")
    assert run.skipped == 1
    assert all(bool(p.isfinite().all()) for p in run.bare_generator.parameters())
    assert "step 3: an update was skipped" in log(tmp_path)
    assert json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])["skipped"] == 1


def test_samples_are_named_by_the_data_set(tmp_path: Path) -> None:
    run = trained(tmp_path)
    assert run.drawn_at(1).startswith("samples ")
    run.parts.dataset.sample_name = lambda index: f"{index}.png"
    assert run.drawn_at(1).count(".png") == 2


def generator(make: Callable[[torch.Tensor], torch.Tensor], power: float = 1.0) -> Registry:
    """One that makes its pictures of the input alone; with a *power* below 1 its gradients are not finite."""

    class Odd(torch.nn.Module):
        exposes: frozenset[str] = frozenset()
        divisor = 1

        def __init__(self, *, domains: Any, directions: Any) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor, source: str, *targets: str) -> Translation:
            return Translation(dict.fromkeys(targets, make(x) + (0 * self.weight) ** power))

    class Plugin:
        @hookimpl
        def register_generators(self) -> dict[str, Any]:
            return {"odd": Odd}

    return toy.registry(odd=Plugin(), watch=i2i_watch)


def test_a_generator_that_ignores_its_input_is_noticed_once(tmp_path: Path) -> None:
    pattern = torch.rand(1, 3, 16, 16) * 2 - 1
    registry = generator(lambda x: pattern.expand_as(x))
    trained(tmp_path, "generator={name: odd}", "samples={every: 1, count: 2}", registry=registry)
    assert log(tmp_path).count("plain to negative: the pictures are alike for every input") == 1


def test_a_constant_picture_is_noticed(tmp_path: Path) -> None:
    trained(tmp_path, "generator={name: odd}", registry=generator(torch.zeros_like))
    assert log(tmp_path).count("plain to negative: every picture has a single colour") == 1


def test_a_discriminator_that_has_won_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 3)
    monkeypatch.setattr(health, "WON", 100.0)
    trained(tmp_path)
    assert log(tmp_path).count("it has won and teaches the generator little") == 1


def test_a_rate_of_zero_is_noticed(tmp_path: Path) -> None:
    trained(tmp_path, "train.schedule={name: constant_then_linear, start: 2, end: 4}")
    assert log(tmp_path).count("step 4: the learning rate of the generator is 0") == 1


def test_a_healthy_run_is_left_in_peace(tmp_path: Path) -> None:
    trained(tmp_path)
    assert "warning" not in log(tmp_path)


def test_out_of_memory_names_the_batch_and_what_to_try(tmp_path: Path) -> None:
    class Full:
        @hookimpl
        def step_ended(self, run: Run) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

    registry = toy.registry()
    with (
        registry.subscribed(Full()),
        pytest.raises(UserError, match=r"batches of 2 \(plain 3 x 16 x 16.*--resume and train.batch_size: 1, train.acc"),
    ):
        trained(tmp_path, registry=registry)


def test_metrics_hold_rates_norms_and_waiting(tmp_path: Path) -> None:
    trained(tmp_path)
    line = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[0])
    assert line["lr_generator"] == 2e-4
    assert line["gradient_norm_generator"] > 0
    assert line["gradient_norm_discriminator"] > 0
    assert 0 <= line["waiting"] < 1


def test_tensorboard_gets_curves_and_grids(tmp_path: Path) -> None:
    trained(tmp_path, "log.trackers=[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "out" / "tracking"))
    events.Reload()
    assert [event.step for event in events.Scalars("gan")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events.Images("samples")] == [0, 3, 6]
    assert "warning" not in log(tmp_path)


def test_a_tracker_that_fails_never_ends_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("accelerate.tracking.TensorBoardTracker.log", fail)
    assert trained(tmp_path, "log.trackers=[tensorboard]").step == 6
    assert log(tmp_path).count("the tracker 'tensorboard' failed and is turned off (ConnectionError: no route)") == 1


def test_trackers_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no tracker 'tensorbord'. Did you mean 'tensorboard'"):
        trained(tmp_path, "log.trackers=[tensorbord]")
    with pytest.raises(UserError, match="pip install"):
        check_trackers(["dvclive"])
    assert not (tmp_path / "out").exists()


def test_the_report_shows_the_curves_and_the_newest_grid(tmp_path: Path) -> None:
    trained(tmp_path)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<title>out: step 6 of 6</title>" in page
    assert 'alt="the sample grid of step 6"' in page
    assert "when the run ended." in page
    assert (
        page.count('<figure id="chart-')
        == len(json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])) - 1
    )
