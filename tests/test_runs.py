"""The list of runs, and the lock that keeps a second run out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import toy
from i2i.errors import UserError
from i2i.registry import hookimpl
from i2i.training.run_folder import locked
from i2i.training.state import Run
from i2i_watch.commands import runs, summary


def trained(folder: Path, out: str, *overrides: str, watcher: object | None = None, **plugins: object) -> None:
    toy.trained(folder, *overrides, out=out, plugins=toy.registry(**plugins), watcher=watcher)


def test_runs_are_listed_with_state_and_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = []

    class Watch:
        @hookimpl
        def step_ended(self, run: Run) -> None:
            assert run.out is not None
            states.append(summary(run.out)["state"])
            run.stop = run.step == 2

    trained(tmp_path, "first")
    trained(tmp_path, "second", watcher=Watch())
    assert states == ["running"] * 2
    runs(tmp_path, json=True)
    found = {Path(run["run"]).name: run for run in json.loads(capsys.readouterr().out)}
    assert (found["first"]["state"], found["first"]["step"], found["first"]["steps"]) == ("finished", 6, 6)
    assert (found["second"]["state"], found["second"]["step"]) == ("stopped", 2)
    runs(tmp_path)
    assert "finished" in capsys.readouterr().out


def test_broken_runs_and_empty_folders_are_no_obstacle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(tmp_path)
    assert "No runs" in capsys.readouterr().out
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "recipe.yaml").write_text("loss: [{name: a}, {name: b}]\ngenerator: {ab: {name: c}}\n: :")
    (tmp_path / "odd" / "metrics.jsonl").write_text('{"step": 3}\n{"ste')
    assert summary(tmp_path / "odd")["step"] == 3
    (tmp_path / "odd/checkpoints/step-00000005").mkdir(parents=True)  # ended between two lines of its log
    assert summary(tmp_path / "odd")["step"] == 5
    (tmp_path / "odd" / "recipe.yaml").write_text("loss: [{name: a}, {name: b}]\ngenerator: {ab: {name: c}}\n")
    assert summary(tmp_path / "odd")["loss"] == "a + b"
    with pytest.raises(UserError, match="no such folder"):
        runs(tmp_path / "missing")


def test_two_runs_do_not_work_in_one_folder(tmp_path: Path) -> None:
    """The other run is another process, and its lock goes with it."""
    code = "import sys, time; from pathlib import Path; from i2i.training.run_folder import locked\n"
    code += "with locked(Path(sys.argv[1])):\n"
    code += "  print('in', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    with pytest.raises(UserError, match="another run is using this folder"):
        trained(tmp_path, "out")
    other.kill()
    other.communicate()
    trained(tmp_path, "out")


def test_a_run_waits_for_every_process_of_the_one_before(tmp_path: Path) -> None:
    """The launcher and the first process are gone, the second still lives."""
    trained(tmp_path, "out")
    with locked(tmp_path / "out", 1):
        assert summary(tmp_path / "out")["state"] == "running"
        with pytest.raises(UserError, match="another run is using this folder"), locked(tmp_path / "out"):
            pass
    with locked(tmp_path / "out"):
        pass


def test_a_refused_run_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), locked(tmp_path / "new"):
        raise ValueError("stop")
    assert not (tmp_path / "new").exists()


def test_a_second_run_that_starts_slowly_overwrites_nothing(tmp_path: Path) -> None:
    """While the one is between its look at the folder and its first step, another would start there and finish."""
    refusals = []

    class Slow:
        @hookimpl
        def choose_settings(self) -> None:
            with pytest.raises(UserError) as refused:
                trained(tmp_path, "out", "train.seed=9")
            refusals.append(str(refused.value))

    trained(tmp_path, "out", slow=Slow())
    assert len(refusals) == 1
    assert "another run is using this folder" in refusals[0]
    assert "seed: 1" in (tmp_path / "out" / "recipe.yaml").read_text()


def test_a_refused_run_leaves_other_peoples_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        trained(tmp_path, "full")
    with pytest.raises(UserError, match="multiples of 4"):
        trained(tmp_path, "new/deep", "dataset.size=18")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "thesis.txt", "toy.yaml"]
