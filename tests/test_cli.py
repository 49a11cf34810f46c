"""The command line as a person meets it: exit codes, messages, and nothing written on bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import i2i_watch
import toy
from i2i import registry
from i2i.hooks import hookimpl
from i2i.training.state import Run
from terminal import call, install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory that holds toy.yaml; the toys are the only plugin."""
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, toy.registry())
    (tmp_path / "toy.yaml").write_text(toy.RECIPE)
    return tmp_path


def test_a_run_says_where_the_pictures_and_the_model_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "run", "toy.yaml") == 0
    out = capsys.readouterr().out
    assert f"pictures: {Path('runs/toy/samples/step-00000006.png')}" in out
    assert "i2i translate runs/toy IMAGE --to negative" in out
    assert (folder / "runs/toy/model/config.json").exists()
    assert "report" not in out

    class Lowest:
        @hookimpl
        def closing_lines(self, run: Run) -> dict[str, str]:
            return {"seen": f"{run.step} steps"}

    with registry.default_registry().subscribed(i2i_watch), registry.default_registry().subscribed(Lowest()):
        assert call(monkeypatch, "run", "toy.yaml", "--out", "watched") == 0
    out = capsys.readouterr().out
    assert f"report:   {Path('watched/report.html')}\n" in out
    assert "seen:     6 steps\n" in out


def test_a_dry_run_prints_sizes_and_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "run", "toy.yaml", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "2 x 3 x 16 x 16" in out
    assert "127" in out  # 3*4*9+4 + 4*3+3 parameters of the toy generator
    assert "memory: about" in out
    assert [p.name for p in folder.iterdir()] == ["toy.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", "."], "folder"),
        (["run", "toy.yaml", "--set", "train.stepz=3"], "stepz"),
        (["run", "toy.yaml", "--set", "train.steps=many"], "steps"),
        (["run", "toy.yaml", "--set", "generator.width=0"], "width"),
        (["run", "toy.yaml", "--set", "generator.name=toi"], "Did you mean 'toy'"),
        (["run", "toy.yaml", "--set", "generator.name=judge"], "discriminator"),
        (["run", "toy.yaml", "--set", "dataset.paired=false"], "needs paired data"),
        (["run", "toy.yaml", "--resume"], "holds no run"),
        (["run", "toy.yaml", "--out", "toy.yaml"], "is a file"),
        (["translate", "nowhere", "x.png", "--out", "o"], "nowhere"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    arguments: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("i2i: ")
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert [p.name for p in folder.iterdir()] == ["toy.yaml"]


def test_a_full_disk_is_said_and_nothing_is_half_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    assert call(monkeypatch, "run", "toy.yaml") == 2
    assert "MiB are free" in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_an_unwritable_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.access", lambda _, mode: mode != os.W_OK)  # the mode of a folder does not bind root
    assert call(monkeypatch, "run", "toy.yaml") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_what_the_system_refuses_while_writing_is_a_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "runs/toy/recipe.yaml")

    monkeypatch.setattr("i2i.training.running.write_recipe", full)
    assert call(monkeypatch, "run", "toy.yaml") == 2
    assert capsys.readouterr().err.strip() == (
        "i2i: runs/toy/recipe.yaml: the disk is full. Free some space, then run the same command again."
    )


def run_python(code: str, *, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )


def test_help_imports_neither_torch_nor_what_else_is_slow(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['i2i', '--help']\nfrom i2i.cli import main\n"
        "try: main()\nexcept SystemExit: pass\nassert not {'torch', 'rich', 'pydantic'} & set(sys.modules)"
    )
    done = run_python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "translate" in done.stdout


def test_without_any_plugin_i2i_still_starts_and_explains(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['i2i', {}]\nfrom i2i.cli import main\nmain()"
    off = {"I2I_DISABLE_PLUGINS": "all"}
    listed = run_python(code.format("'plugins'"), cwd=tmp_path, env=off)
    assert listed.returncode == 0, listed.stderr
    (tmp_path / "r.yaml").write_text(toy.RECIPE)
    refused = run_python(code.format("'run', 'r.yaml'"), cwd=tmp_path, env=off)
    assert refused.returncode == 2
    assert "Disabled by I2I_DISABLE_PLUGINS" in refused.stderr


@pytest.mark.slow
def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(toy.RECIPE)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); sys.argv = ['i2i', 'run', 'toy.yaml', '--set', "
        "'train.steps=100000', '--out', 'out']\nimport pytest, terminal, toy\n"
        "terminal.install(pytest.MonkeyPatch(), toy.registry())\nfrom i2i.cli import main\nmain()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    metrics = tmp_path / "out" / "metrics.jsonl"
    while not metrics.exists() or metrics.stat().st_size == 0:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue with: i2i run toy.yaml --set train.steps=100000 --out out --resume" in out
    stopped = int(out.split("stopped after step ")[1].split()[0])
    assert (tmp_path / "out" / "checkpoints" / f"step-{stopped:08d}" / "manifest.json").exists()
