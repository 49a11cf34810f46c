"""Evaluation of saved models and while training: protocols, bad input, one process or several, the best model kept."""

import json
import os
import re
import socket
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from typer.testing import CliRunner

import i2i_evaluate
import i2i_metrics
import i2i_watch
import toy
from forked import Forked, execute
from i2i.cli import app
from i2i.errors import UserError
from i2i.metrics import Figure
from i2i.protocols import Domain
from i2i.recipe.components import Component
from i2i.registry import hookimpl
from i2i.testing.schema import recipe_schema
from i2i.training.log import read_metrics
from i2i.training.running import closing_lines
from i2i.training.starting import ready
from i2i.training.state import Run
from i2i.translation.checkpoints import BEST
from i2i.translation.loading import load
from i2i_evaluate.evaluation import evaluate_model, own_recipe, read_result
from i2i_evaluate.held import held_out
from i2i_evaluate.kept import is_called
from i2i_evaluate.measuring import Evaluation


class Others:
    """Data that are not those of the toys, and a metric that is better at every second look."""

    @hookimpl
    def register_datasets(self) -> dict[str, Any]:
        return {"grey": Grey, "many": Many}

    @hookimpl
    def register_metrics(self) -> dict[str, Any]:
        return {"up_and_down": UpAndDown}


class Grey(toy.Stripes):
    def __init__(self) -> None:
        super().__init__()
        self.domains = {"a": Domain("grey", "image", 1), "b": Domain("negative", "image", 3)}


class Many(toy.Stripes):
    """Counts how many of its pictures are alive."""

    alive = most = 0

    def __init__(self, *, length: int = 40) -> None:
        super().__init__(length=length)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = super().__getitem__(index)
        Many.alive += 1
        Many.most = max(Many.most, Many.alive)
        weakref.finalize(sample["a"], Many._gone)
        return sample

    @staticmethod
    def _gone() -> None:
        Many.alive -= 1


class UpAndDown:
    paired, least, names, better, protocol = False, 1, ("up_and_down[x]",), "higher", {"extractor": "x"}
    looks = 0

    def update(self, seen: Any) -> None: ...

    def state(self) -> dict[str, Any]:
        return {}

    def merge(self, states: Any) -> None: ...

    def figures(self) -> list[Figure]:
        UpAndDown.looks += 1
        values = [0.0, 3.0, 1.0, 2.0, 4.0]
        return [Figure("up_and_down[x]", values[UpAndDown.looks % 5], "higher", self.protocol)]


PLUGINS = {"evaluate": i2i_evaluate, "metrics": i2i_metrics, "watch": i2i_watch}
REGISTRY = toy.registry(others=Others(), **PLUGINS)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run."""
    folder = tmp_path_factory.mktemp("run")
    toy.trained(folder, plugins=REGISTRY)
    return folder / "out"


def evaluated(out: Path, metrics: Sequence[str] | None, **options: Any) -> dict[str, Figure]:
    return {figure.name: figure for figure in evaluate_model(out, REGISTRY, metrics=metrics, **options).figures}


def other_data(folder: Path, dataset: str) -> Path:
    path = folder / "data.yaml"
    path.write_text(toy.RECIPE.replace("{name: stripes}", dataset))
    return path


def test_a_figure_says_how_it_was_measured(out: Path) -> None:
    found = evaluated(out, ["psnr", "l1"], images=6, seed=2)
    protocol = found["psnr"].protocol
    assert protocol["direction"] == "plain → negative"
    assert protocol["data"] == {"name": "stripes", "size": 16, "paired": True, "length": 10}
    wanted = {"split": "test", "pictures": 6, "size": "16 x 16", "ema": True, "seed": 2, "statistics": "fixed"}
    assert {key: protocol[key] for key in wanted} == wanted
    assert protocol["versions"]["torch"] == torch.__version__
    assert list(found["l1"].images) == [0, 2, 4, 5, 7, 9]


def test_the_figures_are_those_of_the_translations(out: Path) -> None:
    """What ``i2i translate`` would have made of the same pictures, compared by hand."""
    model = load(out, registry=REGISTRY)
    recipe = own_recipe(model, out)
    assert recipe is not None
    from i2i.data import SeededDataset

    held = held_out(recipe.dataset, REGISTRY, "test")
    samples = [SeededDataset(held.dataset, 0)[0, index] for index in range(10)]
    made = torch.stack([model.translate(sample["a"]) for sample in samples])
    truth = torch.stack([sample["b"] for sample in samples])
    assert evaluated(out, ["l1"])["l1"].value == pytest.approx(float((made - truth).abs().mean()) / 2, rel=1e-5)


def test_without_names_all_that_fit_are_taken(out: Path) -> None:
    result = evaluate_model(out, REGISTRY, images=4)
    names = [figure.name for figure in result.figures]
    assert {"psnr", "ssim", "l1", "identity", "up_and_down[x]"} <= set(names)
    notes = "\n".join(result.notes)
    assert "metric 'ms_ssim': 'ms_ssim' needs pictures of at least 176 pixels a side; these are 16 x 16" in notes
    assert "metric 'cycle': the model does not translate from negative back to plain" in notes
    assert "takes images of at least 64 pixels a side" in notes


def test_bad_input_is_explained(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no metric 'psnrr'.*Did you mean 'psnr'"):
        evaluated(out, ["psnrr"])
    with pytest.raises(UserError, match=r"metric 'fid' needs at least 2 pictures; there are 1"):
        evaluated(out, ["fid"], images=1)
    with pytest.raises(UserError, match=r"metric 'fid': the extractor 'efficientnet_lite0' takes images of at least 64"):
        evaluated(out, ["fid"])
    with pytest.raises(UserError, match=r"has the domain 'plain' \(image, 3 channels\), and the data 'grey' have only 'grey'"):
        evaluated(out, ["l1"], data=other_data(tmp_path, "{name: grey}"))
    unpaired = other_data(tmp_path, "{name: stripes, paired: false}")
    unpaired.write_text(unpaired.read_text().replace("loss: {name: toy}", "loss: {name: toy, paired: false}"))
    with pytest.raises(UserError, match=r"'psnr' compares each.*'stripes' are unpaired. These need no pairs: .*fid, .*kid"):
        evaluated(out, ["psnr"], data=unpaired)
    with pytest.raises(UserError, match="to: the model has no domain 'nigt'"):
        evaluated(out, ["l1"], to="nigt")
    with pytest.raises(UserError, match=r"dataset 'stripes'.*"):
        evaluated(out, ["l1"], overrides=["dataset.length=0"])
    with pytest.raises(UserError, match="no such run folder"):
        evaluated(tmp_path / "nowhere", ["l1"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("generator.width=8", "would have no effect, as the model is evaluated as it was saved"),
        ("train.batch_size=8", "would have no effect"),
        ("datasets.length=4", "would have no effect"),
        ("samples.dataset.length=4", "would have no effect"),
        ("evaluate.keep_best=l1", "takes dataset.KEY .* and evaluate.metrics from --set"),
        ("evaluate={metrics: [l1]}", "would have no effect"),
        ("dataset.split=val", "give --split instead"),
        ("evaluate.images=2", "give --images instead"),
        ("evaluate.batch_size=2", "give --batch-size instead"),
    ],
)
def test_what_would_not_act_is_refused(out: Path, override: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"--set {re.escape(override)}: .*{said}"):
        evaluated(out, None, overrides=[override])


def test_what_is_set_acts(out: Path) -> None:
    assert evaluated(out, ["l1"], overrides=["dataset.length=4"])["l1"].protocol["pictures"] == 4
    found = evaluated(out, None, overrides=["evaluate.metrics=[{name: diversity, distance: l1, styles: 3}, l1]"])
    assert list(found) == ["diversity[l1]", "l1"]
    assert found["diversity[l1]"].protocol["styles"] == 3
    with pytest.raises(UserError, match=r"--set evaluate.metrics=\[l1\]: --metrics names other metrics"):
        evaluated(out, ["psnr"], overrides=["evaluate.metrics=[l1]"])


def test_numbers_that_are_none_are_found_in_the_translations(out: Path) -> None:
    model = load(out, registry=REGISTRY)
    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    held = held_out(Component(name="stripes"), REGISTRY, "test")
    with pytest.raises(UserError, match="sample 0: the translation holds NaN or infinite values"):
        Evaluation(model, held, [Component(name="l1")]).run()


def test_no_more_pictures_are_alive_than_a_batch_or_two(out: Path) -> None:
    model, counts = load(out, registry=REGISTRY), []
    for length in (12, 48):
        Many.alive = Many.most = 0
        held = held_out(Component(name="many", options={"length": length}), REGISTRY, "test")
        Evaluation(model, held, [Component(name="psnr"), Component(name="ssim")], batch_size=4).run()
        counts.append(Many.most)
    assert counts[0] == counts[1] <= 8


def test_pictures_of_several_sizes_are_measured_one_size_at_a_time(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = toy.Stripes.__getitem__
    odd = lambda self, index: {k: v[:, : 16 - 4 * (index % 2)] for k, v in plain(self, index).items()}  # noqa: E731
    monkeypatch.setattr(toy.Stripes, "__getitem__", odd)
    found = evaluated(out, ["psnr"])["psnr"]
    assert len(found.images) == 10
    assert found.protocol["size"] == "mixed"
    alone = evaluated(out, ["psnr"], batch_size=1)["psnr"]
    assert found.images == pytest.approx(alone.images)


SHARED = """
from pathlib import Path
from accelerate import Accelerator
import test_evaluation as t
from i2i_evaluate.evaluating import _gathered
accelerator = Accelerator(cpu=True)
figures = t.shared({out!r}, (accelerator.process_index, accelerator.num_processes), _gathered)
Path({folder!r}, f"figures-{{accelerator.process_index}}.json").write_text(t.json.dumps([f.to_json() for f in figures]))
accelerator.end_training()
"""


def shared(out: str, share: tuple[int, int] = (0, 1), gather: Any = None) -> list[Figure]:
    """Metrics of every kind of state: a number for each picture, sums, samples."""
    held = held_out(Component(name="stripes", options={"size": 32}), REGISTRY, "test")
    features = {"extractor": "efficientnet_lite0", "layer": "blocks.1"}
    metrics = [Component(name="psnr"), *(Component(name=name, options=features) for name in ("fid", "kid"))]
    return Evaluation(load(out, "cpu", registry=REGISTRY), held, metrics, batch_size=2).run(share, gather)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(out: Path, tmp_path: Path) -> None:
    code = SHARED.format(out=str(out), folder=str(tmp_path))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1"}
    several = {**common, "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [{**several, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    started = [Forked(execute, code, folder=tmp_path, environment=env) for env in ranks]
    ended = [(process.communicate(timeout=200)[1], process.returncode) for process in started]
    assert [code for _, code in ended] == [0, 0], ended[0][0][-2000:] + ended[1][0][-2000:]
    first, second = (json.loads((tmp_path / f"figures-{rank}.json").read_text()) for rank in range(2))
    assert first == second
    for alone, together in zip(shared(str(out)), first, strict=True):
        assert together["value"] == pytest.approx(alone.value, rel=1e-6, abs=1e-9)
        assert {**together, "value": 0} == {**alone.to_json(), "value": 0}


EVALUATE = "evaluate={every: 2, metrics: [psnr, {name: l1}, up_and_down], keep_best: up_and_down, images: 3}"


def trained(folder: Path, *overrides: str, stop: int | None = None) -> Run:
    """A run with its evaluation, whose figures observers get."""
    found: list[float] = []

    class Listens:
        @hookimpl
        def numbers_logged(self, values: dict[str, float]) -> None:
            found.extend([values["step"]] if "eval/psnr" in values else [])

    state = toy.trained(folder, *overrides, plugins=REGISTRY, watcher=Listens())
    assert found == ([2, 4, 5] if state.recipe.section("evaluate") else [])
    return state


def test_while_training_the_best_model_is_kept(tmp_path: Path) -> None:
    UpAndDown.looks = 0
    state = trained(tmp_path, EVALUATE, "train.steps=5")
    lines = [line for line in read_metrics(tmp_path / "out" / "metrics.jsonl") if "eval/psnr" in line]
    assert [(line["step"], line["eval/up_and_down[x]"]) for line in lines] == [(2, 3.0), (4, 1.0), (5, 2.0)]
    assert all(line["eval/psnr"] > 0 for line in lines)
    kept = json.loads((tmp_path / "out" / "best" / BEST).read_text())
    assert (kept["step"], kept["value"], kept["figures"][0]["name"]) == (2, 3.0, "psnr")
    assert kept["figures"][0]["protocol"]["split"] == "val"
    best = load(tmp_path / "out" / "best", registry=REGISTRY)
    assert best.config["extra"]["step"] == 2
    assert state.step == 5
    assert not list((tmp_path / "out").glob(".best*"))
    assert "keep_best" in state.recipe.to_yaml()


def test_an_evaluation_leaves_no_trace_in_the_training(tmp_path: Path) -> None:
    weights = []
    for name, more in (("plain", []), ("evaluated", [EVALUATE])):
        (tmp_path / name).mkdir()
        state = trained(tmp_path / name, "train.steps=5", *more)
        weights.append(state.bare_generator.state_dict())
        assert state.bare_generator.training
    for name in weights[0]:
        assert torch.equal(weights[0][name], weights[1][name]), name


def test_what_cannot_be_evaluated_is_said_before_the_first_step(tmp_path: Path) -> None:
    def build(text: str) -> None:
        recipe = toy.recipe(tmp_path, f"evaluate={text}", plugins=REGISTRY)
        ready(recipe, None, tmp_path / "out", REGISTRY, Console(quiet=True))

    with pytest.raises(UserError, match=r"evaluate.metrics.1: there is no metric 'ssimm'.*Did you mean 'ssim'"):
        build("{metrics: [psnr, ssimm]}")
    with pytest.raises(UserError, match=r"evaluate.metrics.0.every: unknown key"):
        build("{metrics: [{name: psnr, every: 2}]}")
    with pytest.raises(UserError, match=r"metric 'ms_ssim'.*at least 176 pixels"):
        build("{metrics: [ms_ssim]}")
    with pytest.raises(UserError, match=r"keep_best: 'kid': no metric gives that figure. The figures are: psnr, l1"):
        build("{metrics: [psnr, l1], keep_best: kid}")
    with pytest.raises(UserError, match=r"evaluate.dataset: dataset 'stripes'.*The split is 'val'"):
        build("{metrics: [psnr], dataset: {length: 0}}")
    build("{metrics: [psnr], keep_best: psnr}")
    assert not (tmp_path / "out").exists()
    assert is_called("kid[efficientnet_lite0]", "kid")
    assert not is_called("kid[efficientnet_lite0]", "ki")


def test_the_schema_offers_metrics_by_name_and_with_options() -> None:
    schema = recipe_schema(REGISTRY)
    names, full = schema["properties"]["evaluate"]["anyOf"][0]["properties"]["metrics"]["items"]["anyOf"]
    assert {"psnr", "fid", "segmentation"} <= set(names["enum"])
    assert full == {"$ref": "#/$defs/metric"}
    fid = next(choice for choice in schema["$defs"]["metric"]["oneOf"] if choice["title"] == "fid")
    assert set(fid["properties"]) == {"name", "extractor", "layer", "crop", "stride", "resize", "filter"}


def test_the_command_prints_and_writes(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i.registry.default_registry", lambda: REGISTRY)
    done = CliRunner().invoke(app, ["eval", str(out), "--metrics", "psnr,l1", "--json", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    assert "psnr" in done.output
    assert "All figures: From plain to negative. " in done.output
    result = read_result(tmp_path / "found.json")
    assert [figure.name for figure in result.figures] == ["psnr", "l1"]
    assert result.step == 6
    assert len(result.weights) == 64
    assert CliRunner().invoke(app, ["eval", str(out / "model"), "--metrics", "l1", "--images", "2"]).exit_code == 0
    assert not (out / "model" / "evaluation.json").exists()
    (tmp_path / "odd.json").write_text('{"format": 9}')
    with pytest.raises(UserError, match="has format 9"):
        read_result(tmp_path / "odd.json")
    (tmp_path / "odd.json").write_text("[]")
    with pytest.raises(UserError, match="is not a result of i2i eval"):
        read_result(tmp_path / "odd.json")


def test_a_whole_run_is_evaluated_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    UpAndDown.looks = 0
    for steps, resume in ((4, False), (6, True)):
        state = toy.trained(tmp_path, EVALUATE, f"train.steps={steps}", plugins=REGISTRY, resume=resume)
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert [line["step"] for line in lines if "eval/psnr" in line] == [2, 4, 6]
    assert sum("gan" in line for line in lines) == 6
    assert (tmp_path / "out" / "best" / BEST).is_file()
    (told,) = [line for line in closing_lines(state, "again").splitlines() if line.startswith("best:")]
    best = json.loads((tmp_path / "out" / "best" / BEST).read_text())
    last = [line for line in lines if "eval/psnr" in line][-1]["eval/up_and_down[x]"]
    assert told == (
        f"best:     {tmp_path / 'out' / 'best'}, step {best['step']}: up_and_down {best['value']:.4g} (higher is better); "
        f"the last, step 6: {last:.4g}"
    )
    assert "eval/psnr" in (tmp_path / "out" / "report.html").read_text()
